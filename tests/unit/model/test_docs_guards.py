"""The page of rules names every rule, as it is told to the user."""

from __future__ import annotations

from pathlib import Path

from tasks.model import guards

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "guards.md"


def test_the_page_lists_exactly_the_rules_there_are() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert rows == [f"| `{rule}` | {why} |" for rule, why in guards.RULES.items()]
