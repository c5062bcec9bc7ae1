"""What the session adds to executing: root, redaction, errors. The channel is replaced by a recording."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core import channel
from tasks.core.channel import Outcome
from tasks.core.command import Command
from tasks.core.errors import AuthenticationFailed, ExitStatus, HostFailed
from tasks.core.session import Session
from tasks.core.sshconfig import hop_from_settings
from tasks.core.target import Target

Make = Callable[[str, Outcome], Session]


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, ran: list[str]) -> Make:
    def make(user: str, outcome: Outcome) -> Session:
        hop = hop_from_settings("vps", {"hostname": ["203.0.113.5"], "user": [user]})
        made = Session(Target("vps", hop, (), Path(".env"), Path("known_hosts")))
        monkeypatch.setattr(made, "open", lambda: None)

        def execute(link: object, command: str, **options: object) -> Outcome:
            ran.append(command)
            return outcome

        monkeypatch.setattr(channel, "execute", execute)
        return made

    return make


OK = Outcome(0, b"", b"")


def test_root_means_sudo_for_others_and_nothing_for_root(session: Make, ran: list[str]) -> None:
    session("deploy", OK).run(Command("id"), root=True)
    session("root", OK).run(Command("id"), root=True)
    session("deploy", OK).run(Command("id"))
    assert ran == ["sudo -n -- id", "id", "id"]


def test_a_sudo_that_wants_a_password_says_how_to_allow_it(session: Make) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        session("deploy", Outcome(1, b"", b"sudo: a password is required\n")).run(Command("id"), root=True, check=False)
    assert caught.value.status is ExitStatus.AUTHENTICATION
    assert "sudo asks deploy for a password" in caught.value.one_line()
    assert "/etc/sudoers.d/deploy" in (caught.value.hint or "")


def test_a_failure_that_is_not_checked_is_a_result(session: Make) -> None:
    result = session("root", Outcome(4, b"out", b"err")).run(Command("x"), check=False)
    assert (result.status, result.text, result.stderr) == (4, "out", "err")


def test_a_failure_without_words_still_says_what_and_how(session: Make) -> None:
    with pytest.raises(HostFailed, match=r"x ended with status 4\Z"):
        session("root", Outcome(4, b"", b"\n \n")).run(Command("x"))
