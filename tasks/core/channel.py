"""The one place that executes: a command on a channel, bytes in, bytes out, in constant memory."""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import paramiko

from tasks.core.connect import Link
from tasks.core.envelope import Opening, stop_line, wrap
from tasks.core.errors import ConnectionLost, InfraError, TimedOut
from tasks.core.failures import CHANNEL_SECONDS
from tasks.core.feeder import Feeder, Source
from tasks.core.messages import request_exec, send_signal

__all__ = ["Outcome", "Source", "execute"]

# Bytes read at once. paramiko moves what stays in its buffer to the front after each read: little stays this way.
CHUNK = 1 << 20
STDERR_TAIL = 65_536  # bytes of stderr that are kept
STDOUT_LIMIT = 64 * 2**20  # bytes of stdout that are kept when nobody takes them as they come
_TICK = 0.25  # seconds between two looks at deadline, peer and Ctrl-C
_STOP_SECONDS = 5.0  # for stopping the remote side; a peer slower than that is left alone


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit status, stdout (empty when it went to a sink) and the last 64 KiB of stderr."""

    status: int
    stdout: bytes
    stderr: bytes


def execute(
    link: Link,
    command: str,
    *,
    label: str,
    stdin: Source | None = None,
    sink: Callable[[bytes], None] | None = None,
    deadline: float | None = None,
    cancelled: threading.Event | None = None,
) -> Outcome:
    """Run `command` (a rendered shell line) and wait for its end.

    `stdin` is fed by a thread of its own and closed after it (at once without any); `sink` gets stdout as it comes, in
    this thread; `deadline` is in seconds; setting `cancelled` has the effect of Ctrl-C.
    Raises ConnectionLost, TimedOut (the remote command was stopped), KeyboardInterrupt (likewise), and what `sink` or
    `stdin` raise (likewise).
    """
    execution = _Execution(link, label, deadline, cancelled)
    try:
        execution.start(command, stdin)
        return execution.follow(sink)
    except ConnectionLost:
        link.close()
        raise
    except BaseException:
        execution.stop()
        raise
    finally:
        execution.close()


class _Execution:
    def __init__(self, link: Link, label: str, deadline: float | None, cancelled: threading.Event | None) -> None:
        self.link = link
        self.label = label
        self.seconds = deadline
        self.ends_at = None if deadline is None else time.monotonic() + deadline
        self.cancelled = cancelled
        self.opening = Opening(f"fab{os.urandom(8).hex()}")
        self.feeder: Feeder | None = None
        self.stderr = bytearray()
        self.opened = False

    def close(self) -> None:
        if self.opened:
            with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
                self.channel.close()

    def start(self, command: str, stdin: Source | None) -> None:
        line = wrap(command, self.opening.token)
        try:
            self.channel = _open(self.link)
            self.opened = True
            request_exec(self.channel, self.link.transport, line)
            if stdin is None:
                self.channel.shutdown_write()
            else:
                self.feeder = Feeder(self.channel, stdin)
                self.feeder.start()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self.refused(error) from error

    def follow(self, sink: Callable[[bytes], None] | None) -> Outcome:
        kept: list[bytes] = []
        count = 0
        last_tick = floor = time.monotonic()
        while True:
            self.wait()
            now = time.monotonic()
            if now - last_tick > 2:
                floor = now  # we slept, or the sink took its time: the peer is not to blame for that silence
            last_tick = now
            self.check(now, floor)
            over = self.over()
            out = self.read()
            if out:
                count += len(out)
                if sink is not None:
                    sink(out)
                elif count > STDOUT_LIMIT:
                    raise InfraError(f"{self.label} printed more than {STDOUT_LIMIT} bytes", host=self.link.hop.alias)
                else:
                    kept.append(out)
            elif over and not self.channel.recv_ready() and not self.channel.recv_stderr_ready():
                return self.outcome(b"".join(kept))

    def wait(self) -> None:
        if self.channel.eof_received and not self.channel.recv_ready() and not self.channel.recv_stderr_ready():
            self.channel.status_event.wait(_TICK)  # after EOF the descriptor is always readable: no way to wait
        else:
            select.select([self.channel], [], [], _TICK)

    def read(self) -> bytes:
        if self.channel.recv_stderr_ready():
            self.stderr += self.channel.recv_stderr(CHUNK)
            del self.stderr[:-STDERR_TAIL]
        return self.opening.feed(self.channel.recv(CHUNK)) if self.channel.recv_ready() else b""

    def over(self) -> bool:
        return bool(self.channel.closed or (self.channel.eof_received and self.channel.exit_status_ready()))

    def check(self, now: float, floor: float) -> None:
        if self.feeder and self.feeder.error:
            raise self.feeder.error
        if self.cancelled and self.cancelled.is_set():
            raise KeyboardInterrupt
        if now - max(self.link.wire.last_heard, floor) > self.link.hop.patience:
            raise self.lost(f"no sign of life for {self.link.hop.patience} s")
        if self.ends_at is not None and now > self.ends_at:
            raise TimedOut(
                f"{self.label} did not end within {self.seconds:g} s; it was stopped on the host",
                host=self.link.hop.alias,
                hint="look at what it waits for, on the host",
            )

    def outcome(self, stdout: bytes) -> Outcome:
        status = self.channel.exit_status
        if status < 0 and not _survives(self.link.transport):
            raise self.lost("the other side closed it")
        if self.feeder:
            self.feeder.join(timeout=1)
        if self.opening.pid is None:  # the login shell never ran our line: what it said is all there is to tell
            return Outcome(status if status > 0 else 255, b"", bytes(self.opening.noise + self.stderr)[-STDERR_TAIL:])
        return Outcome(status if status >= 0 else 255, stdout, bytes(self.stderr))

    def stop(self) -> None:
        """End the remote command over a second channel: SSH's own signal is refused by sshd for root logins."""
        link = self.link
        if not self.opened or self.channel.closed or not link.transport.is_active():
            return
        give_up = time.monotonic() + _STOP_SECONDS
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            while self.opening.pid is None and not self.channel.closed and time.monotonic() < give_up:
                self.read()  # started a moment ago: its first line, with the pid, is still on the way
                time.sleep(0.01)
            if self.opening.pid is None:
                return
            try:
                killer = _open(link, timeout=_STOP_SECONDS)
            except paramiko.ChannelException:
                send_signal(self.channel, link.transport)  # MaxSessions 1: better than nothing
                return
            killer.exec_command(stop_line(self.opening.pid))
            killer.shutdown_write()
            killer.settimeout(0.1)
            while not killer.exit_status_ready() and not killer.closed and time.monotonic() < give_up:
                self.read()  # a command that blocks on a full pipe would not even see its signal handler run
                killer.status_event.wait(0.02)
            killer.close()

    def refused(self, error: Exception) -> InfraError:
        if isinstance(error, paramiko.ChannelException):
            return InfraError(
                f"the host refuses another channel for {self.label}: {error.text}",
                host=self.link.hop.alias,
                hint="look at MaxSessions in its sshd_config",
            )
        return self.lost(str(error) or type(error).__name__)

    def lost(self, why: str) -> ConnectionLost:
        return ConnectionLost(
            f"the connection was lost during {self.label}: {why}",
            host=self.link.hop.alias,
            hint="it may have ended or may still be running; look before you repeat it",
        )


def _open(link: Link, timeout: float = CHANNEL_SECONDS) -> paramiko.Channel:
    channel = link.transport.open_session(timeout=timeout)
    link.channels += 1
    return channel


def _survives(transport: paramiko.Transport) -> bool:
    """Whether the connection outlived a channel that closed without a status: its end is noted a moment later."""
    transport.join(timeout=0.5)
    return transport.is_active()
