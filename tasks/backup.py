"""`fab backup` and what belongs to it."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task

_WAIT = "seconds to wait when something else is running on the host; without it that is exit code 8"
_JSON = "one JSON document at the end; progress goes to stderr"
_HELP = {"wait": _WAIT, "json": _JSON}


@host_task(default=True, name="all", help=_HELP)
def everything(s: Session, *, wait: int = 0, json: bool = False) -> Report:
    """Back up PostgreSQL, Redis and the configuration now, as the server does every night (BACKUP_TIME).

    A backup counts only when it was read back, and appears whole or not at all. Those whose time is up are dropped.
    """
    from tasks.operations import backup as operation

    return operation.make(s, "all", wait=wait)


@host_task(help=_HELP)
def postgres(s: Session, *, wait: int = 0, json: bool = False) -> Report:
    """Back up every database of the application, with its roles; rows counted in the very snapshot that is dumped."""
    from tasks.operations import backup as operation

    return operation.make(s, "postgres", wait=wait)


@host_task(help=_HELP)
def redis(s: Session, *, wait: int = 0, json: bool = False) -> Report:
    """Back up Redis: the state of one moment, checked by redis-check-rdb."""
    from tasks.operations import backup as operation

    return operation.make(s, "redis", wait=wait)


@host_task(help=_HELP)
def config(s: Session, *, wait: int = 0, json: bool = False) -> Report:
    """Back up the release that serves with its environment, the certificates and their account, Grafana's database."""
    from tasks.operations import backup as operation

    return operation.make(s, "config", wait=wait)


@host_task(help=_HELP)
def base(s: Session, *, wait: int = 0, json: bool = False) -> Report:
    """Copy PostgreSQL's files as they are: where `fab restore.postgres --at` begins. Needs POINT_IN_TIME_DAYS."""
    from tasks.operations import backup as operation

    return operation.make(s, "base", wait=wait)


@host_task(name="list", help={"json": "one JSON document"})
def listing(s: Session, json: bool = False) -> Report:
    """Show every backup: age, size, what it holds, whether it was read back and restored in a drill, why it is kept."""
    from tasks.operations import backup as operation

    return operation.listing(s)


@host_task(
    help={
        "kind": "postgres, redis, config, base or all",
        "wait": _WAIT,
        "json": _JSON,
    }
)
def drill(s: Session, kind: str = "all", *, wait: int = 0, json: bool = False) -> Report:
    """Restore the newest backups into throwaway servers without network, and compare what is in them; code 9 if not.

    The server does that itself every Sunday (DRILL_TIME). What serves is not touched.
    """
    from tasks.operations import backup as operation

    return operation.drill(s, kind, wait=wait)


@host_task(help={"dry-run": "only say which", "json": "one JSON document"})
def prune(s: Session, *, dry_run: bool = False, json: bool = False) -> Report:
    """Drop the backups whose time is up. The last good ones (BACKUP_KEEP_LAST) stay, however old."""
    from tasks.operations import backup as operation

    return operation.prune(s, rehearsal=dry_run)


@host_task(
    help={
        "kind": "postgres, redis or config",
        "id": 'from backup.list, or "latest"',
        "to": "directory; default backups/<host>",
        "json": _JSON,
    }
)
def pull(s: Session, kind: str = "postgres", id: str = "latest", to: str = "", *, json: bool = False) -> Report:
    """Fetch a backup to this machine. Goes on where an earlier attempt broke off; every checksum is compared."""
    from tasks.operations import backup as operation

    return operation.pull(s, kind, id, to)


@host_task(name="init-remote", help={"json": "one JSON document"})
def init_remote(s: Session, *, json: bool = False) -> Report:
    """Make the repositories of BACKUP_REMOTES and let BACKUP_RECOVERY_PASSWORD open them too. Again is harmless.

    For SFTP it first shows the public key that the server there has to let in.
    """
    from tasks.operations import copies as operation

    return operation.initialise(s)


@host_task(name="rehearse-keys", help={"json": "one JSON document"})
def rehearse_keys(s: Session, *, json: bool = False) -> Report:
    """Open the newest copy on every remote with the password that is not on the server; code 9 if one does not open."""
    from tasks.operations import copies as operation

    return operation.rehearse(s)


@host_task(help={"json": "one JSON document"})
def copies(s: Session, *, json: bool = False) -> Report:
    """Ask every remote which backups it has; code 9 when one does not answer."""
    from tasks.operations import copies as operation

    return operation.listing(s)


@host_task(
    help={
        "kind": "postgres, redis or config",
        "id": 'from backup.copies, or "latest"',
        "remote": "one of BACKUP_REMOTES; the first without it",
        "wait": _WAIT,
        "json": _JSON,
    }
)
def retrieve(
    s: Session, kind: str = "postgres", id: str = "latest", remote: str = "", *, wait: int = 0, json: bool = False
) -> Report:
    """Fetch a copy from a remote into the backups on the server, to be restored from there."""
    from tasks.operations import copies as operation

    return operation.retrieve(s, kind, id, remote, wait=wait)


@host_task(help={"json": "one JSON document"})
def report(s: Session, *, json: bool = False) -> Report:
    """Say what could be lost (RPO) and how long a restore takes (RTO), measured, for the host and every remote."""
    from tasks.operations import copies as operation

    return operation.report(s)
