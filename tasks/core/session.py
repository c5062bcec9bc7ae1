"""One connection per host and run: opened at first use, reused by every step, closed at the end."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.command import Command, Secret, redact
from tasks.core.errors import AuthenticationFailed, ConnectionLost, HostFailed, UsageError
from tasks.core.lines import LineSplitter
from tasks.core.output import Output
from tasks.core.target import Target

if TYPE_CHECKING:
    from tasks.core.connect import Link
    from tasks.core.feeder import Source
    from tasks.core.login import Credentials

_SUDO_ASKS = ("sudo: a password is required", "sudo: a terminal is required", "is not in the sudoers file")


@dataclass(frozen=True)
class Result:
    """What a command left: exit status, stdout (empty when streamed) and the redacted end of stderr."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """stdout as UTF-8; bytes that are not become replacement characters."""
        return self.stdout.decode("utf-8", "replace")


@dataclass(frozen=True)
class Counters:
    """What the session cost so far: channels opened, bytes over the network in each direction."""

    channels: int
    bytes_sent: int
    bytes_received: int


class Session:
    """A host, as tasks see it. `cancelled`, once set, stops what is running as Ctrl-C does."""

    def __init__(
        self,
        target: Target,
        *,
        out: Output | None = None,
        credentials: "Credentials | None" = None,
        cancelled: threading.Event | None = None,
        remainder: str = "",
    ) -> None:
        self.target = target
        self.out = out or Output()
        self.remainder = remainder
        self._credentials = credentials
        self._cancelled = cancelled
        self._link: Link | None = None
        self._lost = False

    @property
    def name(self) -> str:
        """The alias as typed: the label for output and files."""
        return self.target.name

    @property
    def address(self) -> str:
        """The resolved host name."""
        return self.target.hop.address

    @property
    def port(self) -> int:
        """The port sshd listens on."""
        return self.target.hop.port

    @property
    def user(self) -> str:
        """Who we log in as."""
        return self.target.hop.user

    @property
    def credentials(self) -> "Credentials":
        """What the user typed at fab's prompts, if anything."""
        from tasks.core.login import Credentials

        return self._credentials or Credentials()

    @property
    def settings_file(self) -> Path:
        """The env file that belongs to this target."""
        return self.target.settings_file

    @property
    def cancelled(self) -> bool:
        """Whether what is being done for this host is to stop: Ctrl-C, which only the main thread hears of."""
        return self._cancelled is not None and self._cancelled.is_set()

    @property
    def counters(self) -> Counters:
        """The cost of the current connection; zeros before it is opened."""
        link = self._link
        return Counters(link.channels, link.wire.bytes_sent, link.wire.bytes_received) if link else Counters(0, 0, 0)

    def run(
        self,
        command: Command,
        *,
        stdin: "Source | None" = None,
        sink: Callable[[bytes], None] | None = None,
        root: bool = False,
        deadline: float | None = 60,
        check: bool = True,
        secrets: Iterable[Secret] = (),
    ) -> Result:
        """Run one command on the host and wait for it.

        Args:
            command: what to run.
            stdin: bytes, a binary file or chunks to feed; without it the command reads an empty stdin.
            sink: takes stdout in chunks as it comes; Result.stdout is empty then.
            root: run it through `sudo -n` unless the login is root.
            deadline: seconds until the remote command is stopped; None for no limit.
            check: raise for a non-zero status.
            secrets: values to mask in stderr and in errors.
        Returns:
            status, stdout and the end of stderr.
        Raises:
            HostFailed: non-zero status, with `check`. AuthenticationFailed: sudo asked for a password.
            ConnectionLost, TimedOut, Unreachable, HostKeyError: as their names say.
        """
        from tasks.core.channel import execute

        as_root = root and self.user != "root"
        label = redact(command.label, secrets := tuple(secrets))
        try:
            outcome = execute(
                self.open(),
                (command.sudo() if as_root else command).render(),
                label=label,
                stdin=stdin,
                sink=sink,
                deadline=deadline,
                cancelled=self._cancelled,
            )
        except ConnectionLost:
            self._lost = True
            raise
        except ValueError as error:
            raise UsageError(f"{label}: {error}", host=self.name) from error
        stderr = redact(outcome.stderr.decode("utf-8", "replace"), secrets)
        if as_root and outcome.status != 0 and any(sign in stderr for sign in _SUDO_ASKS):
            raise AuthenticationFailed(
                f"sudo asks {self.user} for a password",
                host=self.name,
                hint=f"on the host, as root: echo '{self.user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{self.user}",
            )
        if check and outcome.status != 0:
            raise self._failed(label, outcome.status, stderr)
        return Result(outcome.status, outcome.stdout, stderr)

    def lines(
        self,
        command: Command,
        on_line: Callable[[str], None],
        *,
        stdin: "Source | None" = None,
        root: bool = False,
        deadline: float | None = 60,
        check: bool = True,
        secrets: Iterable[Secret] = (),
    ) -> Result:
        """As `run`, with `on_line` called for each line of stdout (UTF-8, without its newline) as it arrives."""
        splitter = LineSplitter(on_line)
        try:
            return self.run(
                command, stdin=stdin, sink=splitter.feed, root=root, deadline=deadline, check=check, secrets=secrets
            )
        finally:
            splitter.finish()

    def open(self) -> "Link":
        """The connection, opened now if it is not. A lost one is not replaced silently: `close` first.

        Raises Unreachable, HostKeyError, AuthenticationFailed or ConnectionLost.
        """
        from tasks.core.connect import connect

        if self._lost:
            raise ConnectionLost("the connection was lost before", host=self.name, hint="run the task again")
        if self._link is None:
            self._link = connect(self.target, self.credentials)
        return self._link

    def close(self) -> None:
        """Close the connection, if any; the next use opens a new one."""
        if self._link is not None:
            self._link.close()
            self._link = None
        self._lost = False

    def _failed(self, label: str, status: int, stderr: str) -> HostFailed:
        said = [line.strip() for line in stderr.splitlines() if line.strip()]
        detail = f": {said[-1][:300]}" if said else ""
        return HostFailed(
            f"{label} ended with status {status}{detail}", host=self.name, exit_status=status, stderr=stderr
        )
