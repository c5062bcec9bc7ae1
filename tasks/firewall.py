"""`fab firewall.status` and `fab firewall.apply`."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task


@host_task(default=True, help={"json": "one JSON document"})
def status(s: Session, json: bool = False) -> Report:
    """Show every port that somebody answers on, whether it can be reached from outside, and why.

    Exit code 9 when a port is open that is neither SSH's nor the application's, or the rules are not in force.
    """
    from tasks.operations import firewall as operation

    return operation.status(s)


@host_task(
    help={
        "yes": "do not ask",
        "dry-run": "show what would be done and change nothing",
        "wait": "seconds to wait when something else is running on the host; without it that is exit code 8",
        "revert-after": "seconds until the host undoes a change that nobody has confirmed",
        "json": "one JSON document",
    }
)
def apply(
    s: Session, *, yes: bool = False, dry_run: bool = False, wait: int = 0, revert_after: int = 60, json: bool = False
) -> Report:
    """Bring the firewall to what the settings say: the part of `fab setup` that is about ports.

    Rules that are there are kept. The host undoes the change by itself unless a new connection works.
    """
    from tasks.operations import firewall as operation

    return operation.apply(s, yes=yes, dry_run=dry_run, wait=wait, revert_after=revert_after)
