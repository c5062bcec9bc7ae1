"""Writing files so that a power cut leaves the old one or the new one, never half of one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

TEMPORARY = ".~"  # prefix of files being written; whoever finds one without its writer may remove it


def sync_directory(path: Path) -> None:
    """Make the names in directory `path` survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` by `data` with exactly `mode` and `owner` (uid, gid): temporary file, fsync, rename.

    The file is born 0600; the caller syncs the directory when all its files are written.
    """
    temporary = path.parent / f"{TEMPORARY}{path.name}.{os.getpid()}"
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                if owner is not None and owner != (os.geteuid(), os.getegid()):
                    os.fchown(stream.fileno(), *owner)
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_json(path: Path, value: object) -> None:
    """Replace `path` by `value` as JSON, 0600, and make it last."""
    write(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n", 0o600)
    sync_directory(path.parent)


def read_json(path: Path) -> Any:
    """The JSON in `path`, or None when there is none or it cannot be read as JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def point(link: Path, target: str) -> None:
    """Make symlink `link` point to `target` in one step."""
    temporary = link.parent / f"{TEMPORARY}{link.name}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.rename(link)
    sync_directory(link.parent)
