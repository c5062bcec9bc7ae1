"""An application brought back on another host, from the copies of its backups alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from json import dumps
from typing import TYPE_CHECKING, Any

from tasks.core import events, project, settings
from tasks.core.command import Secret
from tasks.core.errors import ExitStatus, Refused, UsageError
from tasks.core.observe import observe
from tasks.core.task import Report
from tasks.model import backup as model
from tasks.operations import backup, health, hint, hostprogram, setup

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings


def rebuild(s: Session, remote: str, *, yes: bool, wait: float) -> Report:
    """Set the host up, fetch, start the release that served, and restore; then look at it by the host's address.

    Raises Refused when something serves there already, or the answer is no; else as the host says why it could not.
    What is done stays done, and the same command goes on; when a restore failed, `fab restore` does.
    """
    chosen = settings.load(s.settings_file)
    url, password = _source(s, chosen, remote)
    _require_empty(s, chosen)
    if not yes and not s.out.confirm(f"Make {s.name} from the copies at {url}?", word=chosen.app_name):
        raise Refused("not confirmed, nothing was changed", host=s.name)
    app, seconds = chosen.app_name, dict[str, float]()

    def timed(name: str, does: Callable[..., Any], *words: Any, **options: Any) -> Any:
        began = time.monotonic()
        try:
            return does(*words, **options)
        finally:
            seconds[name] = round(time.monotonic() - began, 1)

    timed("setup", setup.setup, s, yes=True, dry_run=False, wait=wait)
    if url.startswith("sftp:"):
        key = hostprogram.ask(s, app, "backup-key")["public_key"]
        s.out.info(f"the key {s.name} shows to {url}, to be let in there: {key}")
    found = timed("fetch", _adopted, s, chosen, url, password, wait)
    words = ["apply", found["release"], "--by", project.operator(), "--wait", f"{wait:g}", "--kind", "deploy"]
    words += ["--plan", "", "--after", "none"]
    command = hostprogram.command(app, *words)
    timed("start", events.follow, s, command, secrets=chosen.secrets, again=hint.fab(s, "rebuild"))
    for kind in ("postgres", "redis"):
        if name := found["backups"].get(kind):
            timed(kind, backup.follow, s, ["restore", kind, name, "--anew"], wait)
    return _seen(s, chosen, found, seconds)


def _source(s: Session, chosen: Settings, remote: str) -> tuple[str, Secret]:
    """The remote and a password that opens it."""
    remotes = chosen.backup_remotes
    if not remotes:
        raise Refused("BACKUP_REMOTES is empty: there is nothing to rebuild from", host=s.name)
    if not remote and len(remotes) > 1:
        raise UsageError("from which remote?", hint=f"--from {remotes[0]}, or another one of BACKUP_REMOTES")
    if remote and remote not in remotes:
        raise UsageError(f"{remote} is none of BACKUP_REMOTES", hint=f"one of: {', '.join(remotes)}")
    password = chosen.backup_recovery_password or chosen.backup_password
    if password is None:
        raise Refused("neither BACKUP_RECOVERY_PASSWORD nor BACKUP_PASSWORD is set", host=s.name)
    return remote or remotes[0], password


def _require_empty(s: Session, chosen: Settings) -> None:
    status = observe(s, chosen).status or {}
    if status.get("release"):
        raise Refused(f"release {status['release']} serves on {s.name} already", host=s.name,
                      hint="a rebuild is for an empty server; here: fab backup.retrieve and fab restore")  # fmt: skip


def _adopted(s: Session, chosen: Settings, url: str, password: Secret, wait: float) -> dict[str, Any]:
    """Have the host fetch everything; returns what it put in place."""
    question: dict[str, Any] = {
        "remote": url, "password": password.reveal(), "host_keys": list(chosen.backup_sftp_host_keys),
    }  # fmt: skip
    for name in ("s3_access_key", "s3_secret_key"):
        if (secret := getattr(chosen, f"backup_{name}")) is not None:
            question[name] = secret.reveal()
    command = hostprogram.command(chosen.app_name, "adopt", "--by", project.operator(), "--wait", f"{wait:g}")
    again = hint.fab(s, "rebuild")
    return events.follow(s, command, stdin=dumps(question).encode(), secrets=chosen.secrets, again=again)


def _seen(s: Session, chosen: Settings, found: dict[str, Any], seconds: dict[str, float]) -> Report:
    """What a visitor would see at this address, and what it took."""
    checks = health.outside(s, chosen, at=s.address)
    failed = [check for check in checks if not check.ok]
    now = time.time()
    total = round(sum(seconds.values()), 1)
    data = {**found, "seconds": {**seconds, "total": total}, "checks": [check.to_json() for check in checks]}
    lines = [f"  {name:<9}{value:>8} s" for name, value in seconds.items()]
    lines += [f"  {kind} is {model.age(now - taken)} old" for kind, taken in sorted(found["taken"].items())]
    lines += [f"  NOT WELL: {check.name}: {check.detail}" for check in failed]
    end = f"{s.name}: release {found['release']} serves at {s.address} after {total} s"
    end += "" if failed else f"; now lead {chosen.site_domain} there, then: {hint.fab(s, 'health')}"
    return Report(data, "\n".join([*lines, end]), ExitStatus.UNHEALTHY if failed else ExitStatus.OK)
