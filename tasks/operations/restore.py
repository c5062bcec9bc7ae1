"""Restoring from a backup or a dump, and undoing that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core import settings
from tasks.core.errors import HostFailed, Refused, UsageError
from tasks.core.task import Report
from tasks.core.transfer import directory_size, directory_stream
from tasks.model import backup as model
from tasks.operations import backup, hint, hostprogram

if TYPE_CHECKING:
    from tasks.core.session import Session

_CHUNK = 1 << 20  # bytes
_PATIENCE = 10.0  # seconds a look waits for what is running, at least
_LOOK = 4 * 3600.0  # seconds: all of a big dump is read


def restore(s: Session, kind: str, source: str, *, other: bool, yes: bool, wait: float) -> Report:
    """Have the host prove the file, show what it would replace, have that agreed to, and restore.

    Raises Refused when the file is not to be had, is no good, or the answer is no: nothing was changed then.
    """
    if not source:
        raise UsageError("which backup?", hint=f"--file latest, or one of {hint.fab(s, 'backup.list')}")
    app = settings.load(s.settings_file).app_name
    place = _on_host(s, app, source)
    words = ["--other-database"] if other else []
    told = _inspected(s, app, ["inspect", kind, place, *words, "--wait", f"{max(wait, _PATIENCE):g}"], wait)
    for line in model.replaced(told):
        s.out.info(line)
    if not yes and not s.out.confirm(f"Replace it on {s.name}?", word=str(told["database"])):
        raise Refused("not confirmed, nothing was changed", host=s.name)
    # what was agreed to, and not what is the latest by now
    done = backup.follow(s, ["restore", kind, str(told["source"]), *words], wait)
    undo = hint.fab(s, "restore.undo") + ("" if kind == "postgres" else f" --kind {kind}")
    return Report(done, f"{s.name}: {done['source']} serves, {done['window']} s without service; undo it with: {undo}")


def moment(at: str, file: str) -> str:
    """What the host calls the moment `at` that a user typed. Raises UsageError when it is none, or not one alone."""
    if file:
        raise UsageError("a file or a moment, not both", hint="leave out --file or --at")
    try:
        found = datetime.fromisoformat(at.strip())
    except ValueError:
        raise UsageError(f"{at!r} is no time", hint='such as --at "2026-11-22 10:00:00+01"') from None
    if found.tzinfo is None:
        raise UsageError(f"{at!r} does not say in which time zone", hint=f'such as --at "{at.strip()}+01", or +00')
    return f"at:{found.timestamp():.6f}"


def undo(s: Session, kind: str, *, yes: bool, wait: float) -> Report:
    """Have the host bring back what the last restore replaced. Raises Refused when there is none, or on no."""
    if kind not in ("postgres", "redis"):
        raise UsageError(f"--kind is postgres or redis, not {kind}")
    if not yes and not s.out.confirm(f"Bring back what the last restore of {kind} on {s.name} replaced?"):
        raise Refused("not confirmed, nothing was changed", host=s.name)
    done = backup.follow(s, ["restore", kind, "undo"], wait)
    return Report(done, f"{s.name}: what was replaced serves again, {done['window']} s without service")


def _on_host(s: Session, app: str, source: str) -> str:
    """What the host is to be told: a file that is here is sent there first."""
    path = Path(source).expanduser()
    if source == "latest" or source.startswith("at:") or not path.exists():
        return source
    if not path.is_file() and not path.is_dir():
        raise UsageError(f"{path} is neither a file nor a directory: it may never end")
    if path.is_dir() and not any((path / name).is_file() for name in ("manifest.json", "toc.dat")):
        raise UsageError(f"{path} holds no backup: it has neither manifest.json nor the toc.dat of pg_dump -Fd",
                         hint=hint.fab(s, "backup.pull"))  # fmt: skip
    digest = hashlib.sha256()
    length = directory_size(path) if path.is_dir() else path.stat().st_size
    with s.out.progress(f"sending {path.name}", length) as progress:

        def chunks() -> Iterator[bytes]:
            for chunk in directory_stream(path) if path.is_dir() else _content(path):
                digest.update(chunk)
                progress.advance(len(chunk))
                yield chunk

        command = hostprogram.command(app, "upload", "--size", length)
        try:
            result = s.run(command, stdin=chunks(), root=True, deadline=None, check=False)
        except (OSError, ValueError) as error:  # of the file, not of the connection: that has errors of its own
            raise Refused(f"{path} cannot be read to its end: {error}", host=s.name) from None
    told = hostprogram.answer(s, app, "upload", result)
    if told["sha256"] != digest.hexdigest():
        raise HostFailed(f"{path.name} did not arrive as it is here", host=s.name, hint="run the same again")
    return str(told["path"])


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _inspected(s: Session, app: str, words: list[str], wait: float) -> dict[str, Any]:
    result = s.run(hostprogram.command(app, *words), root=True, deadline=_LOOK + wait, check=False)
    told: dict[str, Any] = hostprogram.answer(s, app, words[0], result)
    return told
