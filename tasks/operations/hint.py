"""What to type next, for the ends of error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.core.session import Session


def fab(s: Session, command: str) -> str:
    """The command line of a task for this host and, where it has a name, this environment."""
    environment = s.target.environment
    return f"fab {command} -H {s.name}" + (f" --env {environment}" if environment else "")
