"""Making, listing, trying and fetching backups."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tasks.core import events, project, settings
from tasks.core.errors import HostFailed, UsageError
from tasks.core.progress import Progress, size
from tasks.core.task import Report
from tasks.model import backup as model
from tasks.operations import hint, hostprogram
from tasks.operations.arriving import Arriving, Damaged, Wanted, private

if TYPE_CHECKING:
    from tasks.core.session import Session

_PULLED = ("postgres", "redis", "config", "base")
_FILES = 200  # fetched by one command, whose line the kernel limits


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

    Raises HostFailed when there is no such backup, or when what arrived is not what the host has.
    """
    if kind not in _PULLED:
        raise UsageError(f"--kind is one of {', '.join(_PULLED)}, not {kind}")
    app = settings.load(s.settings_file).app_name
    manifest = hostprogram.content(s, app, "fetch", kind, name, "manifest.json")
    told = json.loads(manifest)
    folder = Path(to or f"backups/{s.name}") / kind / _inside(s, told["id"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    total = sum(int(each["size"]) for each in told["files"])
    with s.out.progress(f"fetching {told['id']}", total) as progress:
        wanted = [_wanted(s, each, folder) for each in told["files"]]
        missing = [each for each in wanted if not each.there]
        progress.advance(total - sum(each.size for each in missing))
        missing.sort(key=lambda each: each.begun, reverse=True)  # only the first of each command can be gone on with
        for start in range(0, len(missing), _FILES):
            _fetch(s, app, (kind, told["id"]), missing[start : start + _FILES], progress)
    private(folder / "manifest.json").write_bytes(manifest)
    return Report(
        {"path": str(folder), "bytes": total, "id": told["id"]},
        f"{s.name}: {kind} {told['id']} is in {folder}, {size(total)}, every checksum right",
    )


def _inside(s: Session, path: str) -> PurePosixPath:
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise HostFailed(f"the host names a file {path}", host=s.name)
    return relative


def _wanted(s: Session, each: dict[str, Any], folder: Path) -> Wanted:
    return Wanted(each["path"], folder / _inside(s, each["path"]), int(each["size"]), str(each["sha256"]))


def _fetch(s: Session, app: str, backup: tuple[str, str], wanted: list[Wanted], progress: Progress) -> None:
    begun = wanted[0].begun
    progress.advance(begun)
    words = ["fetch", *backup, *(each.name for each in wanted), "--offset", str(begun)]
    try:
        with Arriving(wanted, begun, progress.advance) as arriving:
            s.run(hostprogram.command(app, *words), sink=arriving.take, root=True, deadline=None)
    except Damaged as error:
        raise HostFailed(f"{error} did not arrive as it is there", host=s.name, hint="run the same again") from error
