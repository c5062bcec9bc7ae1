"""Being told to stop: SIGTERM and SIGINT become a Failure where that is safe, and wait where it is not."""

from __future__ import annotations

import select
import signal
import sys
import threading
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


def when_deserted() -> None:
    """From now on it is a request to stop, too, when nobody is left who reads what this program says: for a command
    that runs in no unit and is of use to its caller alone."""
    listen()

    def look() -> None:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # an error, or the other end gone, is told unasked
        poll.poll()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    threading.Thread(target=look, daemon=True).start()


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
