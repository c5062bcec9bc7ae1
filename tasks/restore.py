"""`fab restore.postgres`, `fab restore.redis` and `fab restore.undo`."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task

_WAIT = "seconds to wait when something else is running on the host; without it that is exit code 8"
_FILE = '"latest", an id from backup.list, a file here, or an absolute path on the host'
_YES = "do not ask"
_JSON = "one JSON document at the end; progress goes to stderr"


@host_task(
    help={
        "file": _FILE,
        "at": 'instead of a file: a moment with its offset from UTC, such as "2026-11-22 10:00:00+01"',
        "other-database": "also a dump of a database with another name",
        "yes": _YES,
        "wait": _WAIT,
        "json": _JSON,
    }
)
def postgres(
    s: Session, file: str = "", *, at: str = "", other_database: bool = False, yes: bool = False, wait: int = 0,
    json: bool = False,
) -> Report:  # fmt: skip
    """Replace the databases by those of a backup, or by any dump of pg_dump (plain, .gz, custom, directory, tar).

    Loaded beside the live ones and compared with what was counted when it was made, then exchanged by name: visitors
    get 503 for about half a second. When the application is not well then, the old ones come back by themselves.
    `fab restore.undo` brings them back for RESTORE_UNDO_HOURS. Asks for the database's name.
    With --at they become what they were at that moment (needs POINT_IN_TIME_DAYS).
    """
    from tasks.operations import restore as operation

    source = operation.moment(at, file) if at else file
    return operation.restore(s, "postgres", source, other=other_database, yes=yes, wait=wait)


@host_task(help={"file": _FILE, "yes": _YES, "wait": _WAIT, "json": _JSON})
def redis(s: Session, file: str = "", *, yes: bool = False, wait: int = 0, json: bool = False) -> Report:
    """Replace what is in Redis by a backup, or by any RDB file (.gz too).

    Tried in a server of its own first. Redis is away while it loads; what was there is kept for `fab restore.undo`.
    """
    from tasks.operations import restore as operation

    return operation.restore(s, "redis", file, other=False, yes=yes, wait=wait)


@host_task(help={"kind": "postgres or redis", "yes": _YES, "wait": _WAIT, "json": _JSON})
def undo(s: Session, kind: str = "postgres", *, yes: bool = False, wait: int = 0, json: bool = False) -> Report:
    """Bring back what the last restore replaced. Done again, it brings the restored data back."""
    from tasks.operations import restore as operation

    return operation.undo(s, kind, yes=yes, wait=wait)
