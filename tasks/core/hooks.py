"""Hooks: executables of the project, run on this machine before and after a change, and when it fails."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.core.errors import Refused
from tasks.core.lines import LineSplitter
from tasks.core.output import Output

DIRECTORY = "hooks"
SECONDS = 600.0  # how long one may take
_TICK = 0.2  # seconds between two looks at the clock and at Ctrl-C
_GRACE = 3.0  # seconds to end after SIGTERM
_CHUNK = 65_536  # bytes


@dataclass(frozen=True)
class Hooks:
    """The hooks of one change on one host.

    Attributes:
        out: where their output goes.
        root: the project: they are in `hooks/` there, and run there.
        facts: what they are told, by name without INFRA_; never a secret.
        skip: run none.
        cancelled: whether the user has typed Ctrl-C, asked now and then.
        limit: seconds one may take.
    """

    out: Output
    root: Path
    facts: Mapping[str, str]
    skip: bool = False
    cancelled: Callable[[], bool] = bool
    limit: float = SECONDS

    def before(self) -> None:
        """Run `pre-deploy`. Raises Refused when it fails: nothing has been done yet."""
        if wrong := self._run("pre-deploy", {}):
            raise Refused(
                f"hooks/pre-deploy {wrong}: nothing was changed", hint="see what it said above, or add --skip-hooks"
            )

    def after(self) -> None:
        """Run `post-deploy`; that it fails is a warning, for what it comes after is done."""
        if wrong := self._run("post-deploy", {}):
            self.out.warn(f"hooks/post-deploy {wrong}")

    def failed(self, cause: str, status: int) -> None:
        """Run `failed` with the one line that says why, and the exit code; that it fails itself is a warning."""
        if wrong := self._run("failed", {"CAUSE": cause, "STATUS": str(int(status))}):
            self.out.warn(f"hooks/failed {wrong}")

    def _run(self, name: str, more: Mapping[str, str]) -> str:
        """Run one to its end; what went wrong, "" when nothing did or there is no such hook."""
        path = self.root / DIRECTORY / name
        if self.skip or not path.is_file():
            return ""
        if not os.access(path, os.X_OK):
            self.out.warn(f"hooks/{name} is not run, it is not executable: chmod +x hooks/{name}")
            return ""
        self.out.step(f"hook {name}")
        variables = {f"INFRA_{key}": value.replace("\0", " ") for key, value in {**self.facts, **more}.items()}
        try:
            process = subprocess.Popen(
                [path],
                cwd=self.root,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to pass on, to it and to all it has started
            )
        except OSError as error:
            return f"cannot be run ({error.strerror}; does its first line name a program that is here?)"
        try:
            return self._follow(process)
        finally:
            _end(process)

    def _follow(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout
        splitter = LineSplitter(lambda line: self.out.info(f"    {line}"))
        ends = time.monotonic() + self.limit
        try:
            while True:
                over = process.poll() is not None
                if not self._read(process.stdout, splitter, 0 if over else _TICK) and over:
                    break  # what it left running in the background may hold the pipe open for ever
                if self.cancelled():
                    raise KeyboardInterrupt
                if time.monotonic() > ends:
                    return f"did not end within {self.limit:g} s and was stopped"
        finally:
            splitter.finish()
        return f"ended with status {process.returncode}" if process.returncode else ""

    @staticmethod
    def _read(pipe: IO[bytes], splitter: LineSplitter, seconds: float) -> bool:
        """Hand on what there is; whether there was anything."""
        if not select.select([pipe], [], [], seconds)[0]:
            return False
        data = os.read(pipe.fileno(), _CHUNK)
        if not data:
            time.sleep(seconds)  # closed: select would return at once, for ever
            return False
        splitter.feed(data)
        return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop it if it still runs, with all it has started; let go of its output."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    if process.stdout:
        process.stdout.close()
