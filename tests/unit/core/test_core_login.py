"""Logging in: what the host's silence and its refusal are called."""

from __future__ import annotations

from pathlib import Path

import paramiko
import pytest

from tasks.core.errors import ExitStatus, Unreachable
from tasks.core.login import Credentials, KeyLogin
from tasks.core.sshconfig import Hop


class _Transport:
    """A host that answers every attempt with this exception."""

    def __init__(self, error: paramiko.SSHException) -> None:
        self.error = error

    def is_active(self) -> bool:
        return True

    def auth_publickey(self, _user: str, _key: paramiko.PKey) -> None:
        raise self.error


@pytest.fixture
def login(tmp_path: Path) -> KeyLogin:
    path = tmp_path / "id_rsa"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(path))
    hop = Hop("vps", "192.0.2.1", 22, "root", "192.0.2.1", (), (path,), True, None, "", 4, 3, 10.0)
    return KeyLogin(hop, Credentials())


def test_a_host_that_falls_silent_has_not_refused_the_key(login: KeyLogin) -> None:
    silent = _Transport(paramiko.AuthenticationException("Authentication timeout."))
    with pytest.raises(Unreachable, match="stopped answering") as caught:
        login.authenticate(silent)  # type: ignore[arg-type]
    assert caught.value.status is ExitStatus.UNREACHABLE


def test_a_host_that_refuses_the_key_has(login: KeyLogin) -> None:
    refusing = _Transport(paramiko.AuthenticationException("Authentication failed."))
    with pytest.raises(paramiko.AuthenticationException):
        login.authenticate(refusing)  # type: ignore[arg-type]
    assert login.tried == 1
