"""Requests all through a switch: what is counted, and when the site is taken to answer."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from host_world import World, eventually

from host import probe, releases
from host.errors import Failure, Status
from host.events import Journal
from host.probe import Probe


def probing(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], str], *paths: str) -> Probe:
    monkeypatch.setattr(probe, "_PACE", 0.001)
    monkeypatch.setattr(probe, "_PATIENCE", 0.3)
    made = Probe("192.0.2.1", "shop.test", paths)
    monkeypatch.setattr(made, "_ask", answer)
    return made


def satisfied(watching: Probe) -> None:
    with Journal().step("probe", "asking") as step:
        watching.satisfied(step)


def test_a_site_that_answers_is_content_with_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with probing(monkeypatch, lambda path: "", "/", "/health") as watching:
        satisfied(watching)
        tally = watching.tally()
    assert tally.requests >= 6
    assert (tally.failed, tally.first_failure) == (0, "")
    assert set(tally.public()) == {"requests", "failed", "slowest_ms", "first_failure"}


def test_a_path_that_never_answers_well_is_named_with_what_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        probing(monkeypatch, lambda path: "status 502" if path == "/health" else "", "/", "/health") as watching,
        pytest.raises(Failure, match=r"/health is not answered well: status 502"),
    ):
        satisfied(watching)


def test_answers_from_before_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"wrong": ""}
    with probing(monkeypatch, lambda path: now["wrong"], "/") as watching:
        time.sleep(0.05)
        now["wrong"] = "connection refused"
        with pytest.raises(Failure, match="refused"):
            satisfied(watching)


def test_the_first_failure_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["", "status 502", "timed out", *[""] * 100000])
    with probing(monkeypatch, lambda path: next(said), "/") as watching:
        satisfied(watching)
        tally = watching.tally()
    assert (tally.failed, tally.first_failure) == (2, "/: status 502")


def test_without_anything_to_ask_nothing_is_asked() -> None:
    with Probe("", "", []) as watching:
        assert not watching.active
    assert watching.tally().requests == 0


def test_nobody_there_is_a_failure_and_no_exception() -> None:
    assert Probe("127.0.0.254", "shop.test", ["/"])._ask("/") != ""


# -- against a server with TLS


@dataclass
class Site:
    """A small site with TLS: what it answers, and what it was asked."""

    answers: dict[str, int | str] = field(default_factory=dict)  # path -> status, or "cut off" | "short"
    asked: list[tuple[str, str]] = field(default_factory=list)  # (host, path)
    names: list[str | None] = field(default_factory=list)  # what TLS was begun in the name of


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody trusts it, and it is for another name."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=other.test", "-keyout", "-", "-out", "-"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(made.stdout)
    return path


@pytest.fixture
def site(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

        def do_GET(self) -> None:
            made.asked.append((self.headers["Host"], self.path))
            answer = made.answers.get(self.path, 200)
            if answer == "cut off":
                return
            self.send_response(200 if isinstance(answer, str) else answer)
            self.send_header("Content-Length", "100" if answer == "short" else "2")
            self.end_headers()
            self.wfile.write(b"ok")

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_args: object) -> None:
            pass

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    tls.sni_callback = lambda _connection, name, _context: made.names.append(name)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    real = socket.create_connection

    def to_the_site(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        assert address == ("192.0.2.1", 443)
        return real(("127.0.0.1", server.server_address[1]), *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", to_the_site)
    monkeypatch.setattr(probe, "_PACE", 0.005)
    monkeypatch.setattr(probe, "_PATIENCE", 0.5)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


def test_requests_are_made_in_the_name_of_the_site_whatever_certificate_it_has(site: Site) -> None:
    with Probe("192.0.2.1", "shop.test", ["/", "/health"]) as watching:
        satisfied(watching)
    tally = watching.tally()
    assert (tally.failed, tally.requests) == (0, len(site.asked))
    assert tally.requests >= 6
    assert tally.slowest > 0
    assert set(site.asked) == {("shop.test", "/"), ("shop.test", "/health")}
    assert set(site.names) == {"shop.test"}


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (200, ""),
        (301, ""),
        (404, ""),
        (499, ""),
        (500, "status 500"),
        (502, "status 502"),
        ("cut off", "Remote end closed connection without response"),
        ("short", "IncompleteRead(2 bytes read, 98 more expected)"),
    ],
)
def test_what_nginx_could_not_answer_is_a_failure_and_what_the_application_said_is_none(
    site: Site, answer: int | str, wrong: str
) -> None:
    site.answers["/"] = answer
    assert Probe("192.0.2.1", "shop.test", ["/"])._ask("/") == wrong


def test_requests_that_failed_in_between_are_counted_and_the_first_is_told(site: Site) -> None:
    with Probe("192.0.2.1", "shop.test", ["/"]) as watching:
        satisfied(watching)
        site.answers["/"] = 502
        eventually(lambda: watching.tally().failed >= 2)
        site.answers["/"] = 200
        satisfied(watching)
    tally = watching.tally()
    assert tally.first_failure == "/: status 502"
    assert 2 <= tally.failed < tally.requests == len(site.asked)


def test_a_site_that_goes_on_failing_satisfies_nobody_and_the_counts_go_with_it(site: Site) -> None:
    site.answers["/health"] = 503
    with (
        Probe("192.0.2.1", "shop.test", ["/", "/health"]) as watching,
        pytest.raises(Failure, match=r"through nginx /health is not answered well: status 503") as caught,
    ):
        satisfied(watching)
    assert caught.value.status == Status.UNHEALTHY
    data: Any = caught.value.data["probe"]
    assert data["failed"] >= 1
    assert data["requests"] > data["failed"]


def test_nothing_is_asked_any_more_after_the_end(site: Site) -> None:
    with Probe("192.0.2.1", "shop.test", ["/"]) as watching:
        satisfied(watching)
    count = len(site.asked)
    time.sleep(0.05)
    assert len(site.asked) == count


# -- what is asked for a release


def of(
    world: World, *, certificate: bool = True, running: bool = True, domains: tuple[str, ...] = ("shop.test",)
) -> Any:
    plain = world.spec(1).services["backend"]
    switched = {
        "backend": {**plain, "switch": {"port": 8080, "probe": "/health"}},
        "frontend": {**plain, "switch": {"port": 3000}},
    }
    release = world.spec(1, services=switched, settings={"domains": domains})
    world.receive(release)
    found = releases.load(world.config, release.id)
    compose = ["docker", "compose", "-f", str(found.path / "docker-compose.prod.yml"), "up", "-d", "nginx"]
    subprocess.run(compose, check=True)
    containers = world.get()["containers"]
    if not running:
        containers["nginx"]["State"]["Status"] = "exited"
        world.set(containers=containers)
    if certificate:
        for name in ("fullchain.pem", "privkey.pem"):
            (world.config.tls / name).write_text("x")
    return probe.of(world.config, found.manifest)


def test_nginx_is_asked_for_what_each_switched_service_wants_to_be_asked(world: World) -> None:
    made = of(world, domains=("shop.test", "www.shop.test"))
    assert (made._address, made._name, made._paths) == ("127.9.0.1", "shop.test", ["/", "/health"])


@pytest.mark.parametrize("without", [{"certificate": False}, {"running": False}, {"domains": ()}])
def test_without_certificate_domain_or_nginx_there_is_nothing_to_ask(world: World, without: dict[str, Any]) -> None:
    assert not of(world, **without).active
