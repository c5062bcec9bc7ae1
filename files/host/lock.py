"""One lock for everything that changes the host. It dies with its holder, and says who that is."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host.errors import Failure, Status

_RETRY = 0.1  # seconds between two attempts
_PEEK = 0.5  # seconds always granted: somebody asking `holder` has the lock shared for an instant


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def busy(app: str, holder: dict[str, Any]) -> Failure:
    """The failure that names who holds the lock, what for and since when."""
    since = float(holder.get("since") or time.time())
    started = time.strftime("%H:%M:%S UTC", time.gmtime(since))
    return Failure(
        f"busy: {holder.get('what', 'another command')} by {holder.get('who', 'somebody')} since {started} "
        f"({_ago(max(0.0, time.time() - since))})",
        hint=f"wait for it to end, or watch it: sudo {app} attach",
        status=Status.LOCKED,
        data={"holder": holder},
    )


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock now, or None when it is free."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            value = json.loads(os.pread(handle, 65536, 0))
        except ValueError:  # taken this instant, not yet signed
            return {"who": "somebody", "what": "another command", "since": time.time(), "pid": None, "unit": None}
        return value if isinstance(value, dict) else {}
    else:
        return None
    finally:
        os.close(handle)


@contextmanager
def held(
    path: Path, app: str, info: dict[str, Any], wait: float = 0, on_wait: Callable[[Failure], None] | None = None
) -> Iterator[None]:
    """Hold the lock inside the block, waiting at most `wait` seconds for it.

    `info` is what others are told ({"who", "what", "unit", ...}; pid and since are added). Raises Failure (LOCKED).
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Never unlinked: two processes locking two files of one name would both "have" it.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(handle, path, app, wait, on_wait)
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({**info, "pid": os.getpid(), "since": time.time()}).encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, app: str, wait: float, on_wait: Callable[[Failure], None] | None) -> None:
    ends = time.monotonic() + max(wait, _PEEK)
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        if time.monotonic() >= ends:
            raise busy(app, holder(path) or {})
        if on_wait and not told and (now := holder(path)):
            on_wait(busy(app, now))
            told = True
        time.sleep(_RETRY)


def wait_free(path: Path, app: str, wait: float, on_wait: Callable[[Failure], None] | None = None) -> None:
    """Return when nobody holds the lock. Raises Failure (LOCKED) when that takes longer than `wait` seconds."""
    ends = time.monotonic() + wait
    told = False
    while now := holder(path):
        if time.monotonic() >= ends:
            raise busy(app, now)
        if on_wait and not told:
            on_wait(busy(app, now))
            told = True
        time.sleep(_RETRY)
