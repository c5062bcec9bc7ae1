"""Plain lines with the seconds they took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """One line, at once: whoever waits wants to know for what."""
    print(text, flush=True)


@contextmanager
def timed(text: str) -> Iterator[None]:
    """Say `text` when the block is through, with its seconds."""
    began = time.monotonic()
    yield
    say(f"{text} ({time.monotonic() - began:.1f} s)")
