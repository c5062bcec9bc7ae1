"""The certificate over its life, as the host sees to it."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from host_world import World, last
from test_host_certificate import deploy

from host import tls
from host.errors import Failure
from host.events import Journal

DAY = 86400


@pytest.mark.parametrize(
    ("certbot", "days", "left"),
    [("4.0.0", 90, 30), ("4.0.0", 45, 15), ("5.6.0", 6, 3), ("2.9.0", 90, 30), ("2.1.0", 45, 30), ("1.21.0", 90, 30)],
)
def test_each_certbot_renews_at_its_own_time(certbot: str, days: int, left: int) -> None:
    found = {"not_before": 0, "not_after": days * DAY}
    assert tls.renews(certbot, found) == (days - left) * DAY


def test_without_certbot_or_certificate_nobody_knows_when() -> None:
    assert tls.renews("", {"not_before": 0, "not_after": 1}) is None
    assert tls.renews("4.0.0", None) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Tue 2026-11-24 23:43:26 UTC", 1795563806.0), ("", None), ("n/a", None), ("Tue 2026-11-24 23:43:26 CET", None)],
)
def test_systemds_times_are_read(text: str, expected: float | None) -> None:
    assert tls._moment(text) == expected


def test_a_deploy_needs_the_timer_that_renews(world: World) -> None:
    world.set(timer={"LoadState": "masked", "UnitFileState": "masked", "ActiveState": "inactive"})
    status, data, _ = deploy(world, 1)
    assert status == 12
    assert data["cause"] == "certbot's timer is masked: nothing would renew the certificate"
    assert world.calls("certbot certonly") == []
    world.set(timer={"LoadState": "not-found", "UnitFileState": "", "ActiveState": "inactive"})
    assert deploy(world, 1)[1]["cause"] == "certbot's timer is not there: nothing would renew the certificate"


def test_a_timer_that_is_off_is_put_on(world: World) -> None:
    world.set(timer={"LoadState": "loaded", "UnitFileState": "disabled", "ActiveState": "inactive"})
    assert deploy(world, 1)[0] == 0
    assert world.calls("systemctl enable --now certbot.timer")


def test_a_pair_that_nginx_refuses_is_taken_back(world: World) -> None:
    deploy(world, 1)
    before = {path.name: path.read_bytes() for path in world.config.tls.iterdir()}
    modes = {path.name: path.stat().st_mode for path in world.config.tls.iterdir()}
    world.run_certbot_again()
    world.set(exec_error="nginx: [emerg] cannot load certificate key")
    done = world.run("install-certificate")
    assert done.returncode == 12
    assert "the old one is back" in last(done.stdout)["data"]["cause"]
    assert {path.name: path.read_bytes() for path in world.config.tls.iterdir()} == before
    assert {path.name: path.stat().st_mode for path in world.config.tls.iterdir()} == modes


def test_a_name_that_is_no_longer_wanted_makes_another_certificate(world: World) -> None:
    names = ["shop.example", "stats.shop.example"]
    deploy(world, 1, settings={"domains": [*names, "old.example"]})
    world.forget_calls()
    deploy(world, 2, settings={"domains": names})
    [line] = world.calls("certbot certonly")
    assert "old.example" not in line


class Names:
    """Addresses by name, for `socket.getaddrinfo`."""

    def __init__(self, **found: list[str]) -> None:
        self.found = {name.replace("_", "."): addresses for name, addresses in found.items()}

    def __call__(self, name: str, port: int, **_: Any) -> list[Any]:
        if name not in self.found:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (address, port)) for address in self.found[name]]


@pytest.fixture
def site(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A web server for the challenges of this host; port 80 is its port."""
    world.config.prepare()
    folder = Path(world.config.webroot)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    real = tls.http.client.HTTPConnection
    monkeypatch.setattr(
        tls.http.client,
        "HTTPConnection",
        lambda address, port, timeout: real(address, server.server_port, timeout=timeout),
    )
    yield SimpleNamespace(world=world, patch=monkeypatch, folder=folder)
    server.shutdown()


def reach(site: SimpleNamespace, names: Names, *domains: str) -> None:
    site.patch.setattr(tls, "socket", SimpleNamespace(getaddrinfo=names, SOCK_STREAM=socket.SOCK_STREAM))
    manifest: Any = SimpleNamespace(settings=SimpleNamespace(domains=domains))
    with Journal().step("reach", "asking") as step:
        tls.reach(site.world.config, manifest, step)


def test_names_that_lead_here_are_found_to(site: SimpleNamespace) -> None:
    reach(site, Names(a_test=["127.0.0.1"], b_test=["127.0.0.1"]), "a.test", "b.test")
    assert list((site.folder / ".well-known/acme-challenge").iterdir()) == [], "nothing is left behind"


def test_a_name_that_nobody_knows_is_refused_by_name(site: SimpleNamespace) -> None:
    with pytest.raises(Failure, match=r"b\.test does not resolve"):
        reach(site, Names(a_test=["127.0.0.1"]), "a.test", "b.test")


def test_a_closed_port_is_named(site: SimpleNamespace) -> None:
    with pytest.raises(Failure, match=r"port 80 of a\.test \(127\.9\.9\.9\) is closed"):
        reach(site, Names(a_test=["127.9.9.9"]), "a.test")


def test_another_server_is_told_from_ours(site: SimpleNamespace) -> None:
    site.patch.setattr(tls.durable, "write", lambda *_: None)  # what would be fetched is not there
    with pytest.raises(Failure, match="answered by something other than this server"):
        reach(site, Names(a_test=["127.0.0.1"]), "a.test")
