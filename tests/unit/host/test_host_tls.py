"""The certificate over its life, as the host sees to it."""

from __future__ import annotations

import http.server
import io
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from host_world import World, last
from test_host_certificate import deploy

from host import certificate, reach, releases, tls
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
    ("certbot", "before", "left"), [("4.0.0", "20 days", 20), ("4.0.0", "5 days", 15), ("2.9.0", "20 days", 20)]
)
def test_an_owners_own_time_counts_as_that_certbot_takes_it(certbot: str, before: str, left: int) -> None:
    found = {"not_before": 0, "not_after": 45 * DAY}
    assert tls.renews(certbot, found, before) == (45 - left) * DAY
    assert tls.renews(certbot, found, "a fortnight") is None


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
        self.real = socket.getaddrinfo
        self.found = {name.replace("_", "."): addresses for name, addresses in found.items()}

    def __call__(self, name: str, port: int, *words: Any, **more: Any) -> list[Any]:
        if name[0].isdigit():
            return self.real(name, port, *words, **more)
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
    real = reach.http.client.HTTPConnection
    monkeypatch.setattr(
        reach.http.client,
        "HTTPConnection",
        lambda address, port, timeout: real(address, server.server_port, timeout=timeout),
    )
    yield SimpleNamespace(world=world, patch=monkeypatch, folder=folder)
    server.shutdown()


def look(site: SimpleNamespace, names: Names, *domains: str) -> str:
    """What is said of the names; raises Failure."""
    site.patch.setattr(reach.socket, "getaddrinfo", names)
    manifest: Any = SimpleNamespace(settings=SimpleNamespace(domains=domains))
    said = io.BytesIO()
    with Journal(None, said).step("reach", "asking") as step:
        reach.every(site.world.config, manifest, step)
    return said.getvalue().decode()


def test_names_that_lead_here_are_found_to(site: SimpleNamespace) -> None:
    said = look(site, Names(a_test=["127.0.0.1"], b_test=["127.0.0.1"]), "a.test", "b.test")
    assert "found this server by a.test, b.test" in said
    assert list((site.folder / ".well-known/acme-challenge").iterdir()) == [], "nothing is left behind"


def test_a_name_that_nobody_knows_is_refused_by_name(site: SimpleNamespace) -> None:
    with pytest.raises(Failure, match=r"b\.test does not resolve"):
        look(site, Names(a_test=["127.0.0.1"]), "a.test", "b.test")
    assert list((site.folder / ".well-known/acme-challenge").iterdir()) == []


