"""`fab setup`."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task


@host_task(
    help={
        "yes": "Do it without asking.",
        "dry-run": "Show what would be done and change nothing.",
        "harden": "Also close root's and passwords' logins, restrict sshd's algorithms, tighten the kernel. Stays so.",
        "wait": "Seconds to wait when something else is running on the host; without it that is exit code 8.",
        "revert-after": "Seconds until the host undoes a change of firewall or sshd that nobody has confirmed.",
        "json": "Print the plan and the outcome as one JSON document.",
    }
)
def setup(
    s: Session,
    *,
    yes: bool = False,
    dry_run: bool = False,
    harden: bool = False,
    wait: int = 0,
    revert_after: int = 60,
    json: bool = False,
) -> Report:
    """Make a bare server ready: packages, Docker, deploy user, directories, firewall. Again: nothing to do."""
    from tasks.operations import setup as operation

    return operation.setup(s, yes=yes, dry_run=dry_run, wait=wait, harden=harden, revert_after=revert_after)
