"""The certificate: asked for when needed, installed for nginx alone, and why it did not come."""

from __future__ import annotations

import os
import stat
import time

import pytest
from host_world import World, events, last, owner

from host import acme, certificate, releases
from host.errors import Failure

ACME = {
    "domains": ["shop.example", "stats.shop.example"],
    "acme_server": "https://ca.example/dir",
    "acme_email": "a@b.c",
}


def deploy(world: World, number: int, **parts: object) -> tuple[int, dict[str, object], str]:
    settings = {**ACME, **parts.pop("settings", {})}  # type: ignore[dict-item]
    spec = world.spec(number, settings=settings, **parts)
    if not (world.config.releases / spec.id).exists():
        world.receive(spec)
    done = world.run("apply", spec.id)
    return done.returncode, last(done.stdout)["data"], done.stdout.decode()


def test_the_first_deploy_serves_http_then_gets_a_certificate_then_serves_tls(world: World) -> None:
    status, _, _ = deploy(world, 1)
    assert status == 0
    key = world.config.tls / "privkey.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o640
    assert (key.stat().st_uid, key.stat().st_gid) == (os.geteuid(), owner(0, 101)[1])
    assert stat.S_IMODE((world.config.tls / "fullchain.pem").stat().st_mode) == 0o644
    assert (world.config.live / "nginx/tls/site.conf").exists()
    steps = [
        line
        for line in world.calls()
        if "up -d" in line or "certbot certonly" in line or "docker run" in line or "reload" in line
    ]
    kinds = [
        next(word for word in ("up -d", "certbot", "docker run", "-s reload", "daemon-reload") if word in line)
        for line in steps
    ]
    assert kinds == ["docker run", "up -d", "certbot", "-s reload", "docker run", "-s reload", "daemon-reload"]


def test_certbot_is_asked_for_all_names_over_the_webroot_with_our_hook(world: World) -> None:
    deploy(world, 1)
    [line] = world.calls("certbot certonly")
    for part in (
        f"--webroot -w {world.config.webroot}", "--server https://ca.example/dir",
        "--cert-name app", "--key-type ecdsa",
        "-d shop.example -d stats.shop.example", "--non-interactive --agree-tos -m a@b.c", "--keep-until-expiring",
        f"--deploy-hook {world.program} install-certificate",
    ):  # fmt: skip
        assert part in line


def test_a_certificate_that_covers_the_domains_is_left_alone(world: World) -> None:
    deploy(world, 1)
    world.forget_calls()
    assert deploy(world, 1)[0] == 0
    assert world.calls("certbot certonly") == []
    assert world.calls("reload") == []


def test_another_domain_or_another_authority_asks_again(world: World) -> None:
    deploy(world, 1)
    world.forget_calls()
    deploy(world, 2, settings={"domains": [*ACME["domains"], "www.shop.example"]})
    assert "--keep-until-expiring" in world.calls("certbot certonly")[0]
    world.forget_calls()
    deploy(
        world,
        3,
        settings={"domains": [*ACME["domains"], "www.shop.example"], "acme_server": "https://other.example/dir"},
    )
    assert "--force-renewal" in world.calls("certbot certonly")[0]


def test_without_a_certificate_the_release_stays_applied_and_the_same_deploy_tries_again(world: World) -> None:
    world.set(
        certbot_error="Domain: shop.example\n Type: dns\n Detail: DNS problem: NXDOMAIN looking up A for shop.example"
    )
    status, data, output = deploy(world, 1)
    assert status == 12
    assert data["cause"] == "no certificate: shop.example does not resolve"
    assert "run the deploy again" in str(data["hint"])
    assert data["applied"] is True
    assert world.config.current.readlink().name == world.spec(1).id
    assert not (world.config.live / "nginx/tls/site.conf").exists()
    assert any(item["event"] == "warning" for item in events(output.encode()))
    assert last(world.run("status").stdout)["last"]["result"] == "incomplete"
    world.set(certbot_error="")
    before = world.lives()
    assert deploy(world, 1)[0] == 0
    assert (world.config.live / "nginx/tls/site.conf").exists()
    assert world.lives() == before


def test_a_renewed_certificate_the_hook_could_not_install_is_put_to_use_by_the_next_deploy(world: World) -> None:
    deploy(world, 1)
    used = (world.config.tls / "fullchain.pem").read_bytes()
    world.run_certbot_again()
    assert deploy(world, 1)[0] == 0
    assert (world.config.tls / "fullchain.pem").read_bytes() != used


