"""What each kind of value may look like."""

from __future__ import annotations

import pytest

from tasks.core.settings.check import value_problem
from tasks.core.settings.kinds import KINDS, image_version
from tasks.core.settings.schema import BY_NAME, SCHEMA

DIGEST = "sha256:" + "0123456789abcdef" * 4
ACCEPTED = {
    "APP_NAME": ["a", "maicivy", "my-shop-2"],
    "SITE_DOMAIN": ["a.bc", "cv.my-site.test", "xn--caf-dma.fr", "1.2.3.test", "example-shop.com", "myexample.com"],
    "PUBLIC_ADDRESS": ["203.0.113.7", "172.31.213.11", "2001:db8::7"],
    "DEPLOY_HOST": ["vps", "my_host.1", "deploy@vps", "deploy@203.0.113.7:2222", "root@[2001:db8::7]:22"],
    "DEPLOY_USER": ["deploy", "_svc-1"],
    "DEPLOY_PUBLIC_KEY_FILE": ["~/.ssh/id_ed25519.pub", "keys/deploy key.pub"],
    "DOCKER_SOURCE": ["distribution", "docker"],
    "ACME_EMAIL": ["me@site.test", "first.last+acme@mail.site.test"],
    "ACME_SERVER": ["https://ca.test/directory", "https://lab-pebble:14000/dir"],
    "REGISTRY": ["docker.io", "lab-registry:5001", "registry.gitlab.com"],
    "REGISTRY_USER": ["robot$team+deploy", "me@site.test"],
    "BACKEND_IMAGE": [
        "redis:8",
        "team/app:v1.2.3_rc-1",
        "localhost:5000/a/b__c/d-e.f:x",
        f"team/app@{DIGEST}",
        f"team/app:latest@{DIGEST}",
        "GHCR.io/team/app:1",
    ],
    "POSTGRES_DB": ["maicivy", "_a-1", "a" * 63],
    "POSTGRES_USER": ["maicivy", "postgres"],
    "POSTGRES_PASSWORD": ["correct horse", "$ # ' \" \\ = % & @ : / é", "x'y\"z\\${A}123"],
    "REDIS_PASSWORD": ["two\nlines of it", "p$ssw#rd with 'all' \"quotes\""],
    "GRAFANA_ADMIN_PASSWORD": ["a$b$$c#d{e}f%g(h)", "$$__{}${}%()s123", "two\nlines of it"],
    "CLAUDE_API_KEY": ["short", "sk-ant-$#'\"\\", "two\nlines"],
    "POSTGRES_MEMORY": ["6m", "512m", "2g", "1GB", "262144k"],
    "HEALTH_TIMEOUT": ["5", "120", "3600"],
    "HTTP_PORT": ["1", "8080", "65535"],
    "BACKEND_BUILD": ["../app", "/srv/an app"],
    "MIGRATION_COMMAND": ["/app/server -migrate", "sh -c 'a; b'", "é"],
    "RELEASES_KEEP": ["2", "100"],
    "IPV6": ["yes", "no"],
    "SITE_ALIASES": ["a.bc", "a.bc, d.ef", "a.bc d.ef,g.hi"],
    "TRUSTED_PROXIES": ["192.0.2.7", "192.0.2.0/24, 2001:db8::/32"],
    "API_RATE": ["1", "1000000"],
    "API_BURST": ["1", "100000"],
    "CONNECTIONS_PER_ADDRESS": ["10", "100000"],
    "CLIENT_TIMEOUT": ["1", "86400"],
    "MAX_BODY_SIZE": ["1k", "10m", "2g"],
    "REBOOT_TIME": ["00:00", "04:30", "23:59"],
    "HSTS": ["off", "trial", "week", "full", "preload"],
    "FRAME_OPTIONS": ["DENY", "SAMEORIGIN"],
    "OPENER_POLICY": ["same-origin-allow-popups"],
    "RESOURCE_POLICY": ["cross-origin"],
    "EMBEDDER_POLICY": ["require-corp", "unsafe-none"],
    "REFERRER_POLICY": ["no-referrer"],
    "PERMISSIONS_POLICY": ["off", 'geolocation=(self "https://maps.test")'],
    "PROMETHEUS_RETENTION": ["15d", "1y", "36h", "2w"],
    "REDIS_BACKUP_DAYS": ["1", "3650"],
}
REFUSED = {
    "IPV6": ["true", "1", "Yes"],
    "SITE_ALIASES": ["localhost", "a.bc d", "*.a.bc", "a.bc a.bc", ",", "https://a.bc"],
    "TRUSTED_PROXIES": ["everybody", "0.0.0.0/0", "::/0", "192.0.2.7/24", "192.0.2.0/33", ","],
    "API_RATE": ["0", "-1", "1.5", "1000001", "100r/m"],
    "API_BURST": ["0"],
    "CONNECTIONS_PER_ADDRESS": ["9"],
    "CLIENT_TIMEOUT": ["0", "10s"],
    "MAX_BODY_SIZE": ["0", "10", "10mb", "10 m", "-1m"],
    "REBOOT_TIME": ["24:00", "4:30", "04:60", "now"],
    "HSTS": ["on", "max-age=1"],
    "FRAME_OPTIONS": ["deny", "ALLOW-FROM x"],
    "OPENER_POLICY": ["same-site"],
    "RESOURCE_POLICY": ["unsafe-none"],
    "EMBEDDER_POLICY": ["same-origin"],
    "REFERRER_POLICY": ["unsafe-url", "origin; x"],
    "PERMISSIONS_POLICY": ["camera=($host)", "two\nlines", "caf\u00e9"],
    "APP_NAME": ["Maicivy", "1shop", "a_b", "a--b", "-a", "a-", "a/b", "../a", "a" * 31, "docker", "sudo", "shop\n"],
    "SITE_DOMAIN": [
        *("localhost", "https://a.bc", "a.bc/", "A.bc", "a..bc", "-a.bc", "café.fr", "*.a.bc", "a.bc:443"),
        *("203.0.113.7", "a b.c", "a.bc.", "a" * 64 + ".bc", "a." * 130 + "bc", "a.bc\n"),
    ],
    "PUBLIC_ADDRESS": [
        "vps",
        "300.1.1.1",
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "fe80::1%eth0",
        "203.0.113.7/32",
        "224.0.0.1",
    ],
    "DEPLOY_HOST": ["-oProxyCommand=x", "a b", "a,b", "a@b@c", "vps:0", "vps:70000", "ssh://vps", "vps;id", "-l@vps"],
    "DEPLOY_USER": ["root", "Deploy", "1a", "a b", "a" * 33, "-a"],
    "DEPLOY_PUBLIC_KEY_FILE": ["~/.ssh/id_ed25519", "ssh-ed25519 AAAA", "a\n.pub"],
    "DOCKER_SOURCE": ["Docker", "distribution ", "snap"],
    "ACME_EMAIL": ["me", "me@host", "a b@c.de", "me@site.test,you@site.test", "<me@site.test>", "mé@site.test"],
    "ACME_SERVER": [
        "http://ca.test/dir",
        "ca.test",
        "https://",
        "https://u:p@ca.test/",
        "https://a b/",
        "https://a:x/",
    ],
    "REGISTRY": ["https://r.test", "r.test/team", "r.test:", "r.test:0", "-r"],
    "REGISTRY_USER": ["a b", "a:b"],
    "BACKEND_IMAGE": [
        *("redis", "redis:latest", "team/app", "r.test:5000/app", "Team:1", "a:b:c", "a//b:1", "a:1 ", "a: 1", ":1"),
        *("a:-1", f"a@{DIGEST[:-1]}", "a@sha512:00", "https://r.test/a:1", "a:" + "x" * 129),
    ],
    "POSTGRES_DB": ["template1", "1a", "A", "a b", "a" * 64, "a;b"],
    "HTTP_PORT": ["0", "65536", "-1", "http", "8080 "],
    "BACKEND_BUILD": ["a\n"],
    "MIGRATION_COMMAND": ["''", " ", "a\nb", "a 'b"],
    "POSTGRES_USER": ["pg_signal", "public", "A"],
    "POSTGRES_PASSWORD": ["elevenchars", "two\nlines of it", "trailing newline\n", "aaaaaaaaaaaaaaaa", "x1y2z" * 103],
    "REDIS_PASSWORD": ["elevenchars", "trailing newline\n", "trailing return\r", "abababababab"],
    "GRAFANA_ADMIN_PASSWORD": [
        "${HOME} sweet home",
        "$__env{HOME} sweet",
        "sweet ${a b} home",
        "sweet %(home)s home",
        "trailing newline\n",
        "short",
    ],
    "CLAUDE_API_KEY": ["sk-ant-1\n", " sk-ant-1", "x" * 1025],
    "POSTGRES_MEMORY": ["512", "5m", "0m", "-1m", "1.5g", "512 m", "2t", "2000g"],
    "HEALTH_TIMEOUT": ["4", "3601", "2m", "-5", "1e2", "٣٠", "5.0", "1_000"],
    "RELEASES_KEEP": ["1", "101", "all"],
    "PROMETHEUS_RETENTION": ["15", "0d", "15 d", "d", "15m"],
    "REDIS_BACKUP_DAYS": ["0", "3651", "7d"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ACCEPTED.items() for value in values])
