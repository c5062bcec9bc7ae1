"""What the doctor looks at, and what it makes of hosts that cannot be reached or are not set up."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_session import FakeHost

from tasks.core.errors import AuthenticationFailed, ExitStatus, Refused, SettingsError, Unreachable
from tasks.core.login import Credentials
from tasks.core.sshconfig import Hop
from tasks.core.task import Report
from tasks.model.facts import Facts, parse
from tasks.model.health import Check
from tasks.operations import doctor as operation

FIXTURES = Path(__file__).parents[2] / "fixtures" / "facts"
GIB = 1 << 30
KEY = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32).decode()

Doctor = Callable[..., Report]


def facts(name: str, **status: Any) -> Facts:
    found = parse((FIXTURES / f"{name}.txt").read_bytes())
    if found.status is None:
        return found
    # recorded long ago: the clock is the only part of it that today's workstation would find wrong
    now = {"clock": {"time": time.time(), "synchronized": True}}
    return replace(found, status={**found.status, **now, **status})


class Agent:
    """Stands in for a login's keys: none, unless a test has some."""

    offered: tuple[tuple[str, Any], ...] = ()
    said: tuple[str, ...] = ()

    def __init__(self, hop: Hop, credentials: Credentials) -> None:
        self.notes = list(self.said)

    def keys(self) -> Any:
        return iter(self.offered)


@pytest.fixture
def chosen(tmp_path: Path) -> Any:
    key = tmp_path / "id_ed25519.pub"
    key.write_text(f"ssh-ed25519 {KEY} me\n")
    return SimpleNamespace(
        path=tmp_path / ".env", app_name="maicivy", deploy_user="deploy", docker_source="distribution",
        deploy_public_key_file=key, http_port=80, https_port=443, http3=False, reboot_time=None, hsts="full",
        acme_server="https://ca.test", deep_health_public=False, page_csp="x", fallback_csp="x", permissions_policy="x",
        claude_api_key="k", openai_api_key=None, domains=["cv.site.test"], public_address=None, trusted_proxies=(),
    )  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> Any:
    made: Any = FakeHost()
    made.port, made.credentials = 22, Credentials()
    hop = SimpleNamespace(identities=(), proxy_command="")
    made.target = SimpleNamespace(environment="", in_lab=False, hop=hop, gateways=())
    return made


