"""One change of the lab at a time: two terminals that type `fab lab.up` must not make the same things at once."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from .names import CACHE
from .say import say

FILE = "lock"


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lab's lock; wait, saying so, while another process has it. The kernel releases it with the process."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is changing the lab: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
