"""Strict host keys, always: what is known is checked, what is not known is refused, what changed is refused louder."""

import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks import trust as trust_module
from tasks.core.command import Command
from tasks.core.errors import AuthenticationFailed, ExitStatus, HostKeyError, UsageError
from tasks.core.output import Output
from tasks.core.session import Session
from tasks.core.target import resolve
from tests.integration.conftest import Desk
from tests.integration.server import PrivateSshd, generate_key

Connect = Callable[..., Session]


def _fingerprint(server: PrivateSshd, kind: str = "ed25519") -> str:
    shown = subprocess.run(
        ["ssh-keygen", "-lf", f"{server.host_key(kind)}.pub"], capture_output=True, text=True, check=True
    )
    return shown.stdout.split()[1]


def _wrong_line(server: PrivateSshd, tmp_path: Path) -> str:
    public = Path(f"{generate_key(tmp_path / 'other')}.pub").read_text().split()
    return f"[127.0.0.1]:{server.port} {public[0]} {public[1]}\n"


def test_a_known_key_is_accepted(session: Session) -> None:
    assert session.run(Command("true")).status == 0


def test_an_unknown_host_is_refused_with_its_fingerprint_and_the_command_to_type(
    server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(server)
    with pytest.raises(HostKeyError) as caught:
        connect().run(Command("true"))
    assert caught.value.status is ExitStatus.HOST_KEY
    assert caught.value.one_line() == (
        f"error: [vps] unknown host key for [127.0.0.1]:{server.port}: ED25519 {_fingerprint(server)}. "
        "Next: compare it with the host's own, then fab trust -H vps"
    )
    assert not desk.known_hosts.exists()


def test_a_wrong_key_is_refused_naming_the_line_to_remove(
    server: PrivateSshd, desk: Desk, connect: Connect, tmp_path: Path
) -> None:
    desk.add_host(server)
    desk.know("# a comment\n" + _wrong_line(server, tmp_path))
    before = desk.known_hosts.read_text()
    with pytest.raises(HostKeyError) as caught:
        connect().run(Command("true"))
    line = caught.value.one_line()
    assert f"{desk.known_hosts}:2" in line
    assert f"remove line 2 of {desk.known_hosts}" in line
    assert _fingerprint(server) in line
    assert desk.known_hosts.read_text() == before


def test_a_hashed_entry_with_a_port_is_understood(server: PrivateSshd, desk: Desk, connect: Connect) -> None:
    desk.add_host(server)
    desk.know(server.known_line())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(desk.known_hosts)], check=True, capture_output=True)
    assert "127.0.0.1" not in desk.known_hosts.read_text()
    assert connect().run(Command("true")).status == 0


def test_the_right_key_for_another_port_does_not_count(server: PrivateSshd, desk: Desk, connect: Connect) -> None:
    desk.add_host(server)
    desk.know(server.known_line(port=server.port - 1))
    with pytest.raises(HostKeyError, match="unknown host key"):
        connect().run(Command("true"))