@pytest.fixture
def doctor(host: Any, chosen: Any, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """The doctor beside a network where the site's name leads to the host, which has `open_ports`."""

    def run(found: Facts | BaseException, open_ports: tuple[int, ...] = (22,), **dns: list[str]) -> Report:
        def observe(s: Any, settings: Any) -> Facts:
            if isinstance(found, BaseException):
                raise found
            return found

        def resolve(name: str, port: int, **_: Any) -> list[Any]:
            addresses = {"cv_site_test": ["203.0.113.10"]} | dns
            listed = addresses.get(name.replace(".", "_"), [name] if name[0].isdigit() else [])
            if not listed:
                raise socket.gaierror("unknown")
            return [(0, 0, 0, "", (address, port)) for address in listed]

        def connect(where: tuple[str, int], timeout: float) -> Any:
            assert timeout <= 2
            if where[0] != host.address or where[1] not in open_ports:
                raise ConnectionRefusedError
            return SimpleNamespace(close=lambda: None)

        monkeypatch.setattr(operation, "observe", observe)
        monkeypatch.setattr(operation.socket, "getaddrinfo", resolve)
        monkeypatch.setattr(operation.socket, "create_connection", connect)
        return operation.doctor(host)

    monkeypatch.setattr(operation.settings, "load", lambda path: chosen)
    monkeypatch.setattr("tasks.core.login.KeyLogin", Agent)
    monkeypatch.setattr(operation.health, "outside", lambda s, chosen, closed: [Check("https /", True, "200")])
    monkeypatch.setattr(operation.ssl, "look", lambda s, chosen: ({}, []))
    monkeypatch.setattr(operation.firewall, "faults", lambda s, chosen, facts: [])
    return run


def named(report: Report, name: str) -> list[dict[str, Any]]:
    assert isinstance(report.data, dict)
    return [finding for finding in report.data["findings"] if finding["name"] == name]


def wrong(report: Report) -> set[str]:
    assert isinstance(report.data, dict)
    return {finding["name"] for finding in report.data["findings"] if finding["grade"] == "error"}


def test_a_bare_host_is_told_what_setup_would_do_and_nothing_is_asked_of_what_is_not_there(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (operation.ssl, operation.firewall, operation.health):
        for name in ("look", "faults", "outside"):
            monkeypatch.setattr(part, name, lambda *_, **__: pytest.fail("asked"), raising=False)
    report = doctor(facts("debian-13-bare-sudo"))
    assert report.status == ExitStatus.UNHEALTHY
    [packages] = named(report, "packages")
    assert (packages["grade"], packages["fix"]) == ("error", "fab setup -H vps")
    assert [finding["grade"] for finding in named(report, "setup")] == ["warning"]  # the clock of a container
    assert named(report, "port 80") == []  # nothing is to answer there yet


def test_every_finding_that_is_not_well_has_a_fix_and_its_own_line(doctor: Doctor) -> None:
    for found in (facts("debian-13-bare-sudo"), facts("debian-13-done-sudo"), Unreachable("no answer")):
        report = doctor(found, open_ports=(22, 6379), cv_site_test=["198.51.100.1"])
        assert isinstance(report.data, dict)
        bad = [finding for finding in report.data["findings"] if finding["grade"] != "ok"]
        assert bad
        assert [finding for finding in bad if not finding["fix"]] == []
        assert [line.strip() for line in report.text.splitlines() if " fix: " in line] == [
            f"fix: {finding['fix']}" for finding in bad
        ]


def test_warnings_alone_are_no_failure(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation.setup_model, "plan", lambda facts, wanted: [])
    found = facts("debian-13-done-sudo")
    report = doctor(replace(found, deploy_user=None))
    assert wrong(report) == set()
    assert report.status == ExitStatus.OK
    assert isinstance(report.data, dict)
    assert report.data["ok"] is True
    assert [finding["grade"] for finding in named(report, "release")] == ["warning"]


@pytest.mark.parametrize(
    ("error", "status", "open_ports", "errors"),
    [
        (Unreachable("no answer", hint="is it on?"), ExitStatus.UNREACHABLE, (80, 443), {"login", "port 22"}),
        (AuthenticationFailed("nothing was accepted"), ExitStatus.AUTHENTICATION, (22, 80, 443), {"login"}),
    ],
)
def test_what_is_seen_from_here_is_told_when_there_is_no_login(
    doctor: Doctor, error: Exception, status: ExitStatus, open_ports: tuple[int, ...], errors: set[str]
) -> None:
    report = doctor(error, open_ports)
    assert report.status == status
    assert wrong(report) == errors
    for name in ("settings", "libraries", "Python", "cv.site.test", "port 443", "login"):
        assert named(report, name), name
    [login] = named(report, "login")
    assert login["fix"] == (getattr(error, "hint", None) or "ssh vps true")


def test_whether_a_port_is_closed_that_may_not_be_in_use_yet_is_not_said_to_be_an_error(doctor: Doctor) -> None:
    report = doctor(Unreachable("no answer"), open_ports=(22,))
    assert [finding["grade"] for finding in named(report, "port 443")] == ["warning"]


def test_a_settings_file_that_cannot_be_used_is_told_line_by_line(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> Any:
        raise SettingsError([".env:2: SITE_DOMAIN: still has the example's value", ".env: is missing"], hint="edit it")

    monkeypatch.setattr(operation.settings, "load", refuse)
    report = doctor(pytest.fail)  # type: ignore[arg-type]  # no host is asked
    assert report.status == ExitStatus.UNHEALTHY
    assert [(finding["grade"], finding["fix"]) for finding in named(report, "settings")] == [("error", "edit it")] * 2
    assert named(report, "Python")


def test_what_makes_setup_decline_is_a_finding(
    doctor: Doctor, chosen: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen.deploy_public_key_file = tmp_path / "gone.pub"  # setup refuses a file that was asked for
    report = doctor(facts("debian-13-bare-sudo"))
    [setup] = named(report, "setup")
    assert (setup["grade"], setup["fix"]) == ("error", "name a file ending in .pub")

    def refuse(facts: Any, wanted: Any) -> Any:
        raise Refused("this host runs plan 9")

    chosen.deploy_public_key_file = tmp_path / "id_ed25519.pub"
    monkeypatch.setattr(operation.setup_model, "plan", refuse)
    [setup] = named(doctor(facts("debian-13-bare-sudo")), "setup")
    assert (setup["what"], setup["fix"]) == ("this host runs plan 9", "fab setup -H vps")


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ({"problems": ["docker does not answer"]}, "host program"),
        ({"interrupted": "20261122T100000Z-1.2.0"}, "interrupted"),
        ({"clock": {"time": 0.0, "synchronized": False}}, "clock"),
        ({"disk": [{"mount": "/", "total": 100 * GIB, "free": GIB}], "space": []}, "disk /"),
        ({"space": [{"purpose": "images", "mount": "/data", "total": 100 * GIB, "free": GIB}]}, "disk /data"),
    ],
)
def test_what_the_host_program_says_counts_before_the_first_deploy(
    doctor: Doctor, status: dict[str, Any], name: str
) -> None:
    assert name not in wrong(doctor(facts("debian-13-done-sudo")))
    assert name in wrong(doctor(facts("debian-13-done-sudo", **status)))


def test_an_older_program_that_knows_no_certificates_hides_nothing_else(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old(*_: Any) -> Any:
        raise Refused("the program on this host is older than this checkout", hint="fab setup -H vps")

    monkeypatch.setattr(operation.ssl, "look", old)
    monkeypatch.setattr(operation.firewall, "faults", lambda *_: ["open: 6379/tcp (docker-proxy)"])
    manifest = {"version": "1", "services": {}}
    last = {"result": "done"}
    report = doctor(facts("debian-13-done-sudo", release="r1", manifest=manifest, last=last), (22, 80, 443))
    assert [finding["grade"] for finding in named(report, "certificate")] == ["error"]
    assert "open: 6379/tcp (docker-proxy)" in [finding["what"] for finding in named(report, "firewall")]
    assert [finding["grade"] for finding in named(report, "https /")] == ["ok"]


def test_ports_that_nobody_should_reach_are_tried(doctor: Doctor) -> None:
    report = doctor(facts("debian-13-done-sudo"), open_ports=(22, 2375, 5432))
    assert {"port 2375", "port 5432"} <= wrong(report)
    [others] = named(report, "other ports")
    assert "6379" in others["what"]
    assert "5432" not in others["what"]


def test_a_dark_network_costs_the_time_of_one_port(
    doctor: Doctor, host: Any, chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dark(where: tuple[str, int], timeout: float) -> Any:
        time.sleep(timeout / 10)
        raise TimeoutError

    doctor(Unreachable("no answer"))  # puts the rest in place
    monkeypatch.setattr(operation.socket, "create_connection", dark)
    began = time.monotonic()
    operation.doctor(host)
    assert time.monotonic() - began < 1.2  # one after the other they take 2.4 s


def test_a_host_behind_another_is_neither_probed_nor_compared(doctor: Doctor, host: Any) -> None:
    host.target.gateways = ("jump",)
    report = doctor(facts("debian-13-done-sudo"), open_ports=(), cv_site_test=["198.51.100.1"])
    assert named(report, "port 22") == []
    [ports] = named(report, "ports")
    assert ports["grade"] == "ok"
    assert [finding["grade"] for finding in named(report, "cv.site.test")] == ["ok"]


def test_in_the_lab_no_dns_is_asked(doctor: Doctor, host: Any) -> None:
    host.target.in_lab = True
    report = doctor(facts("debian-13-done-sudo"), cv_site_test=[])
    [dns] = named(report, "DNS")
    assert dns["grade"] == "ok"
    assert "lab" in dns["what"]
    assert named(report, "cv.site.test") == []


def test_a_public_address_is_what_names_are_compared_with(doctor: Doctor, chosen: Any) -> None:
    assert "cv.site.test" in wrong(doctor(facts("debian-13-done-sudo"), cv_site_test=["198.51.100.1"]))
    chosen.public_address = "198.51.100.1"
    report = doctor(facts("debian-13-done-sudo"), cv_site_test=["198.51.100.1"])
    assert [finding["grade"] for finding in named(report, "cv.site.test")] == ["ok"]
    report = doctor(facts("debian-13-done-sudo"))  # still leads to the former server
    assert [finding["grade"] for finding in named(report, "cv.site.test")] == ["warning"]


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 not!base64 me", "\xff\xfe"])
def test_a_file_that_holds_no_key_is_a_finding_and_no_crash(doctor: Doctor, chosen: Any, text: str) -> None:
    chosen.deploy_public_key_file.write_bytes(text.encode("latin-1"))
    assert [finding["grade"] for finding in named(doctor(Unreachable("no answer")), "key")] == ["warning"]


def test_the_key_is_compared_with_what_a_login_offers_and_what_the_deploy_user_has(
    doctor: Doctor, chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = facts("debian-13-done-sudo")
    assert found.deploy_user is not None
    has = replace(found, deploy_user=replace(found.deploy_user, keys=(f'from="10.0.0.0/8" ssh-ed25519 {KEY} x',)))
    [key] = named(doctor(has), "key")
    assert (key["grade"], "agent" in key["what"]) == ("warning", True)  # nothing here can log in with it
    mine = SimpleNamespace(asbytes=lambda: base64.b64decode(KEY))
    monkeypatch.setattr(Agent, "offered", (("agent key", mine),))
    report = doctor(has)
    assert [finding["grade"] for finding in named(report, "key")] == ["ok"]
    assert [finding["grade"] for finding in named(report, "agent")] == ["ok"]
    others = replace(found, deploy_user=replace(found.deploy_user, keys=("ssh-ed25519 AAAA other",)))
    [key] = named(doctor(others), "key")
    assert (key["grade"], key["fix"]) == ("error", "fab setup -H vps")


def test_private_keys_that_others_can_read_are_named(doctor: Doctor, host: Any, chosen: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("")
    host.target.hop.identities = (other, tmp_path / "gone", chosen.deploy_public_key_file)
    for mode, count in ((0o600, 0), (0o604, 1)):
        other.chmod(mode)
        found = [f for f in named(doctor(Unreachable("no answer")), "login key") if f["grade"] == "error"]
        assert [f["fix"] for f in found] == [f"chmod 600 {other}"] * count
    private = tmp_path / "id_ed25519"
    private.write_text("")
    private.chmod(0o644)
    [key] = named(doctor(Unreachable("no answer")), "key")
    assert (key["grade"], "can be read by others" in key["what"]) == ("error", True)


@pytest.mark.parametrize(("bits", "grade"), [(2048, "error"), (3072, "ok"), (4096, "ok")])
def test_the_length_of_an_rsa_key_is_read(
    doctor: Doctor, chosen: Any, monkeypatch: pytest.MonkeyPatch, bits: int, grade: str
) -> None:
    fields = (b"ssh-rsa", b"\x01\x00\x01", b"\0" + (1 << (bits - 1) | 1).to_bytes(bits // 8, "big"))
    blob = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    chosen.deploy_public_key_file.write_text(f"ssh-rsa {base64.b64encode(blob).decode()} me\n")
    monkeypatch.setattr(Agent, "offered", (("k", SimpleNamespace(asbytes=lambda: blob)),))
    assert [finding["grade"] for finding in named(doctor(Unreachable("no answer")), "key")] == [grade]


def test_this_checkout_satisfies_itself(doctor: Doctor) -> None:
    """pyproject.toml and the lock file are really read: what runs these tests is in their ranges."""
    report = doctor(Unreachable("no answer"))
    [python] = named(report, "Python")
    [libraries] = named(report, "libraries")
    assert (python["grade"], ">=3.11" in python["what"]) == ("ok", True)
    assert libraries["grade"] == "ok"
    assert "paramiko 5." in libraries["what"]
