"""What was measured against what: pure, nothing is run here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

GROWTH = 8.0  # MB that a peak may differ between little and much data: what an allocator does, no copy of anything


@dataclass
class Comparison:
    """Seconds of ours and of a reference, one of each a round, measured in turn.

    `most` is how many times as long as the reference ours may take; below 1 it has to be faster.
    """

    what: str
    reference: str
    most: float
    pairs: list[tuple[float, float]] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Ours as a multiple of the reference, for each round."""
        return [ours / theirs for ours, theirs in self.pairs]

    @property
    def met(self) -> bool:
        """Is the median of the ratios within the target? Not measured is not met."""
        return bool(self.pairs) and statistics.median(self.ratios) <= self.most

    @property
    def latest(self) -> str:
        """The round before, for those who do not want to wait for the table."""
        return f"{self.what} {self.pairs[-1][0]:.2f} s, {self.reference} {self.pairs[-1][1]:.2f} s"

    def row(self) -> list[str]:
        """Its line of the table."""
        ours, theirs = ([pair[side] for pair in self.pairs] for side in (0, 1))
        return [
            self.what, _seconds(ours), f"{self.reference}: {_seconds(theirs)}",
            ", ".join(_ratio(each, self.most) for each in self.ratios),
            _ratio(statistics.median(self.ratios), self.most) if self.pairs else "-",
            f"at least {1 / self.most:g} times as fast" if self.most < 1 else f"at most {self.most:g} times as long",
        ]  # fmt: skip


@dataclass
class Limit:
    """A figure that has to stay below `limit` in every round."""

    what: str
    limit: float
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Did it stay below? Not measured is not met."""
        return bool(self.values) and max(self.values) < self.limit

    @property
    def latest(self) -> str:
        """That of the round before."""
        return f"{self.what} {self.values[-1]:.2f} {self.unit}"

    def row(self) -> list[str]:
        """Its line of the table."""
        shown = ", ".join(f"{value:.2f}" for value in self.values)
        middle = f"{statistics.median(self.values):.2f} {self.unit}" if self.values else "-"
        return [self.what, f"{shown} {self.unit}", "", "", middle, f"below {self.limit:g} {self.unit}"]


@dataclass
class Peak:
    """The peak memory of one of our processes, in MB, with little data and with much."""

    what: str
    limit: float
    little: float
    much: float

    @property
    def met(self) -> bool:
        """Below the limit, and the same whatever the size? 0 is what nobody saw."""
        seen = min(self.little, self.much) > 0
        return seen and max(self.little, self.much) < self.limit and self.much - self.little < GROWTH

    def row(self) -> list[str]:
        """Its line of the table."""
        return [
            f"peak memory: {self.what}", f"{self.much:.1f} MB", f"the same with little data: {self.little:.1f} MB",
            "", f"{self.much - self.little:+.1f} MB", f"below {self.limit:g} MB, growth below {GROWTH:g} MB",
        ]  # fmt: skip


def _seconds(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} s" if values else "-"


def _ratio(ratio: float, most: float) -> str:
    return f"{1 / ratio:.2f}x as fast" if most < 1 else f"{ratio:.2f}"


HEAD = ("what", "ours (median)", "reference (median)", "ratio of each round", "median", "target", "")


def table(rows: Sequence[Comparison | Limit | Peak]) -> str:
    """All of them in Markdown, each with its verdict."""
    lines = [HEAD, ("---",) * len(HEAD), *((*each.row(), "met" if each.met else "**MISSED**") for each in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
