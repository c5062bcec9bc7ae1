"""Making, listing, trying and fetching backups."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tasks.core import events, project, settings
from tasks.core.errors import HostFailed, Refused
from tasks.core.progress import Progress, size
from tasks.core.task import Report
from tasks.model import backup as model
from tasks.operations import hint, hostprogram

if TYPE_CHECKING:
    from tasks.core.session import Session

_CHUNK = 1 << 20  # bytes


def make(s: Session, kind: str, *, wait: float) -> Report:
    """Have the host make backups. Raises as the host says why it could not."""
    done = follow(s, ["backup", kind, "--reason", "by hand"], wait)
    return Report(done, f"{s.name}: {', '.join(done['backups'])}")


def drill(s: Session, kind: str, *, wait: float) -> Report:
    """Have the host restore its newest backups elsewhere. Raises Unhealthy when one does not restore."""
    done = follow(s, ["drill", kind], wait)
    lines = [f"{each['kind']} {each['id']}: restored and compared in {each['seconds']} s" for each in done["drills"]]
    return Report(done, "\n".join(f"{s.name}: {line}" for line in lines))


def follow(s: Session, words: list[str], wait: float) -> dict[str, Any]:
    """Have the host do a long command of backups, and show how it goes. Raises as `events.follow`."""
    app = settings.load(s.settings_file).app_name
    command = hostprogram.command(app, *words, "--by", project.operator(), "--wait", f"{wait:g}")
    return events.follow(s, command, again=hint.fab(s, "backup.list"))


def listing(s: Session) -> Report:
    """Ask the host what it has."""
    told = _told(s)
    text = model.describe(told["backups"], told["undo"], told.get("point_in_time"), told["now"])
    count = len(told["backups"])
    return Report(told, f"{text}\n{s.name}: {count} backup{'' if count == 1 else 's'}".lstrip("\n"))


def _told(s: Session) -> dict[str, Any]:
    told: dict[str, Any] = hostprogram.ask(s, settings.load(s.settings_file).app_name, "backups")
    return told


def prune(s: Session, *, rehearsal: bool) -> Report:
    """Have the host drop what its time is up for, or only say what."""
    app = settings.load(s.settings_file).app_name
    if rehearsal:
        done = hostprogram.ask(s, app, "prune", "--dry-run")
    else:
        done = events.follow(s, hostprogram.command(app, "prune", "--by", project.operator()))
    verb = "would be dropped" if rehearsal else "dropped"
    lines = [f"  {kind} {name}" for kind, names in sorted(done["removed"].items()) for name in names]
    return Report(done, "\n".join([*lines, f"{s.name}: {len(lines)} {verb}"]))


def pull(s: Session, kind: str, name: str, to: str) -> Report:
    """Fetch a backup into <to>/<kind>/<id>; what is there already and right is not fetched again.

    Raises Refused when there is no such backup, HostFailed when what arrived is not what the host has.
    """
    app = settings.load(s.settings_file).app_name
    rows = [row for row in _told(s)["backups"] if row["kind"] == kind and name in (row["id"], "latest")]
    if not rows:
        raise Refused(f"there is no backup of {kind} called {name}", host=s.name, hint=hint.fab(s, "backup.list"))
    row = rows[0]
    folder = Path(to or f"backups/{s.name}") / kind / row["id"]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    total = sum(int(each["size"]) for each in row["files"])
    with s.out.progress(f"fetching {row['id']}", total) as progress:
        for each in row["files"]:
            _file(s, app, row, each, folder, progress=progress)
    manifest = s.run(hostprogram.command(app, "fetch", kind, row["id"], "manifest.json"), root=True).stdout
    _private(folder / "manifest.json").write_bytes(manifest)
    return Report(
        {"path": str(folder), "bytes": total, "id": row["id"]},
        f"{s.name}: {kind} {row['id']} is in {folder}, {size(total)}, every checksum right",
    )


def _private(path: Path) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)
    path.chmod(0o600)
    return path


def _file(s: Session, app: str, row: dict[str, Any], each: dict[str, Any], folder: Path, *, progress: Progress) -> None:
    relative = PurePosixPath(each["path"])
    if relative.is_absolute() or ".." in relative.parts:
        raise HostFailed(f"the host names a file {each['path']}", host=s.name)
    path = folder / relative
    if path.is_file() and path.stat().st_size == each["size"] and _digest(path) == each["sha256"]:
        progress.advance(int(each["size"]))
        return
    part = _private(path.with_name(f"{path.name}.part"))
    have = part.stat().st_size
    if have > each["size"]:
        part.write_bytes(b"")
        have = 0
    progress.advance(have)
    with part.open("ab") as out:

        def take(chunk: bytes) -> None:
            out.write(chunk)
            progress.advance(len(chunk))

        words = ["fetch", row["kind"], row["id"], each["path"], "--offset", str(have)]
        s.run(hostprogram.command(app, *words), sink=take, root=True, deadline=None)
    if part.stat().st_size != each["size"] or _digest(part) != each["sha256"]:
        part.unlink()
        raise HostFailed(f"{each['path']} did not arrive as it is there", host=s.name, hint="run the same again")
    part.rename(path)


def _digest(path: Path) -> str:
    value = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            value.update(chunk)
    return value.hexdigest()
