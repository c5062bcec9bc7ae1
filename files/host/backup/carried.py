"""A backup of ours to restore from: proven, wherever it lies, be it a directory or a tar of one."""

from __future__ import annotations

import tarfile
from pathlib import Path

from host.backup import catalog, recognise
from host.backup.catalog import Backup
from host.config import Config

_CHUNK = 1 << 20  # bytes


def found(config: Config, kind: str, path: Path, room: Path) -> Backup | None:
    """The backup at `path`, unpacked into `room` when it is a tar, and every byte of it proven; None when it is none.

    Raises Failure (REFUSED) when it is damaged, of another kind or of another application.
    """
    place = path
    if not path.is_dir():
        place = room / "carried"
        if not path.is_file() or not tarfile.is_tarfile(path) or not _unpacked(path, place):
            return None
    manifest = catalog.read(place)
    if manifest is None:
        if (place / catalog.MANIFEST).exists():
            raise recognise.refuse(path, f"is a backup whose {catalog.MANIFEST} is not what was written")
        return None
    return proven(config, Backup(kind, str(manifest.get("id")), place, manifest))


def proven(config: Config, backup: Backup) -> Backup:
    """The backup, when every byte of it is as it was written and it is this application's. Raises Failure (REFUSED)."""
    whose = (backup.manifest.get("app"), backup.manifest.get("kind"))
    if whose != (config.app, backup.kind):
        raise recognise.refuse(backup.path, f"is of {whose[0]} ({whose[1]})")
    catalog.check(backup.path, backup.manifest)
    return backup


def _unpacked(path: Path, target: Path) -> bool:
    """Unpack a tar that has a manifest at its top; False when it has none. What does not belong to it is left out."""
    try:
        with tarfile.open(path) as tar:
            members = {member.name.removeprefix("./"): member for member in tar if member.isfile()}
            if catalog.MANIFEST not in members:
                return False
            for name, member in members.items():
                if name.startswith("/") or ".." in Path(name).parts:
                    continue
                (target / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                stream = tar.extractfile(member)
                with (target / name).open("wb") as out:
                    while stream and (chunk := stream.read(_CHUNK)):
                        out.write(chunk)
                        recognise.room(path, target)
    except (tarfile.TarError, EOFError):
        raise recognise.refuse(path, "is damaged or cut off: it cannot be unpacked") from None
    return True
