"""`fab restore.postgres --at`: what a user may type, and what the host is told."""

from __future__ import annotations

import pytest

from tasks.core.errors import UsageError
from tasks.operations import restore


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("2026-11-22 10:00:00+01", "at:1795338000.000000"),
        ("2026-11-22T09:00:00Z", "at:1795338000.000000"),
        ("2026-11-22 09:00+00:00", "at:1795338000.000000"),
        (" 2026-11-22 10:00:00.123456+01 ", "at:1795338000.123456"),
    ],
)
def test_a_moment_with_its_zone_is_understood(typed: str, told: str) -> None:
    assert restore.moment(typed, "") == told


@pytest.mark.parametrize("typed", ["2026-11-22 10:00:00", "yesterday", "2026-13-01 00:00+00", "", "10:00+01"])
def test_what_is_ambiguous_or_no_time_is_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        restore.moment(typed, "")


def test_a_file_and_a_moment_are_not_taken_together() -> None:
    with pytest.raises(UsageError, match="not both"):
        restore.moment("2026-11-22 10:00:00+01", "latest")
