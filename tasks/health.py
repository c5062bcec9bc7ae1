"""`fab health`."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task


@host_task(help={"json": "one JSON document"})
def health(s: Session, json: bool = False) -> Report:
    """Check the site from outside and the host from inside; exit code 9 when ill.

    Outside, as a visitor: the redirect to HTTPS, the frontend, /health, /health/deep, that /metrics is not public, the
    Grafana sub-domain, the certificate. Inside: containers, restarts, disk, memory, clock, units, files changed by
    hand.
    """
    from tasks.operations import health as operation

    return operation.health(s)
