"""Visitors: at least a hundred requests a second over TLS, each of which is answered well or written down as failed.

Nothing is ever sent again. A kept connection that the server closes while no request is on it is no failure (HTTP lets
it, and nobody has asked anything), but it is counted; one that is closed with a request on its way is a failure,
however little of it had been sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.e2e.http11 import Connection, HttpError, Site

__all__ = ["Failure", "Load", "Site"]

# one round of what visitors ask for; POST is there often, because it is what must not happen twice
_MIX = ("health", "version", "visit", "version", "page", "health", "visit", "version", "health", "visit")
_LASTING, _FRESH, _SPORADIC = 12, 4, 4  # lanes: a connection kept for good, one for each request, one that idles long
_PAUSES = (0.7, 5.2, 2.1, 9.5, 4.6, 6.1)  # seconds between the requests of a sporadic visitor
_START = 15.0  # seconds for the first requests to be answered


@dataclass(frozen=True)
class Failure:
    """One request that was not answered as it should be."""

    at: float
    kind: str
    error: str
    reused: bool
    idle: float

    def __str__(self) -> str:
        when = time.strftime("%H:%M:%S", time.localtime(self.at)) + f".{int(self.at % 1 * 1000):03d}"
        way = f"a connection kept for {self.idle:.1f} s" if self.reused else "a new connection"
        return f"{when} {self.kind}: {self.error} (on {way})"


@dataclass
class Load:
    """Visitors of `site`, from `with` on until the end of the block; then every running request has been waited for.

    Attributes:
        rate: requests a second, besides the slow ones.
        slow: how many slow requests are always running.
        slow_seconds: how long each of them takes.
        pages: whether GET / is among them (it needs the frontend).
        sent: requests begun, by kind.
        answered: requests answered well, by kind.
        failures: the others.
        posted: the path of each POST that was answered well; each path was sent once.
        announced, closed_idle: connections the server ended, having said so with its last answer, or while idle.
        versions: {version: [answers, first, last]} by X-App-Version of the backend's answers, times in epoch seconds.
        lag: the longest a request was begun after its time, in seconds: what the generator itself was late.
    """

    site: Site
    rate: float = 120.0
    slow: int = 3
    slow_seconds: float = 5.0
    pages: bool = True
    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)
    announced: int = 0
    closed_idle: int = 0
    connections: int = 0
    versions: dict[str, list[float]] = field(default_factory=dict)
    slowest: float = 0.0
    lag: float = 0.0
    began: float = 0.0
    seconds: float = 0.0
    run: str = field(default_factory=lambda: f"/load/{uuid.uuid4().hex[:12]}")

    def __enter__(self) -> Load:
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._tls = self.site.tls()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._everybody()), daemon=True)
        self.began = time.monotonic()
        self._thread.start()
        while sum(self.answered.values()) < 20 and not self.failures and time.monotonic() - self.began < _START:
            time.sleep(0.05)
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin no more requests, and wait for those that run."""
        if not self._stop.is_set():
            self.seconds = time.monotonic() - self.began
            self._stop.set()
            self._thread.join(60)
            assert not self._thread.is_alive(), "the load does not end"

    @property
    def total(self) -> int:
        """Requests begun so far."""
        return sum(self.sent.values())

    @property
    def achieved(self) -> float:
        """Requests a second so far, the slow ones among them."""
        return self.total / max(self.seconds or time.monotonic() - self.began, 0.001)

    def describe(self) -> str:
        """What happened, in a few lines; the first failures in full."""
        lines = [
            f"{self.total} requests in {self.seconds or time.monotonic() - self.began:.1f} s ({self.achieved:.0f}/s): "
            f"{len(self.failures)} failed, {self.sent['visit']} POSTs, {self.sent['slow']} of {self.slow_seconds:g} s, "
            f"slowest other {self.slowest:.2f} s",
            f"{self.connections} connections; ended by the server: {self.announced} announced, "
            f"{self.closed_idle} while idle; the generator was late by {self.lag:.2f} s at most",
            "versions: " + ", ".join(f"{name} {int(seen[0])}x" for name, seen in sorted(self.versions.items())),
        ]
        return "\n".join([*lines, *(f"  {failure}" for failure in self.failures[:15])])

    async def _everybody(self) -> None:
        often = _LASTING + _FRESH
        pace = often / max(self.rate - _SPORADIC * len(_PAUSES) / sum(_PAUSES), 1.0)
        lanes = [self._lane(number, itertools.repeat(pace), fresh=number >= _LASTING) for number in range(often)]
        lanes += [self._lane(number, itertools.cycle(_PAUSES)) for number in range(_SPORADIC)]
        lanes += [self._slowly(number) for number in range(self.slow)]
        await asyncio.gather(*lanes)

    async def _lane(self, number: int, pauses: Iterator[float], *, fresh: bool = False) -> None:
        """One visitor, who asks for this and that at the times of `pauses`."""
        mix = itertools.cycle(kind for kind in _MIX if self.pages or kind != "page")
        for _ in range(number % len(_MIX)):
            next(mix)
        connection = Connection(self.site, self._tls)
        due = time.monotonic() + number * 0.01
        try:
            for pause in pauses:
                if not await self._wait(due):
                    return
                self.lag = max(self.lag, time.monotonic() - due)
                await self._ask(connection, next(mix))
                if fresh:
                    await connection.close()
                # late is made up for, but not in one burst
                due = max(due + pause, time.monotonic() - 1.0)
        finally:
            await connection.close()

    async def _slowly(self, number: int) -> None:
        """One visitor whose requests take long, every other one on a connection of its own."""
        connection = Connection(self.site, self._tls)
        if not await self._wait(time.monotonic() + number * self.slow_seconds / max(self.slow, 1)):
            return
        try:
            for turn in itertools.count():
                if self._stop.is_set():
                    return
                await self._ask(connection, "slow")
                if turn % 2:
                    await connection.close()
        finally:
            await connection.close()

    async def _wait(self, due: float) -> bool:
        """Sleep until `due`; False when the end came first."""
        while (left := due - time.monotonic()) > 0:
            if self._stop.is_set():
                return False
            await asyncio.sleep(min(left, 0.2))
        return not self._stop.is_set()

    async def _ask(self, connection: Connection, kind: str) -> None:
        began, state = time.monotonic(), connection.freshen()
        self.closed_idle += state == "closed"
        reused, idle = connection.open, connection.idle
        self.connections += not reused
        self.sent[kind] += 1
        try:
            await self._one(connection, kind)
        except (HttpError, OSError, TimeoutError, ValueError, KeyError) as error:
            text = str(error) or type(error).__name__
            self.failures.append(Failure(time.time(), kind, text, reused, idle))
            await connection.close()
            if not reused:
                await asyncio.sleep(0.2)  # who is refused does not come back at once
            return
        self.answered[kind] += 1
        if kind != "slow":
            self.slowest = max(self.slowest, time.monotonic() - began)
        if connection.ends:
            self.announced += 1
            await connection.close()

    async def _one(self, connection: Connection, kind: str) -> None:
        """Send one request and look at its answer; what is not as it should be is raised."""
        method, target, wanted = "GET", "", 200
        if kind == "visit":
            path = f"{self.run}/{next(self._numbers)}"
            method, target, wanted = "POST", f"/api/visits?path={path}", 201
        elif kind == "slow":
            target = f"/api/slow?seconds={self.slow_seconds:g}"
        else:
            target = {"health": "/health", "version": "/api/version", "page": "/"}[kind]
        answer = await connection.ask(method, target, patience=15.0 + (self.slow_seconds if kind == "slow" else 0))
        if answer.status != wanted:
            raise HttpError(f"{method} {target} was answered {answer.status}, not {wanted}")
        if kind == "page":
            if b"frontend-version" not in answer.body:
                raise HttpError("the page is not whole")
            if b'<p id="problem">' in answer.body:
                raise HttpError("the page says that the frontend did not reach the API")
            return
        document = json.loads(answer.body)
        if kind == "visit":
            self.posted.append(path)
        elif kind == "slow" and document["slept"] != self.slow_seconds:
            raise HttpError(f"slept {document['slept']} s")
        seen = self.versions.setdefault(answer.headers.get("x-app-version", "none"), [0, time.time(), 0.0])
        seen[0], seen[2] = seen[0] + 1, time.time()


@contextlib.contextmanager
def undisturbed(site: Site, rate: float = 120.0, slow: int = 3) -> Iterator[Load]:
    """Load all through the block, and not one failed request; says what it was."""
    with Load(site, rate=rate, slow=slow) as load:
        yield load
    print(load.describe())
    assert load.failures == [], load.describe()
