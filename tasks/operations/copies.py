"""Copies of backups away from the host: the repositories made, their keys tried, copies listed and brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core import settings
from tasks.core.command import Secret
from tasks.core.errors import ExitStatus, Refused
from tasks.core.task import Report
from tasks.model import backup as model
from tasks.operations import backup, hint, hostprogram

if TYPE_CHECKING:
    from tasks.core.session import Session

_REMOTES = 1800.0  # seconds: each remote that does not answer is waited for


def initialise(s: Session) -> Report:
    """Have the host make the repositories, and both passwords open them.

    Raises Refused when the settings lack what it needs, HostFailed when a remote cannot be used.
    """
    app, recovery = _needed(s)
    if any(url.startswith("sftp:") for url in settings.load(s.settings_file).backup_remotes):
        key = hostprogram.ask(s, app, "backup-key")["public_key"]
        s.out.info(f"the key {s.name} shows to SFTP servers, to be let in there: {key}")
    told = hostprogram.ask(
        s, app, "init-remote", question={"recovery": recovery.reveal()}, secrets=[recovery], seconds=_REMOTES
    )
    lines = [f"  {row['remote']}: {_STATE[row['state']]}; both passwords open it" for row in told["remotes"]]
    return Report(told, "\n".join([*lines, f"{s.name}: the next backup is copied there: {hint.fab(s, 'backup')}"]))


_STATE = {"made": "made", "there": "was there already"}


def rehearse(s: Session) -> Report:
    """Have the newest copy on every remote opened with the recovery password alone. Code 9 when one does not open."""
    app, recovery = _needed(s)
    told = hostprogram.ask(
        s, app, "rehearse-keys", question={"recovery": recovery.reveal()}, secrets=[recovery], seconds=_REMOTES
    )
    lines = [
        f"  {row['remote']}: {row['kind']} {row['id']} opens, {row['seconds']} s" if row["ok"]
        else f"  {row['remote']}: DOES NOT OPEN: {row['cause']}"
        for row in told["remotes"]
    ]  # fmt: skip
    failed = sum(not row["ok"] for row in told["remotes"])
    end = f"{failed} of {len(lines)} do not open" if failed else "the recovery password opens the newest copies"
    status = ExitStatus.UNHEALTHY if failed else ExitStatus.OK
    return Report(told, "\n".join([*lines, f"{s.name}: {end}"]), status)


def listing(s: Session) -> Report:
    """Have the host ask every remote what it has. Code 9 when one does not answer."""
    told = hostprogram.ask(s, settings.load(s.settings_file).app_name, "copies", seconds=_REMOTES)
    failed = any(row["cause"] for row in told["remotes"])
    return Report(told, model.copies(told["remotes"]), ExitStatus.UNHEALTHY if failed else ExitStatus.OK)


def retrieve(s: Session, kind: str, name: str, remote: str, *, wait: float) -> Report:
    """Have the host fetch a copy into its backups. Raises Refused when it is there already, or nowhere."""
    words = ["retrieve", kind, name, *(["--remote", remote] if remote else [])]
    done = backup.follow(s, words, wait)
    restore = f"; restore it with: {hint.fab(s, f'restore.{kind}')} --file {done['id']}" if kind != "config" else ""
    return Report(done, f"{s.name}: {done['kind']} {done['id']} is on the host, every checksum right{restore}")


def report(s: Session) -> Report:
    """Work out from the host's backups how much could be lost and how long it would take to be back."""
    told = hostprogram.ask(s, settings.load(s.settings_file).app_name, "backups")
    rows = model.objectives(told["backups"], told["now"], told.get("point_in_time"))
    return Report({"objectives": rows}, model.describe_objectives(rows))


def _needed(s: Session) -> tuple[str, Secret]:
    found = settings.load(s.settings_file)
    if not found.backup_remotes:
        raise Refused("BACKUP_REMOTES is empty: no backup leaves the host", host=s.name, hint="docs/how-to/back-up.md")
    if found.backup_recovery_password is None:
        raise Refused("BACKUP_RECOVERY_PASSWORD is not set: nothing would open the copies when the server is lost",
                      host=s.name, hint="set it, and keep it somewhere else besides")  # fmt: skip
    return found.app_name, found.backup_recovery_password
