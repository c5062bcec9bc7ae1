"""A plan with as much of one as carrying it out needs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def plan(**more: Any) -> Any:
    """A plan that has something to do and nothing against it, but for `more`."""
    values: dict[str, Any] = {
        "id": "aaaaaa-bbbbbb", "previous": "r1", "is_empty": False, "refused": [], "guards": [], "migration": None,
        "disk": {"need": 1 << 20, "free": 1 << 30, "after": 0}, "to_json": lambda: {"id": "aaaaaa-bbbbbb"},
    }  # fmt: skip
    return SimpleNamespace(**values | more)
