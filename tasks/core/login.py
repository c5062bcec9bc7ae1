"""Proving who we are: keys in the order that costs the fewest round trips, and no key that ssh would not offer."""

import base64
import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH

from tasks.core.command import Secret
from tasks.core.errors import Unreachable
from tasks.core.sshconfig import Hop

# Without a handler of its own paramiko's errors reach stderr with a traceback each; ours say it in one line.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Credentials:
    """What `fab --prompt-for-...` asked for: a login password and a passphrase for key files, or None."""

    password: Secret | None = None
    passphrase: Secret | None = None


@dataclass
class KeyLogin:
    """paramiko's AuthStrategy for one hop. `notes` tells afterwards what could not be tried, and why."""

    hop: Hop
    credentials: Credentials
    notes: list[str] = field(default_factory=list)
    tried: int = 0

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Log in. Raises paramiko.AuthenticationException when the host accepts nothing."""
        for name, key in self.keys():
            if not transport.is_active():
                break  # the server's limit of attempts
            self.tried += 1
            try:
                transport.auth_publickey(self.hop.user, key)
                return
            except paramiko.BadAuthenticationType as error:
                if "publickey" not in error.allowed_types:
                    break
            except paramiko.SSHException as error:
                self._raise_if_silent(error)
                self.notes.append(f"{name}: {_reason(error)}")
        if self.credentials.password and transport.is_active():
            self.tried += 1
            try:
                transport.auth_password(self.hop.user, self.credentials.password.reveal())
                return
            except paramiko.SSHException as error:
                self._raise_if_silent(error)
                raise
        raise paramiko.AuthenticationException("nothing was accepted")

    def _raise_if_silent(self, error: paramiko.SSHException) -> None:
        """A host that does not answer has not refused: paramiko has one exception for both."""
        if _reason(error) == "authentication timeout":
            where = f"{self.hop.address}:{self.hop.port}"
            raise Unreachable(
                f"{where} stopped answering during the login",
                host=self.hop.alias,
                hint="is the host overloaded or frozen?",
            ) from error

    def keys(self) -> Iterator[tuple[str, paramiko.PKey]]:
        """(name, key) in order: identity files, by the agent where it holds them, then the agent's other keys."""
        agent_keys = {key.asbytes(): key for key in self._agent_keys()}
        for path in dict.fromkeys(self.hop.identities):
            held = agent_keys.pop(_public_part(path), None)
            if held is not None:
                yield f"{path} (agent)", held
                continue
            key = self._load(path)
            if key is not None:
                agent_keys.pop(key.asbytes(), None)
                yield str(path), key
        if not self.hop.identities_only:
            for other in agent_keys.values():
                yield f"agent key {other.fingerprint}", other

    def _load(self, path: Path) -> paramiko.PKey | None:
        if not path.is_file() or path.suffix == ".pub":
            return None  # ssh skips what is not there, too
        passphrase = self.credentials.passphrase
        for secret in (None, passphrase.reveal().encode() if passphrase else None):
            try:
                # The annotation says str, the library below wants bytes; None is the same to both.
                key: paramiko.PKey = paramiko.PKey.from_path(path, secret)  # type: ignore[arg-type]
                return key
            except (paramiko.PasswordRequiredException, TypeError):
                continue
            except (paramiko.SSHException, ValueError, OSError) as error:
                self.notes.append(f"{path}: {_reason(error)}")
                return None
        self.notes.append(f"{path} is encrypted and not in the agent")
        return None

    def _agent_keys(self) -> tuple[paramiko.AgentKey, ...]:
        where = os.environ.get("SSH_AUTH_SOCK", "") if self.hop.agent == "" else self.hop.agent
        if not where:
            return ()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10)
        agent = AgentSSH()
        try:
            connection.connect(where)
            agent._connect(connection)  # type: ignore[attr-defined]  # the public class only knows the environment's agent, not IdentityAgent's
        except (OSError, paramiko.SSHException) as error:
            connection.close()
            self.notes.append(f"agent: {_reason(error)}")
            return ()
        return agent.get_keys()


def _public_part(path: Path) -> bytes:
    """The key blob in `path`.pub, or in `path` when that is the public file; b"" when there is none."""
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    try:
        words = public.read_text(encoding="utf-8", errors="replace").split()
        return base64.b64decode(words[1], validate=True) if len(words) > 1 else b""
    except (OSError, ValueError):
        return b""


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().rstrip(".").lower()
