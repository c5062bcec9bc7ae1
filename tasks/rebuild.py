"""`fab rebuild`."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task


@host_task(
    help={
        "from": "the remote to take everything from, one of BACKUP_REMOTES; needed when there are several",
        "yes": "do not ask",
        "wait": "seconds to wait when something else is running on the host; without it that is exit code 8",
        "json": "one JSON document at the end; progress goes to stderr",
    }
)
def rebuild(s: Session, from_: str = "", *, yes: bool = False, wait: int = 0, json: bool = False) -> Report:
    """From an empty server and a copy off the host to a running system: setup, release, certificates, data.

    The release that served when the newest configuration was backed up, with the data of the newest backups. DNS is not
    touched: it looks at the new server by its address, and visitors come when their names lead there. Timed.
    """
    from tasks.operations import rebuild as operation

    return operation.rebuild(s, from_, yes=yes, wait=wait)