def test_a_resolver_that_does_not_answer_proves_nothing(site: SimpleNamespace) -> None:
    def unanswered(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    said = look(site, unanswered, "a.test")  # type: ignore[arg-type]
    assert "a.test could not be looked up from here: Temporary failure" in said
    assert "no name could be checked from here" in said


def test_a_closed_port_is_named(site: SimpleNamespace) -> None:
    with pytest.raises(Failure, match=r"port 80 of a\.test \(127\.9\.9\.9\) is closed"):
        look(site, Names(a_test=["127.9.9.9"]), "a.test")


def test_one_closed_address_of_two_is_a_remark(site: SimpleNamespace) -> None:
    said = look(site, Names(a_test=["127.9.9.9", "127.0.0.1"]), "a.test")
    assert "port 80 of a.test (127.9.9.9) is closed" in said
    assert "found this server by a.test" in said


def test_another_server_is_told_from_ours(site: SimpleNamespace) -> None:
    site.patch.setattr(reach.durable, "write", lambda *_: None)  # what would be fetched is not there
    with pytest.raises(Failure, match="answered by something other than this server"):
        look(site, Names(a_test=["127.0.0.1"]), "a.test")


def test_what_a_router_answers_to_its_own_side_proves_nothing(site: SimpleNamespace) -> None:
    site.patch.setattr(reach.durable, "write", lambda *_: None)
    site.patch.setattr(reach, "_behind_a_router", lambda _: True)
    said = look(site, Names(a_test=["127.0.0.1"]), "a.test")
    assert "is answered by something other than this server (status 404), seen from behind a router" in said


class Unsent:
    """A datagram socket on a host with one address."""

    def __init__(self, own: str) -> None:
        self.own = own

    def __call__(self, *_: Any) -> Unsent:
        return self

    def __enter__(self) -> Unsent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def connect(self, _address: object) -> None:
        pass

    def getsockname(self) -> tuple[str, int]:
        return self.own, 0


@pytest.mark.parametrize(
    ("address", "own", "behind"),
    [
        ("93.184.216.34", "10.0.0.5", True),
        ("93.184.216.34", "93.184.216.35", False),
        ("10.0.0.9", "10.0.0.5", False),
        ("2606:4700::1", "fd00::5", True),
        ("2606:4700::1", "2606:4700::2", False),
    ],
)
def test_a_router_is_told_by_addresses(monkeypatch: pytest.MonkeyPatch, address: str, own: str, behind: bool) -> None:
    monkeypatch.setattr(reach.socket, "socket", Unsent(own))
    assert reach._behind_a_router(address) is behind


@pytest.mark.parametrize(
    ("last", "following", "said"),
    [
        (-0.5, 0.5, ""),
        (None, 0.5, ""),
        (-3.0, 0.5, "has not run for 3 days"),
        (None, 30.0, "is to run only in 30 days"),
        (None, None, ""),
    ],
)
def test_a_timer_that_does_not_come_round_is_noticed(last: float | None, following: float | None, said: str) -> None:
    moments = {"last": last and 100 * DAY + last * DAY, "next": following and 100 * DAY + following * DAY}
    assert tls._late(moments, 100 * DAY) == said


def noted(world: World, line: str = "") -> Any:
    text = f"[renewalparams]\nserver = https://ca.example/dir\nrenew_hook = {world.program} install-certificate\n"
    (world.config.letsencrypt / "renewal").mkdir(exist_ok=True)
    (world.config.letsencrypt / "renewal" / "app.conf").write_text(line + text)
    return tls.renewal(world.config)


def test_what_certbot_has_noted_for_renewals_is_read(world: World) -> None:
    assert tls.renewal(world.config) is None
    assert noted(world) == {"on": True, "hook": True, "before": ""}
    assert noted(world, "# renew_before_expiry = 30 days\n")["before"] == ""
    assert noted(world, "renew_before_expiry = 20 days\nautorenew = False\n") == {
        "on": False,
        "hook": True,
        "before": "20 days",
    }
    (world.config.letsencrypt / "renewal" / "app.conf").write_text("[renewalparams]\nrenew_hook = /bin/true\n")
    assert tls.renewal(world.config)["hook"] is False


def test_the_status_is_one_line_of_json(world: World) -> None:
    deploy(world, 1)
    done = world.run("certificate", "status")
    found = last(done.stdout)
    assert found["same"] is True
    assert found["pair"] is True
    assert found["installed"]["key"] == "EC 256"
    assert found["served_is_installed"] is None, "the stand-in has no address to ask"
    assert found["authority"] == "https://ca.example/dir"


def issue(world: World, *words: str) -> tuple[int, dict[str, Any]]:
    done = world.run(
        "run-certificate", *words, "--events", str(world.home / "events.jsonl"), "--unit", "u", "--by", "me"
    )
    return done.returncode, last(done.stdout)


def test_names_of_the_settings_are_issued_before_they_are_deployed(world: World) -> None:
    deploy(world, 1)
    world.forget_calls()
    status, _ = issue(world, "issue", "--skip-check", "--name", "shop.example", "--name", "new.example")
    assert status == 0
    [line] = world.calls("certbot certonly")
    assert "-d shop.example -d stats.shop.example -d new.example" in line, "what is still served stays in it"
    world.forget_calls()
    assert issue(world, "issue", "--name", "new.example")[1]["message"].startswith("nothing to do")
    assert world.calls("certbot certonly") == []


@pytest.mark.parametrize("name", ["--server", "a b", "", "a.test\n", "-d"])
def test_no_name_passes_for_an_option_of_certbots(world: World, name: str) -> None:
    deploy(world, 1)
    assert world.run("certificate", "issue", f"--name={name}").returncode == 2


def test_a_certificate_that_certbot_has_given_up_is_asked_for_again(world: World) -> None:
    """`certbot revoke` also deletes what it has: nothing would renew what is still installed."""
    deploy(world, 1)
    shutil.rmtree(world.home / "letsencrypt" / "live")
    world.forget_calls()
    assert issue(world, "issue", "--skip-check")[0] == 0
    assert len(world.calls("certbot certonly")) == 1


def test_a_number_that_was_refused_twice_is_no_reason_to_give_up(world: World) -> None:
    world.set(certbot_errors=["urn:ietf:params:acme:error:badNonce :: JWS has an invalid anti-replay nonce"])
    assert deploy(world, 1)[0] == 0
    assert len(world.calls("certbot certonly")) == 2


def test_an_authority_that_refuses_every_number_is_not_asked_for_ever(world: World) -> None:
    world.set(certbot_error="urn:ietf:params:acme:error:badNonce :: JWS has an invalid anti-replay nonce")
    status, data, _ = deploy(world, 1)
    assert (status, data["cause"]) == (12, "no certificate: the certificate authority has a problem of its own")
    assert len(world.calls("certbot certonly")) == 3


@pytest.fixture
def edge(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What nginx presents (`now`), and whether it serves what is installed."""
    deploy(world, 1)
    manifest = releases.load(world.config, "current").manifest
    container = SimpleNamespace(service="nginx", name="nginx", state="running", addresses={"app_edge": "127.0.0.9"})
    monkeypatch.setattr(certificate.compose, "containers", lambda _: [container])
    monkeypatch.setattr(certificate, "_SERVED", 0.3)
    pem = (world.config.tls / "fullchain.pem").read_text()
    found = SimpleNamespace(
        now=ssl.PEM_cert_to_DER_cert(pem), good=ssl.PEM_cert_to_DER_cert(pem), container=container,
        confirm=lambda: certificate.confirm_served(world.config, manifest),
    )  # fmt: skip
    monkeypatch.setattr(certificate, "_presented", lambda address, name: found.now)
    return found


def test_what_is_served_is_read_back(edge: Any) -> None:
    assert edge.confirm() == ", and served"


@pytest.mark.parametrize("now", [b"another certificate", b""])
def test_an_nginx_that_goes_on_with_the_old_one_or_presents_none_is_a_failure(edge: Any, now: bytes) -> None:
    edge.now = now
    with pytest.raises(Failure, match="does not serve the new certificate"):
        edge.confirm()


def test_new_workers_are_given_a_moment(edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    later = iter([b"the old one"])
    monkeypatch.setattr(certificate, "_presented", lambda address, name: next(later, edge.good))
    assert edge.confirm() == ", and served"


def test_when_there_is_nobody_to_ask_nothing_is_claimed(edge: Any) -> None:
    edge.now = None
    assert edge.confirm() == ""
    edge.now, edge.container.state = b"another", "exited"
    assert edge.confirm() == ""