def test_the_hook_installs_and_reloads_and_says_so(world: World) -> None:
    deploy(world, 1)
    world.run_certbot_again()
    world.forget_calls()
    done = world.run("install-certificate")
    assert done.returncode == 0
    assert "certificate installed, nginx reloaded" in last(done.stdout)["message"]
    assert [line.split(" ", 3)[3] for line in world.calls("docker exec")] == ["nginx -t", "nginx -t", "nginx -s reload"]


def test_the_hook_fails_loudly_when_nginx_does_not_reload(world: World) -> None:
    deploy(world, 1)
    world.set(exec_error="nginx: [emerg] cannot load certificate")
    done = world.run("install-certificate")
    assert done.returncode == 12
    assert "cannot load certificate" in last(done.stdout)["data"]["cause"]


def test_a_key_that_does_not_belong_to_the_certificate_is_not_installed(world: World) -> None:
    deploy(world, 1)
    used = (world.config.tls / "privkey.pem").read_bytes()
    key = certificate.lineage(world.config) / "privkey.pem"
    key.write_bytes(used)
    world.run_certbot_again()
    key.write_bytes(used)
    manifest = releases.load(world.config, "current").manifest
    with pytest.raises(Failure, match="do not belong together"):
        certificate.install(world.config, manifest, certificate.lineage(world.config))
    assert (world.config.tls / "privkey.pem").read_bytes() == used


def test_the_facts_of_a_certificate(world: World) -> None:
    deploy(world, 1)
    found = certificate.facts(world.config.tls / "fullchain.pem")
    assert found is not None
    assert found["names"] == ["shop.example", "stats.shop.example"]
    assert found["issuer"] == "CN=test"
    assert 44 < (found["not_after"] - time.time()) / 86400 <= 45


SAID = {
    "Detail: 1.2.3.4: Fetching http://a.example/.well-known/acme-challenge/x: Timeout during connect": (
        "port 80 of a.example cannot be reached by the certificate authority"
    ),
    "Domain: a.example\n Detail: DNS problem: SERVFAIL looking up A for a.example": "a.example does not resolve",
    "Detail: CAA record for a.example prevents issuance": (
        "a CAA record of a.example forbids this certificate authority"
    ),
    "Domain: a.example\nDetail: 1.2.3.4: Invalid response from http://a.example/.well-known/acme-challenge/x: 404": (
        "a.example is answered by something other than this server"
    ),
    "Error: urn:ietf:params:acme:error:rateLimited :: too many certificates, retry after 2026-11-23 10:00:00 UTC: x": (
        "the certificate authority limits how often it issues until 2026-11-23 10:00:00 UTC"
    ),
    "urn:ietf:params:acme:error:invalidContact :: contact email has forbidden domain": (
        "the certificate authority does not accept the e-mail address"
    ),
    "requests.exceptions.SSLError: Max retries exceeded (CERTIFICATE_VERIFY_FAILED)": (
        "the certificate authority's own certificate is not trusted here"
    ),
    "ConnectionError: Max retries exceeded with url: /dir (Temporary failure in name resolution)": (
        "the certificate authority cannot be reached from this host"
    ),
    "urn:ietf:params:acme:error:rateLimited :: Service busy; retry later.": (
        "the certificate authority limits how often it issues"
    ),
    "The ACME server believes x@y is an invalid email address. Please ensure it is a valid email and try again": (
        "the certificate authority does not accept the e-mail address"
    ),
    "Domain: a.example\nDetail: DNS problem: SERVFAIL looking up CAA for a.example": (
        "the name servers of a.example do not answer when asked for CAA records"
    ),
    "You've asked to renew/replace a seemingly valid certificate with a test certificate (domains: a.example). "
    "We will not do that unless you use the --break-my-certs flag!": (
        "the present certificate is a real one: certbot does not put one of a staging server in its place"
    ),
    "urn:ietf:params:acme:error:externalAccountRequired :: The server requires external account binding": (
        "this certificate authority wants an account made with it beforehand"
    ),
    "urn:ietf:params:acme:error:accountDoesNotExist :: No such account": (
        "the certificate authority does not know this host's account any more"
    ),
    "urn:ietf:params:acme:error:serverInternal :: The service is down for maintenance": (
        "the certificate authority has a problem of its own"
    ),
    "OSError: [Errno 28] No space left on device": "no space is left on the disk",
    "Failed to renew certificate app with error: something odd\nAll renewals failed.\n"
    "1 renew failure(s), 0 parse failure(s)": "something odd",
    "Saving debug log to /var/log/x\nsomething new\nAsk for help or search": "something new",
}


@pytest.mark.parametrize("said", SAID)
def test_why_no_certificate_came_is_said_in_one_line(said: str) -> None:
    failure = acme.explain(said, ("a.example",))
    assert failure.cause == f"no certificate: {SAID[said]}"
    assert failure.hint
