"""`fab audit`."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task


@host_task(help={"lines": "how many, the newest", "json": "one JSON document"})
def audit(s: Session, lines: int = 20, json: bool = False) -> Report:
    """Show what was done to the host: what, when, by whom, from where, and with what result. Newest last."""
    from tasks.operations import audit as operation

    return operation.audit(s, lines)