def test_a_host_with_two_keys_is_asked_for_the_one_that_is_known(
    server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(server)
    desk.know(server.known_line("rsa"))
    assert connect().run(Command("true")).status == 0


def test_markers_and_rubbish_in_the_users_file_do_not_break_it(
    server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(server)
    desk.know("@cert-authority *.example.com ssh-ed25519 AAAA\nrubbish\nhost ssh-dss not-base64!\n")
    desk.know(server.known_line())
    assert connect().run(Command("true")).status == 0


def test_a_revoked_key_is_refused_even_if_another_line_knows_it(
    server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(server)
    desk.know(server.known_line() + "@revoked " + server.known_line().replace("[127.0.0.1]", "[*]"))
    with pytest.raises(HostKeyError, match="revoked"):
        connect().run(Command("true"))


def test_strict_host_key_checking_no_in_ssh_config_is_not_obeyed(
    server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(server, extra="StrictHostKeyChecking no")
    with pytest.raises(HostKeyError):
        connect().run(Command("true"))


class _Answering(Output):
    def __init__(self, answer: bool) -> None:
        super().__init__()
        self.answer = answer
        self.questions: list[str] = []

    def confirm(self, question: str) -> bool:
        self.questions.append(question)
        return self.answer


def _trust(desk: Desk, out: Output, name: str = "vps", **flags: object) -> trust_module.Report:
    return trust_module.trust(Session(resolve(name, desk.place), out=out), **flags)  # type: ignore[no-any-return]


def test_trust_writes_the_key_after_a_yes_and_connecting_works(
    server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(server)
    out = _Answering(True)
    report = _trust(desk, out)
    assert len(out.questions) == 1
    assert _fingerprint(server) in report.text
    assert stat.S_IMODE(desk.project_known_hosts.stat().st_mode) == 0o600
    assert stat.S_IMODE(desk.project_known_hosts.parent.stat().st_mode) == 0o700
    assert desk.project_known_hosts.read_text() == server.known_line()
    assert connect().run(Command("true")).status == 0


def test_trust_writes_nothing_after_a_no(server: PrivateSshd, desk: Desk) -> None:
    desk.add_host(server)
    with pytest.raises(HostKeyError, match="not trusted"):
        _trust(desk, _Answering(False))
    assert not desk.project_known_hosts.exists()


def test_trust_without_a_terminal_wants_yes(server: PrivateSshd, desk: Desk) -> None:
    desk.add_host(server)
    with pytest.raises(UsageError, match="not a terminal"):
        _trust(desk, Output())


def test_trust_with_the_right_fingerprint_asks_nothing(server: PrivateSshd, desk: Desk) -> None:
    desk.add_host(server)
    report = _trust(desk, _Answering(False), fingerprint=_fingerprint(server))
    assert report.data["added"] is True  # type: ignore[index]


def test_trust_with_another_fingerprint_refuses(server: PrivateSshd, desk: Desk) -> None:
    desk.add_host(server)
    with pytest.raises(HostKeyError, match="not SHA256:AAAA"):
        _trust(desk, _Answering(True), fingerprint="SHA256:AAAA", yes=True)
    assert not desk.project_known_hosts.exists()


def test_trust_twice_changes_nothing(server: PrivateSshd, desk: Desk) -> None:
    desk.add_host(server)
    _trust(desk, _Answering(False), yes=True)
    before = desk.project_known_hosts.read_bytes()
    report = _trust(desk, _Answering(False))
    assert "already trusted" in report.text
    assert desk.project_known_hosts.read_bytes() == before


def test_trust_never_replaces_a_changed_key(server: PrivateSshd, desk: Desk, tmp_path: Path) -> None:
    desk.add_host(server)
    desk.know(_wrong_line(server, tmp_path))
    with pytest.raises(HostKeyError) as caught:
        _trust(desk, _Answering(True), yes=True)
    assert f"remove line 1 of {desk.known_hosts}" in caught.value.one_line()
    assert not desk.project_known_hosts.exists()


def test_trust_does_not_need_to_be_able_to_log_in(server: PrivateSshd, desk: Desk, tmp_path: Path) -> None:
    stranger = replace(server, key=generate_key(tmp_path / "stranger"))
    desk.add_host(stranger)
    _trust(desk, _Answering(True))
    with pytest.raises(AuthenticationFailed):
        Session(resolve("vps", desk.place)).run(Command("true"))


def test_the_host_behind_a_gateway_is_refused_when_only_the_gateway_is_known(
    server: PrivateSshd, own_server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(own_server, "bastion")
    desk.add_host(server, extra="ProxyJump bastion")
    desk.know(own_server.known_line())
    with pytest.raises(HostKeyError, match="fab trust -H vps"):
        connect().run(Command("true"))


def test_an_unknown_gateway_is_refused_by_its_own_name(
    server: PrivateSshd, own_server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(own_server, "bastion")
    desk.add_host(server, extra="ProxyJump bastion")
    desk.know(server.known_line())
    with pytest.raises(HostKeyError, match="fab trust -H bastion"):
        connect().run(Command("true"))


def test_trust_reaches_a_host_behind_a_gateway(server: PrivateSshd, own_server: PrivateSshd, desk: Desk) -> None:
    desk.add_host(own_server, "bastion")
    desk.add_host(server, extra="ProxyJump bastion")
    desk.know(own_server.known_line())
    _trust(desk, _Answering(True))
    assert desk.project_known_hosts.read_text() == server.known_line()
