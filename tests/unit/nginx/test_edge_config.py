"""The generated configuration of nginx, parsed by a parser that nobody here wrote: what holds for every location."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import crossplane
import pytest

from tasks.core import project, settings
from tasks.model import bundle

LINES = {
    "SITE_DOMAIN": "shop.test",
    "GRAFANA_DOMAIN": "stats.shop.test",
    "ACME_EMAIL": "ops@shop.test",
    "APP_NAME": "shop",
    "BACKEND_IMAGE": "registry.test/shop/backend:1.2.3",
    "FRONTEND_IMAGE": "registry.test/shop/frontend:1.2.3",
    "POSTGRES_PASSWORD": "postgres-password-1",
    "REDIS_PASSWORD": "redis-password-12",
    "GRAFANA_ADMIN_PASSWORD": "grafana-password-1",
}
SECURITY = {
    "Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy",
    "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Cross-Origin-Embedder-Policy",
    "Permissions-Policy", "Content-Security-Policy",
}  # fmt: skip
Block = dict[str, Any]
Edge = Callable[..., list[Block]]


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    """The whole configuration for some settings, includes put in their places."""

    def made(**changes: str) -> list[Block]:
        env = tmp_path / ".env"
        env.write_text("".join(f"{key}='{value}'\n" for key, value in (LINES | changes).items()))
        env.chmod(0o600)
        root = tmp_path / "edge"
        shutil.rmtree(root, ignore_errors=True)
        for path, file in bundle.render(project.read_tree(), settings.load(env), {}).files.items():
            if path.startswith("nginx/"):
                target = root / path.removeprefix("nginx/")
                target.parent.mkdir(parents=True, exist_ok=True)
                # on the host this directory is mounted at /etc/edge
                target.write_bytes(file.data.replace(b"include /etc/edge/", f"include {root}/".encode()))
        parsed = crossplane.parse(str(root / "nginx.conf"), combine=True, strict=False, check_ctx=True, check_args=True)
        wrong = [error for error in parsed["errors"] if "mime.types" not in error["error"]]
        wrong = [error for error in wrong if "add_header_inherit" not in error["error"]]
        assert wrong == []
        blocks: list[Block] = parsed["config"][0]["parsed"]
        return blocks

    return made


def walk(blocks: list[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        yield from walk(block.get("block", []))


def servers(blocks: list[Block]) -> list[Block]:
    return [block for block in walk(blocks) if block["directive"] == "server" and "block" in block]


def of(block: Block, directive: str) -> list[list[str]]:
    return [item["args"] for item in block["block"] if item["directive"] == directive]


def locations(server: Block) -> dict[str, Block]:
    return {" ".join(block["args"]): block for block in server["block"] if block["directive"] == "location"}


def named(blocks: list[Block], name: str, port: str) -> Block:
    [found] = [
        server
        for server in servers(blocks)
        if any(name in args for args in of(server, "server_name"))
        and any(args[0] == port for args in of(server, "listen"))
    ]
    return found


def test_each_name_has_a_server_and_strangers_have_one_that_says_nothing(edge: Edge) -> None:
    blocks = edge()
    for name in ("shop.test", "stats.shop.test"):
        assert named(blocks, name, "80")
        assert named(blocks, name, "443")
    stranger = named(blocks, "_", "443")
    assert of(stranger, "ssl_reject_handshake") == [["on"]]
    assert of(locations(stranger)["/"], "return") == [["444"]]
    assert of(locations(named(blocks, "_", "80"))["/"], "return") == [["444"]]


def test_every_server_of_ours_over_tls_tells_browsers_everything(edge: Edge) -> None:
    blocks = edge(SITE_ALIASES="old.shop.test")
    for server in servers(blocks):
        if [*of(server, "ssl_certificate")]:
            told = [args[0] for args in of(server, "add_header")]
            assert set(told) >= SECURITY
            assert len(told) == len(set(told))
            assert all(args[-1] == "always" for args in of(server, "add_header"))
            assert of(server, "add_header_inherit") == [["merge"]]
            hidden = {args[0] for args in of(server, "proxy_hide_header")}
            assert hidden >= SECURITY - {"Content-Security-Policy"}, "two sources for one header"


def test_no_location_repeats_a_security_header_or_hides_others(edge: Edge) -> None:
    for block in walk(edge()):
        if block["directive"] == "location":
            assert not SECURITY & {args[0] for args in of(block, "add_header")}
            assert of(block, "proxy_hide_header") == [], "it would undo those of the server"


def test_the_backend_is_reached_by_an_allow_list_alone(edge: Edge) -> None:
    site = locations(named(edge(), "shop.test", "443"))
    to_backend = {name for name, block in site.items() if ["http://backend"] in of(block, "proxy_pass")}
    assert to_backend == {"^~ /api/", "^~ /ws/", "= /health", "= /health/deep"}
    assert of(site["= /metrics"], "return") == [["404"]]
    assert of(site["= /metrics/"], "return") == [["404"]]
    assert ["http://frontend"] in of(site["/"], "proxy_pass")


def test_connections_are_upgraded_for_websockets_alone(edge: Edge) -> None:
    for block in walk(edge()):
        upgrades = block["directive"] == "location" and ["Upgrade", "$http_upgrade"] in of(block, "proxy_set_header")
        assert upgrades is (block["directive"] == "location" and block["args"] == ["^~", "/ws/"])


def test_every_proxied_location_says_who_asks_and_in_whose_name(edge: Edge) -> None:
    proxied = [b for b in walk(edge()) if b["directive"] == "location" and of(b, "proxy_pass")]
    assert len(proxied) > 8
    for block in proxied:
        sent = dict(args for args in of(block, "proxy_set_header"))
        assert sent["Host"] == "$host"
        assert sent["X-Forwarded-For"] == "$remote_addr", "what the visitor claims must not pass"
        assert sent["X-Request-ID"] == "$request_id"
        assert of(block, "proxy_connect_timeout") == [["2s"]]


@pytest.mark.parametrize(("public", "conditions"), [("no", [["$is_inner", "=", "0"]]), ("yes", [])])
def test_deep_health_is_public_only_when_that_is_wanted(edge: Edge, public: str, conditions: list[list[str]]) -> None:
    site = locations(named(edge(DEEP_HEALTH_PUBLIC=public), "shop.test", "443"))
    assert of(site["= /health/deep"], "if") == conditions


def test_limits_are_those_of_the_settings_and_spare_health_and_static_files(edge: Edge) -> None:
    blocks = edge(API_RATE="77", API_BURST="7", PAGE_RATE="88", PAGE_BURST="8", CONNECTIONS_PER_ADDRESS="99")
    zones = {
        block["args"][1].split(":")[0]: block["args"]
        for block in walk(blocks)
        if block["directive"] == "limit_req_zone"
    }
    assert zones["zone=api"] == ["$counted", "zone=api:10m", "rate=77r/m"]
    assert zones["zone=pages"] == ["$counted", "zone=pages:10m", "rate=88r/m"]
    server = named(blocks, "shop.test", "443")
    limited = {name: of(block, "limit_req") for name, block in locations(server).items() if of(block, "limit_req")}
    assert limited == {
        "^~ /api/": [["zone=api", "burst=7", "nodelay"]],
        "^~ /ws/": [["zone=pages", "burst=8", "nodelay"]],
        "/": [["zone=pages", "burst=8", "nodelay"]],
        "@uncompressed": [["zone=pages", "burst=8", "nodelay"]],
    }
    assert of(server, "limit_conn") == [["connections", "99"]]
    [http] = [block for block in walk(blocks) if block["directive"] == "http"]
    assert of(http, "limit_req_status") == of(http, "limit_conn_status") == [["429"]]


def test_whoever_is_shut_out_is_shut_out_everywhere_but_at_health(edge: Edge) -> None:
    site = locations(named(edge(), "shop.test", "443"))
    closing = {name for name, block in site.items() if ["$closed"] in of(block, "if")}
    assert closing == {"^~ /api/", "^~ /ws/", "^~ /_next/static/", "/"}


def test_tls_is_what_mozilla_calls_intermediate_for_every_server(edge: Edge) -> None:
    blocks = edge()
    [http] = [block for block in walk(blocks) if block["directive"] == "http"]
    assert of(http, "ssl_protocols") == [["TLSv1.2", "TLSv1.3"]]
    assert of(http, "ssl_ecdh_curve") == [["?X25519MLKEM768:X25519:prime256v1:secp384r1"]]
    assert of(http, "ssl_prefer_server_ciphers") == [["off"]]
    for server in servers(blocks):
        for directive in ("ssl_protocols", "ssl_ciphers", "ssl_ecdh_curve", "ssl_stapling"):
            assert of(server, directive) == [], "none of its own"
        if of(server, "ssl_certificate"):
            assert of(server, "http2") == [["on"]]


def test_http3_is_offered_by_a_setting_only(edge: Edge) -> None:
    def quic(blocks: list[Block]) -> list[list[str]]:
        return [args for server in servers(blocks) for args in of(server, "listen") if "quic" in args]

    assert quic(edge()) == []
    offered = edge(HTTP3="yes", HTTPS_PORT="8443")
    assert len([args for args in quic(offered) if "reuseport" in args]) == 2, "once for each family"
    assert ["Alt-Svc", 'h3=":8443"; ma=86400', "always"] in of(named(offered, "shop.test", "443"), "add_header")


@pytest.mark.parametrize(
    ("stage", "value"),
    [
        ("trial", "max-age=300"),
        ("week", "max-age=604800"),
        ("full", "max-age=63072000; includeSubDomains"),
        ("preload", "max-age=63072000; includeSubDomains; preload"),
        ("off", None),
    ],
)
def test_hsts_comes_in_stages(edge: Edge, stage: str, value: str | None) -> None:
    told = {args[0]: args[1] for args in of(named(edge(HSTS=stage), "shop.test", "443"), "add_header")}
    assert told.get("Strict-Transport-Security") == value


def test_a_header_with_quotes_and_backslashes_arrives_as_it_was_written(edge: Edge) -> None:
    policy = 'geolocation=(self "https://maps.test"), camera=()'
    told = {args[0]: args[1] for args in of(named(edge(PERMISSIONS_POLICY=policy), "shop.test", "443"), "add_header")}
    assert told["Permissions-Policy"] == policy


def test_only_named_proxies_are_believed(edge: Edge) -> None:
    assert [block for block in walk(edge()) if block["directive"] == "real_ip_header"] == []
    blocks = edge(TRUSTED_PROXIES="192.0.2.0/24, 2001:db8::/32")
    named_ones = [block["args"] for block in walk(blocks) if block["directive"] == "set_real_ip_from"]
    assert named_ones == [["192.0.2.0/24"], ["2001:db8::/32"]]


def test_more_names_lead_to_the_one(edge: Edge) -> None:
    blocks = edge(SITE_ALIASES="old.shop.test, shop.example.test")
    alias = named(blocks, "old.shop.test", "443")
    assert of(alias, "server_name") == [["old.shop.test", "shop.example.test"]]
    assert of(locations(alias)["/"], "return") == [["308", "https://shop.test$request_uri"]]


def test_grafana_is_one_dashboard_or_nothing(edge: Edge) -> None:
    token = bundle.dashboard_token("shop", "stats.shop.test")
    shown = locations(named(edge(), "stats.shop.test", "443"))
    proxied = {name for name, block in shown.items() if ["http://grafana"] in of(block, "proxy_pass")}
    assert proxied == {
        f"= /public-dashboards/{token}", "^~ /public/",
        f"~ ^/api/public/dashboards/{token}(?:/annotations|/panels/[0-9]+/query)?/?$",
    }  # fmt: skip
    hidden = locations(named(edge(GRAFANA_PUBLIC="no"), "stats.shop.test", "443"))
    assert [name for name, block in hidden.items() if ["http://grafana"] in of(block, "proxy_pass")] == []
    for found in (shown, hidden):
        assert of(found["/"], "return") == [["404"]]


def test_brotli_is_asked_of_an_image_that_has_it(edge: Edge) -> None:
    assert [block for block in walk(edge()) if block["directive"].startswith("brotli")] == []
    blocks = edge(BROTLI="yes")
    assert ["on"] in [block["args"] for block in walk(blocks) if block["directive"] == "brotli"]
