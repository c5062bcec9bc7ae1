"""What the user sees: prefixed lines that threads do not tear, colour only on a terminal, JSON alone on stdout."""

import os
import sys
import threading
from typing import TextIO

from tasks.core.errors import InfraError, UsageError
from tasks.core.progress import Progress

_COLOURS = {"step": "1", "warn": "33", "error": "31"}


class Console:
    """The two streams of this run and the lock all hosts share.

    Arguments: `stdout` and `stderr` default to the process's own, looked up at each use; `quiet_stdout` sends progress
    to stderr because stdout carries one JSON document.
    """

    def __init__(
        self, *, stdout: TextIO | None = None, stderr: TextIO | None = None, quiet_stdout: bool = False
    ) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self.quiet_stdout = quiet_stdout
        self.lock = threading.RLock()
        self._drawn: TextIO | None = None

    @property
    def stdout(self) -> TextIO:
        """Where results go."""
        return self._stdout or sys.stdout

    @property
    def stderr(self) -> TextIO:
        """Where warnings and errors go, and progress too while stdout is a document."""
        return self._stderr or sys.stderr

    @property
    def narration(self) -> TextIO:
        """Where progress goes."""
        return self.stderr if self.quiet_stdout else self.stdout

    def write(self, text: str, stream: TextIO, *, prefix: str = "", style: str = "") -> None:
        """Write whole lines at once. `style` is a key of the colours; it shows on a terminal without NO_COLOR only."""
        code = _COLOURS.get(style, "")
        before, after = (f"\033[{code}m", "\033[0m") if code and coloured(stream) else ("", "")
        lines = text.split("\n")
        body = "".join(f"{prefix}{before}{line}{after if line else ''}\n" for line in lines)
        with self.lock:
            self._erase()
            stream.write(body)
            stream.flush()

    def draw(self, text: str, stream: TextIO) -> None:
        """Show `text` on the terminal's current line until the next write erases it."""
        with self.lock:
            stream.write(f"\r\033[K{text}")
            stream.flush()
            self._drawn = stream

    def _erase(self) -> None:
        if self._drawn is not None:
            self._drawn.write("\r\033[K")
            self._drawn.flush()
            self._drawn = None


class Output:
    """One host's voice on the console. `name` prefixes every line as `[name] ` when several hosts speak."""

    def __init__(self, console: Console | None = None, name: str = "", *, assume_yes: bool = False) -> None:
        self.console = console or Console()
        self.prefix = f"[{name}] " if name else ""
        self.assume_yes = assume_yes

    def info(self, text: str) -> None:
        """Say something the user reads at leisure."""
        self.console.write(text, self.console.narration, prefix=self.prefix)

    def step(self, text: str) -> None:
        """Announce the next part of the work."""
        self.console.write(text, self.console.narration, prefix=self.prefix, style="step")

    def warn(self, text: str) -> None:
        """Say what the user should look at, on stderr."""
        self.console.write(f"warning: {text}", self.console.stderr, prefix=self.prefix, style="warn")

    def error(self, text: str) -> None:
        """Say what failed, on stderr."""
        self.console.write(text, self.console.stderr, prefix=self.prefix, style="error")

    def raw(self, text: str) -> None:
        """Write the host's own words: text that may end with a newline, uncoloured."""
        self.console.write(text.removesuffix("\n"), self.console.narration, prefix=self.prefix)

    def report(self, error: InfraError) -> None:
        """Print the one line of an error."""
        with_name = error.one_line()
        own = f"[{error.host}] " if error.host else ""
        if self.prefix and own == self.prefix:
            with_name = with_name.replace(own, "", 1)
        self.error(with_name)

    def progress(self, label: str, total: int | None = None) -> Progress:
        """A transfer's progress: a line redrawn on a terminal, a plain line now and then elsewhere. Bytes."""
        return Progress(self.console, self.prefix, label, total)

    def confirm(self, question: str, *, word: str = "") -> bool:
        """Ask on the terminal; True for y or yes, and without asking when the task was given --yes. With `word`, that
        has to be typed instead.

        Raises UsageError when stdin is no terminal: a script answers with --yes, never by accident.
        """
        if self.assume_yes:
            return True
        if not sys.stdin or not sys.stdin.isatty():
            raise UsageError(f"this needs an answer and stdin is not a terminal: {question}", hint="repeat with --yes")
        with self.console.lock:
            wanted = f'type "{word}" for yes' if word else "y/N"
            self.console.stderr.write(f"{self.prefix}{question} [{wanted}] ")
            self.console.stderr.flush()
            answer = sys.stdin.readline()
        return answer.strip() == word if word else answer.strip().lower() in {"y", "yes"}


def coloured(stream: TextIO) -> bool:
    """Whether escapes are welcome: a terminal that is not dumb, and no NO_COLOR in the environment."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
