"""How far a long step has come: events a few times a second at most, from bytes done and bytes to do."""

from __future__ import annotations

import time
from pathlib import Path

from host.events import Step

_PACE = 0.5  # seconds between two events


class Progress:
    """Call `at(bytes)` as often as you like. `total` is in bytes too, 0 when nobody knows."""

    def __init__(self, step: Step, label: str, total: int) -> None:
        self._step, self._label, self._total = step, label, total
        self._told = time.monotonic()

    def at(self, done: int) -> None:
        """So many bytes are done."""
        now = time.monotonic()
        if now - self._told >= _PACE:
            self._told = now
            self._step.progress(self._label, done, self._total)

    def watch(self, folder: Path) -> None:
        """What lies in `folder` is what is done: for programs that do not tell."""
        if time.monotonic() - self._told >= _PACE:
            self.at(size(folder))


def size(folder: Path) -> int:
    """Bytes of the files in a directory and below; those that go meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue
    return total
