"""Progress of a transfer: bytes, rate and time left."""

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.core.output import Console

_REDRAW = 0.1  # seconds between two drawings on a terminal
_PLAIN = 10.0  # seconds between two lines where there is no terminal


class Progress:
    """Call `advance(n)` with each chunk's bytes, or pass it where a `Callable[[int], None]` is wanted."""

    def __init__(self, console: "Console", prefix: str, label: str, total: int | None) -> None:
        self._console = console
        self._prefix = prefix
        self._label = label
        self._total = total
        self.done = 0
        self._begun = self._shown = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()

    def __call__(self, count: int) -> None:
        self.advance(count)

    def advance(self, count: int) -> None:
        """Note `count` more bytes and show it when the last time is long enough ago."""
        self.done += count
        now = time.monotonic()
        stream = self._console.narration
        terminal = stream.isatty() and not self._prefix
        if now - self._shown < (_REDRAW if terminal else _PLAIN):
            return
        self._shown = now
        text = describe(self._label, self.done, self._total, now - self._begun)
        if terminal:
            self._console.draw(text, stream)
        else:
            self._console.write(text, stream, prefix=self._prefix)

    def finish(self) -> None:
        """Leave one line that says how much it was and how fast."""
        took = time.monotonic() - self._begun
        text = describe(self._label, self.done, None, took)
        self._console.write(text, self._console.narration, prefix=self._prefix)


def describe(label: str, done: int, total: int | None, seconds: float) -> str:
    """`label 12.0 MiB of 48.0 MiB (25%) 3.1 MiB/s 0:12 left`; what cannot be known is left out."""
    rate = done / seconds if seconds > 0 else 0.0
    parts = [label, size(done)]
    if total:
        parts.append(f"of {size(total)} ({min(100, done * 100 // total)}%)")
    if rate > 0:
        parts.append(f"{size(int(rate))}/s")
        if total and total > done:
            left = int((total - done) / rate)
            parts.append(f"{left // 60}:{left % 60:02} left")
    return " ".join(parts)


def size(count: int) -> str:
    """Bytes for people, in binary units with one decimal: `512 B`, `1.5 KiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{int(value)} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
