"""What the scanners said, and the page it is kept on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.audit import current

HEAD = """# Scores

Written by `make audit`, which fails when a target is missed. Every scanner looks at a hardened host of the lab
(`fab setup --harden`) with the demo application (`fab deploy`), or at the configuration rendered for it, offline.
"""


@dataclass(frozen=True)
class Score:
    """One judgement.

    Attributes:
        tool: the scanner's name, with its version.
        what: what it looked at.
        result: what it said, in its own measure.
        target: what was wanted, in the same.
        deviations: what it marked and is meant, each with the reason.
    """

    tool: str
    what: str
    result: str
    target: str
    deviations: Sequence[str] = ()


@dataclass
class Scores:
    """All judgements of a run, in the order they were made."""

    made: list[Score] = field(default_factory=list)

    def add(
        self, tool: str, version: str, what: str, *, result: str, target: str, deviations: Sequence[str] = ()
    ) -> None:
        """Note a judgement. To be called before it is asserted, so that a missed target is in the table as well."""
        self.made.append(Score(f"{tool} {version}".strip(), what, result, target, tuple(deviations)))

    def table(self) -> list[str]:
        """The rows, as Markdown."""
        head = ["| scanner | looked at | result | target |", "|---|---|---|---|"]
        return head + [f"| {s.tool} | {s.what} | {s.result} | {s.target} |" for s in self.made]

    def page(self) -> str:
        """docs/reference/scores.md, whole."""
        lines = [HEAD, *self.table(), "", "## Marked, and meant"]
        for score in self.made:
            if score.deviations:
                lines += ["", f"{score.tool}, {score.what}:", "", *(f"* {text}" for text in score.deviations)]
        return "\n".join([*lines, "", current.line(current.digest()), ""])
