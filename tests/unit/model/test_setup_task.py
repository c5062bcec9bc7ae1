"""`fab setup` itself: the order of things, what it shows, and how it ends."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.core import settings as settings_module
from tasks.core.errors import AuthenticationFailed, ConnectionLost, HostFailed, Locked, Refused, UsageError
from tasks.core.output import Console, Output
from tasks.core.session import Result
from tasks.model import program
from tasks.operations import armed, hostprogram
from tasks.setup import setup

FIXTURES = Path(__file__).parents[2] / "fixtures" / "facts"
DONE = '{"event": "done", "data": {"status": 0}}'


def answer(name: str, *edits: tuple[str, str]) -> bytes:
    """A recorded answer of a host that has the host program of this checkout, if it has one."""
    text = (FIXTURES / f"{name}.txt").read_text(encoding="utf-8")
    text = re.sub(r"^\w{64}(?=  /usr/local/bin/)", program.digest(program.build("maicivy")), text, flags=re.MULTILINE)
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text.encode()


class Host:
    """Stands in for a Session: answers questions for facts in turn and notes everything else that it is told to do."""

    name, user, address = "vps", "admin", "203.0.113.10"
    target = SimpleNamespace(environment="")

    def __init__(self, settings_file: Path, *answers: bytes, events: list[str] | None = None) -> None:
        self.settings_file = settings_file
        self.answers: Iterator[bytes] = iter(answers)
        self.events = [DONE] if events is None else events
        self.done: list[tuple[str, bytes]] = []
        self.shown, self.errors = io.StringIO(), io.StringIO()
        self.out = Output(Console(stdout=self.shown, stderr=self.errors))

    def run(self, command: Any, *, stdin: bytes, **_: Any) -> Result:
        assert command.label == "read the host's facts"
        return Result(0, next(self.answers), "")

    def lines(self, command: Any, on_line: Callable[[str], None], *, stdin: bytes | None = None, **_: Any) -> Result:
        self.done.append((command.label, stdin or b""))
        if command.argv[0].startswith("/usr/local/bin/"):
            for event in self.events:
                on_line(event)
        return Result(0, b"", "")


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings with a key file that is the default and not there."""
    values = SimpleNamespace(
        app_name="maicivy",
        deploy_user="deploy",
        docker_source="distribution",
        deploy_public_key_file=Path("~/.ssh/id_ed25519.pub").expanduser(),
        http_port=80,
        https_port=443,
        http3=False,
        reboot_time=None,
        secrets=[],
    )
    monkeypatch.setattr(settings_module, "load", lambda path: values)
    return tmp_path / ".env"


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Who asked the host what over a new connection. Every one comes about."""
    questions: list[tuple[str, str]] = []

    @contextmanager
    def anew(s: Any, login: str) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(user=login or s.user)

    monkeypatch.setattr(armed, "_anew", anew)
    monkeypatch.setattr(hostprogram, "ask", lambda s, app, word: questions.append((s.user, word)))
    return questions


def test_a_ready_host_is_asked_once_and_left_alone(settings_file: Path) -> None:
    host = Host(settings_file, answer("debian-13-done-sudo"))
    report = setup.body(host)
    assert report.text == "nothing to do: vps is ready for fab deploy"
    assert report.data["changed"] is False
    assert host.done == []


def test_a_bare_host_gets_python_and_the_program_first_and_what_could_shut_us_out_alone(
    settings_file: Path, asked: list[tuple[str, str]]
) -> None:
    host = Host(settings_file, answer("debian-13-bare-sudo"), answer("debian-13-done-sudo"))
    report = setup.body(host, yes=True)
    assert [label.split(" --by")[0] for label, _ in host.done] == [
        "the step python",
        "the step program",
        "/usr/local/bin/maicivy converge",
        *["maicivy converge"] * 2,
        "/usr/local/bin/maicivy converge",
    ]
    assert host.done[1][1] == program.build("maicivy")
    jobs = [json.loads(stdin) for _, stdin in host.done[2:]]
    assert [[step["name"] for step in job["steps"]] for job in jobs] == [
        ["packages", "docker-settings", "deploy-user", "sudo", "directories"],
        ["firewall"],
        ["published-ports"],
        ["upgrades", "journal", "units"],
    ]
    assert asked == [("admin", "confirm")] * 2
    assert report.data["changed"] is True


def test_hardening_closes_the_other_logins_last_and_only_when_the_deploy_user_gets_in(
    settings_file: Path, asked: list[tuple[str, str]]
) -> None:
    host = Host(settings_file, answer("debian-13-done-sudo"), answer("debian-13-hardened-deploy"))
    setup.body(host, yes=True, harden=True)
    jobs = [json.loads(stdin) for _, stdin in host.done]
    assert [[step["name"] for step in job["steps"]] for job in jobs] == [
        ["hardening", "hardening-packages", "hardening-system"],
        ["sshd"],
    ]
    assert jobs[1]["steps"][0]["undo"].startswith("set -eu\n")
    assert asked == [("deploy", "status"), ("deploy", "confirm")]


def test_hardening_leaves_sshd_alone_when_the_deploy_user_does_not_get_in(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(settings_file, answer("debian-13-done-sudo"))

    def refuse(*_: Any) -> None:
        raise AuthenticationFailed("none of your keys is accepted", host="vps")

    monkeypatch.setattr(hostprogram, "ask", refuse)
    with pytest.raises(Refused, match="sshd was left out: deploy cannot log in"):
        setup.body(host, yes=True, harden=True)
    assert "sshd" not in [step["name"] for _, stdin in host.done for step in json.loads(stdin)["steps"]]


def test_every_step_is_shown_with_its_reason_before_anything_is_done(settings_file: Path) -> None:
    host = Host(settings_file, answer("debian-13-bare-sudo"))
    report = setup.body(host, dry_run=True)
    assert "Debian 13 on amd64, logged in as admin" in host.shown.getvalue()
    assert re.search(r"^  deploy-user +deploy: no such user$", host.shown.getvalue(), re.MULTILINE)
    assert (host.done, report.data["changed"]) == ([], False)


def test_without_yes_and_without_a_terminal_nothing_is_done(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    host = Host(settings_file, answer("debian-13-bare-sudo"))
    with pytest.raises(UsageError, match="--yes"):
        setup.body(host)
    assert host.done == []


def test_a_refused_confirmation_does_nothing(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(settings_file, answer("debian-13-bare-sudo"))
    monkeypatch.setattr(host.out, "confirm", lambda question: False)
    with pytest.raises(Refused, match="not confirmed"):
        setup.body(host)
    assert host.done == []


def test_a_host_that_cannot_be_made_ready_is_refused_before_anything_is_done(settings_file: Path) -> None:
    host = Host(settings_file, answer("debian-13-bare-sudo", ("os_version=13", "os_version=11")))
    with pytest.raises(Refused, match="debian-11"):
        setup.body(host, yes=True)
    assert host.done == []


def test_what_does_not_hold_afterwards_is_named(settings_file: Path) -> None:
    stubborn = answer("debian-13-done-sudo", ("LOADED=yes\n", ""))
    host = Host(settings_file, stubborn, stubborn)
    with pytest.raises(HostFailed, match=r"not everything holds: firewall \(not yet: active\)"):
        setup.body(host, yes=True)


def test_a_failing_step_ends_with_the_cause_that_the_host_gave(settings_file: Path) -> None:
    event = {"event": "failed", "data": {"status": 12, "cause": "packages failed: E: no network", "hint": "try again"}}
    host = Host(settings_file, answer("debian-13-bare-sudo"), events=[json.dumps(event)])
    with pytest.raises(HostFailed) as caught:
        setup.body(host, yes=True)
    assert caught.value.one_line() == "error: [vps] packages failed: E: no network. Next: try again"


def test_a_broken_connection_says_that_the_host_goes_on_and_how_to_watch(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(settings_file, answer("debian-13-done-sudo", ("LOADED=yes\n", "")))

    def lose(*_: Any, **__: Any) -> Result:
        raise ConnectionLost("the connection broke off", host="vps")

    monkeypatch.setattr(host, "lines", lose)
    with pytest.raises(ConnectionLost, match=r"the host goes on without us\. Next: fab setup"):
        setup.body(host, yes=True)


def test_a_running_setup_is_watched_to_its_end_before_planning(settings_file: Path) -> None:
    busy = answer("debian-13-done-sudo", ('"busy": null', '"busy": {"who": "ann@laptop", "what": "setup"}'))
    host = Host(settings_file, busy, answer("debian-13-done-sudo"))
    assert setup.body(host, yes=True).data["steps"] == []
    assert [label for label, _ in host.done] == ["maicivy attach"]
    assert "setup by ann@laptop is running already, watching it" in host.shown.getvalue()


def test_a_host_that_is_busy_with_something_else_is_refused_with_who_and_what(settings_file: Path) -> None:
    busy = answer("debian-13-done-sudo", ('"busy": null', '"busy": {"who": "ann@laptop", "what": "deploy of r1"}'))
    host = Host(settings_file, busy)
    with pytest.raises(Locked, match=r"busy: deploy of r1 by ann@laptop since .*--wait 300"):
        setup.body(host, yes=True)
    assert host.done == []


def test_with_wait_somebody_elses_command_is_waited_for(settings_file: Path) -> None:
    text = '"busy": {"who": "ann@laptop", "what": "deploy of r1", "unit": "maicivy-apply-r1"}'
    busy = answer("debian-13-done-sudo", ('"busy": null', text))
    host = Host(settings_file, busy, answer("debian-13-done-sudo"))
    assert setup.body(host, yes=True, wait=60).data["steps"] == []
    assert [label for label, _ in host.done] == ["maicivy attach"]
    assert "waiting for deploy of r1 by ann@laptop" in host.shown.getvalue()


def test_the_host_program_is_told_how_long_to_wait(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    another = answer("debian-13-done-sudo", ("  /etc/systemd/journald.conf.d/", "  /etc/systemd/elsewhere.conf.d/"))
    host = Host(settings_file, another, answer("debian-13-done-sudo"))
    setup.body(host, yes=True, wait=90)
    ((label, _),) = host.done
    assert label.endswith(" --wait 90")


def test_the_ports_of_the_settings_are_opened(settings_file: Path) -> None:
    settings_module.load(settings_file).https_port = 8443  # type: ignore[misc]
    report = setup.body(Host(settings_file, answer("debian-13-done-sudo")), dry_run=True)
    whys = {step["name"]: step["why"] for step in report.data["steps"]}
    assert whys.keys() == {"firewall", "published-ports"}
    assert whys["firewall"] == "not yet: 8443 open"


def test_a_login_without_sudo_is_told_to_come_as_root(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(settings_file)
    monkeypatch.setattr(host, "run", lambda *_, **__: Result(127, b"", "sh: 1: sudo: not found\n"))
    with pytest.raises(AuthenticationFailed, match=r"fab setup -H root@203\.0\.113\.10"):
        setup.body(host)


def test_the_key_file_of_the_settings_is_the_key_of_the_deploy_user(settings_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "team.pub"
    path.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINew team@example.com\n")
    settings_module.load(settings_file).deploy_public_key_file = path  # type: ignore[misc]
    report = setup.body(Host(settings_file, answer("debian-13-done-sudo")), dry_run=True)
    assert report.data["steps"] == [{"name": "deploy-user", "why": "deploy: key missing"}]


def test_a_key_file_that_was_asked_for_and_is_not_there_is_refused(settings_file: Path, tmp_path: Path) -> None:
    settings_module.load(settings_file).deploy_public_key_file = tmp_path / "missing.pub"  # type: ignore[misc]
    with pytest.raises(Refused, match=r"DEPLOY_PUBLIC_KEY_FILE cannot be read: .*missing\.pub"):
        setup.body(Host(settings_file, answer("debian-13-done-sudo")))
