"""Which backups are kept, and why. Pure: the same list and time give the same answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from host.backup.policy import Keep

_DAY = 86400.0  # seconds


@dataclass(frozen=True)
class Item:
    """A backup as retention sees it: `taken` is Unix time, `good` whether it is known to be whole."""

    id: str
    taken: float
    good: bool


def decide(items: Iterable[Item], keep: Keep, now: float) -> dict[str, str | None]:
    """Why each is kept; None for those that may go.

    Ages count from the newest good one, not from now: when backups have stopped, or the clock is wrong, none is too
    old. The last `keep.last` good ones stay whatever their age, and nothing goes as long as there is no good one.
    A bad one goes when a newer good one is there and its days are over; it never takes a good one's place.
    """
    ordered = sorted(items, key=lambda item: (item.taken, item.id))
    good = [item for item in ordered if item.good]
    if not good:
        return {item.id: "none of them is known to be good" for item in ordered}
    reference = min(good[-1].taken, now) if any(item.taken <= now for item in good) else good[-1].taken
    reasons: dict[str, str | None] = {item.id: None for item in ordered}
    for item in good[-max(1, keep.last) :]:
        reasons[item.id] = f"one of the last {max(1, keep.last)}"
    for item in ordered:
        if item.taken > reference:
            reasons[item.id] = reasons[item.id] or "newer than the last good one"
        elif reference - item.taken <= keep.days * _DAY:
            reasons[item.id] = reasons[item.id] or f"not older than {keep.days} days"
    for name, number, period in (("week", keep.weeks, _week), ("month", keep.months, _month)):
        for item in _newest_of_each(good, number, period):
            reasons[item.id] = reasons[item.id] or f"the last one of its {name}"
    return reasons


def _newest_of_each(good: Sequence[Item], number: int, period: Callable[[float], tuple[int, int]]) -> list[Item]:
    """The newest good one of each of the last `number` periods that have one."""
    last: dict[tuple[int, int], Item] = {}
    for item in good:
        last[period(item.taken)] = item
    return [last[key] for key in sorted(last, reverse=True)[:number]]


def _week(taken: float) -> tuple[int, int]:
    there = time.gmtime(taken)
    return int(time.strftime("%G", there)), int(time.strftime("%V", there))


def _month(taken: float) -> tuple[int, int]:
    there = time.gmtime(taken)
    return there.tm_year, there.tm_mon
