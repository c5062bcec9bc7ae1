"""The one place that runs other programs: argument lists, deadlines, bounded output, no secrets on command lines."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from host import config
from host.errors import Failure, one_line

_ERROR_TAIL = 64 * 1024  # bytes
_OUTPUT_LIMIT = 32 * 1024 * 1024  # bytes: `docker inspect` of everything is far below
_PAUSE = 0.1  # seconds between two looks at the child
_GRACE = 5.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True)
class Done:
    """How a program ended: exit status, its whole stdout and the tail of its stderr."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")

    @property
    def last_line(self) -> str:
        """The last line it said, on stderr if there was anything."""
        lines = [line.strip() for line in (self.stderr or self.text).splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.status}"


class _Reader(threading.Thread):
    """Drains one pipe; keeps the head (stdout) or the tail (stderr) and hands out whole lines."""

    def __init__(self, pipe: IO[bytes], limit: int, tail: bool, on_line: Callable[[str], None] | None) -> None:
        super().__init__(daemon=True)
        self._pipe, self._limit, self._tail, self._on_line = pipe, limit, tail, on_line
        self.kept = bytearray()
        self.overflow = False

    def run(self) -> None:
        for raw in self._pipe:
            self.kept += raw
            if len(self.kept) > self._limit:
                self.overflow = True
                if self._tail:
                    del self.kept[: len(self.kept) - self._limit]
                else:
                    del self.kept[self._limit :]
            if self._on_line:
                self._on_line(raw.decode("utf-8", "replace").rstrip("\r\n"))
        self._pipe.close()


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the child and everything it started: politely, then for good."""
    for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            pass
        try:
            child.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue


def _watch(
    child: subprocess.Popen[bytes], argv: Sequence[str], deadline: float, tick: Callable[[], None] | None
) -> int:
    ends = time.monotonic() + deadline
    exited = os.pidfd_open(child.pid)  # wakes up at once, where Popen.wait looks twenty times a second
    try:
        while True:
            if select.select([exited], [], [], _PAUSE)[0]:
                return child.wait()
            if time.monotonic() > ends:
                raise Failure(
                    f"`{label(argv)}` did not end within {deadline:.0f} s", hint="look at the host: uptime; docker ps"
                )
            if tick:
                tick()
    except BaseException:
        _stop(child)
        raise
    finally:
        os.close(exited)


def label(argv: Sequence[str]) -> str:
    """A short name of a command line for messages: program and verbs, without paths and options."""
    words = [word for word in argv[:12] if not word.startswith(("-", "/")) and "=" not in word]
    return " ".join(words[:4])


def run(
    argv: Sequence[str],
    *,
    deadline: float,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    on_line: Callable[[str], None] | None = None,
    tick: Callable[[], None] | None = None,
    cwd: str = "/",
) -> Done:
    """Run `argv` for at most `deadline` seconds.

    `env` is added to the clean environment, `on_line` gets every line of both streams (from threads), `tick` is
    called a few times a second and may raise to abandon the program. Raises Failure when the program is missing,
    late, or (with `check`) exits non-zero. Secrets go through `stdin`, files or `env`, never through `argv`.
    """
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**config.child_environment(), **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Failure(f"{argv[0]} is not installed on this host", hint="prepare the host: fab setup") from error
    if child.stdout is None or child.stderr is None:  # for the type checker: both were asked for
        raise AssertionError
    out = _Reader(child.stdout, _OUTPUT_LIMIT, tail=False, on_line=on_line)
    err = _Reader(child.stderr, _ERROR_TAIL, tail=True, on_line=on_line)
    out.start()
    err.start()
    if stdin is not None and child.stdin is not None:
        try:
            child.stdin.write(stdin)
            child.stdin.close()
        except BrokenPipeError:
            pass  # it ended without reading: its exit status tells why
    status = _watch(child, argv, deadline, tick)
    for reader in (out, err):
        reader.join(_GRACE)  # a grandchild may hold the pipe open for ever
    done = Done(status, bytes(out.kept), err.kept.decode("utf-8", "replace"))
    if check and status != 0:
        raise explain(argv, done)
    return done


def explain(argv: Sequence[str], done: Done) -> Failure:
    """The Failure for a program that exited non-zero."""
    said = done.stderr or done.text
    if "Cannot connect to the Docker daemon" in said or "Is the docker daemon running" in said:
        return Failure("the Docker engine is not running", hint="look at it: systemctl status docker")
    if "permission denied while trying to connect to the Docker daemon" in said:
        return Failure("no permission to talk to the Docker engine", hint="run it as root (sudo)")
    if "no space left on device" in said:
        return Failure(
            f"`{label(argv)}`: no space left on the disk",
            hint="free some: docker system df; journalctl --vacuum-size=200M",
        )
    return Failure(f"`{label(argv)}` failed: {one_line(done.last_line)}", data={"log": said.splitlines()[-20:]})
