"""`fab plan` and `fab deploy`."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task


@host_task(help={"json": "one JSON document"})
def plan(s: Session, json: bool = False) -> Report:
    """Show what `fab deploy` would do, and why. Changes nothing.

    Files with their differences (secrets by name only), containers that would be created, recreated, restarted or
    reloaded, images, the certificate. Exit code 0 whether or not there is something to do.
    """
    from tasks.operations import deploy as operation

    return operation.plan(s)


@host_task(help={"yes": "do not ask", "json": "one JSON document at the end; progress goes to stderr"})
def deploy(s: Session, yes: bool = False, json: bool = False) -> Report:
    """Bring the host to what the settings and files/ describe, and verify it.

    Shows the plan and asks, pushes what differs, and has the host apply it: finished there even when the connection
    drops, with the old release serving on when the new one does not become healthy. A second deploy has nothing to do.
    """
    from tasks.operations import deploy as operation

    return operation.deploy(s, yes=yes)
