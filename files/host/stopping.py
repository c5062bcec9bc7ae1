"""Being told to stop: SIGTERM and SIGINT become a Failure where that is safe, and wait where it is not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from host.errors import Terminated

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_deferred = 0
_raised = False


def _handler(number: int, _frame: FrameType | None) -> None:
    global _raised  # noqa: PLW0603  (signal handlers are global to the process)
    if _deferred or _raised:
        return  # once is enough: a second signal must not cut off the way back
    _raised = True
    raise Terminated(signal.Signals(number).name)


def listen() -> None:
    """From now on a request to stop raises Terminated in the main thread."""
    for number in _NUMBERS:
        signal.signal(number, _handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Inside the block requests to stop are dropped: for the few moments that must not be cut in two, and for the way
    back. After either the work is done or undone, and the program ends anyway.
    """
    global _deferred  # noqa: PLW0603
    _deferred += 1
    try:
        yield
    finally:
        _deferred -= 1
