"""`fab maintenance.on` and `fab maintenance.off`."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task


@host_task(help={"message": "what visitors read; default a general text", "json": "one JSON document"})
def on(s: Session, message: str = "", json: bool = False) -> Report:
    """Close the site for visitors: 503 with Retry-After, and a page with your message.

    /health, our own checks and MAINTENANCE_ALLOW pass. Deploys go on as ever. Again: another message.
    """
    from tasks.operations import maintenance as operation

    return operation.close(s, message)


@host_task(help={"json": "one JSON document"})
def off(s: Session, json: bool = False) -> Report:
    """Open the site again."""
    from tasks.operations import maintenance as operation

    return operation.open_again(s)