def test_a_legitimate_value_is_accepted(name: str, value: str) -> None:
    assert value_problem(BY_NAME[name], value) is None


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_a_wrong_value_is_refused(name: str, value: str) -> None:
    assert value_problem(BY_NAME[name], value)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_no_check_repeats_the_value_it_refuses(name: str) -> None:
    problem = value_problem(BY_NAME[name], " zQ7!\n${zQ7}\x01 \n")
    assert problem
    assert "zQ7" not in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SITE_DOMAIN", "example.com"),
        ("SITE_DOMAIN", "www.example.org"),
        ("ACME_EMAIL", "you@example.com"),
        ("BACKEND_IMAGE", "registry.example.com/maicivy/backend:1.0.0"),
        ("DEPLOY_HOST", "deploy@vps.example.net:22"),
        ("POSTGRES_PASSWORD", "CHANGE_ME"),
        ("POSTGRES_PASSWORD", "change-me-to-something"),
        ("POSTGRES_PASSWORD", "<a strong password>"),
        ("REDIS_PASSWORD", "ChangeMe12345"),
        ("CLAUDE_API_KEY", "your-api-key-here"),
        ("CLAUDE_API_KEY", "xxxxxxxx"),
        ("OPENAI_API_KEY", "TODO"),
        ("REGISTRY", "<registry>"),
    ],
)
def test_a_placeholder_is_not_a_value(name: str, value: str) -> None:
    assert value_problem(BY_NAME[name], value) == "still has the example's value"


def test_an_empty_value_is_only_a_problem_where_one_is_required() -> None:
    for setting in SCHEMA:
        assert bool(value_problem(setting, "")) is setting.required


def test_every_default_passes_its_own_check() -> None:
    for setting in SCHEMA:
        assert setting.default is None or value_problem(setting, setting.default) is None


def test_every_setting_has_a_kind_that_exists_and_every_kind_is_used() -> None:
    assert {setting.kind for setting in SCHEMA} == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_check_answers_at_once_whatever_it_is_given(kind: str) -> None:
    for hostile in ("a" * 1024, "a." * 512, "a-" * 512, "-" * 1024, "a/" * 512, "1" * 1024, "@" * 1024, ":" * 1024):
        assert isinstance(KINDS[kind].problem(hostile), str | None)


@pytest.mark.parametrize(
    ("reference", "version"),
    [("a/b:1.2.3", "1.2.3"), (f"a/b:1.2.3@{DIGEST}", "1.2.3"), (f"a/b@{DIGEST}", "0123456789ab"), ("r:5000/a:2", "2")],
)
def test_the_version_is_the_tag_or_else_the_start_of_the_digest(reference: str, version: str) -> None:
    assert image_version(reference) == version
