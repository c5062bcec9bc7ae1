"""The backups on this host: what there is, publishing one whole or not at all, proving one unchanged."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host import durable
from host.backup import ALL
from host.config import Config
from host.errors import Failure, Status, from_os_error

MANIFEST = "manifest.json"
FORMAT = 1
_PARTIAL = ".partial-"
_SEAL = "seal"
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
_CHUNK = 1 << 20  # bytes
_MANIFEST_LIMIT = 64 << 20  # bytes

Tick = Callable[[int], None]
"""Told how many bytes have been dealt with so far."""


@dataclass(frozen=True)
class Backup:
    """A published backup."""

    kind: str
    id: str
    path: Path
    manifest: dict[str, Any]

    @property
    def bytes(self) -> int:
        """Its size, without what hard links share with others taken off."""
        return int(self.manifest.get("bytes") or 0)

    @property
    def taken(self) -> float:
        """Unix time of the state it holds."""
        return float(self.manifest.get("started") or 0)

    @property
    def verified(self) -> bool:
        """Was it found whole when it was published, and good in its last drill, if there was one?"""
        drills = self.manifest.get("drills") or []
        return bool(self.manifest.get("verified")) and (not drills or bool(drills[-1].get("ok")))


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def new_id() -> str:
    """UTC to the second and four hexadecimal digits: sorts by time."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(2).hex()}"


def folder(config: Config, kind: str) -> Path:
    """Where the backups of a kind lie; made when it is not there. Raises Failure for a kind there is not."""
    if kind not in ALL:
        raise Failure(f"there are no backups of {kind!r}", hint=f"one of: {', '.join(ALL)}", status=Status.REFUSED)
    path = config.root / "shared" / "backups" / kind
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def backups(config: Config, kind: str) -> list[Backup]:
    """The published ones, oldest first. What has no manifest that can be read, or another one's, is none."""
    found = []
    for path in sorted(folder(config, kind).iterdir()):
        if is_id(path.name) and (manifest := read(path)) is not None and manifest.get("id") == path.name:
            found.append(Backup(kind, path.name, path, manifest))
    return found


def read(path: Path) -> dict[str, Any] | None:
    """The manifest in directory `path`; None when there is none, or it is not as it was written."""
    try:
        with (path / MANIFEST).open("rb") as stream:
            value = json.loads(stream.read(_MANIFEST_LIMIT))
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        return None
    return value if value.get(_SEAL, seal(value)) == seal(value) else None  # the first ones had no seal


def find(config: Config, kind: str, name: str) -> Backup:
    """The backup of that id, or the "latest". Raises Failure (REFUSED) when there is none."""
    found = backups(config, kind)
    there = {backup.id for backup in found}
    unread = [path for path in sorted(folder(config, kind).iterdir()) if is_id(path.name) and path.name not in there]
    for path in unread:
        if path.name == name or (name == "latest" and path == unread[-1] and path.name > max(there, default="")):
            raise _damaged(path, f"its {MANIFEST} is missing or not what was written")
    if name == "latest" and found:
        return found[-1]
    for backup in found:
        if backup.id == name:
            return backup
    raise Failure(
        f"there is no backup of {kind} called {name}" if name != "latest" else f"there is no backup of {kind} yet",
        hint="see: fab backup.list" if found else f"make one: fab backup.{kind}",
        status=Status.REFUSED,
    )


@contextmanager
def staging(config: Config, kind: str) -> Iterator[tuple[str, Path]]:
    """A new id and an empty directory 0700 for it; removed at the end unless it was published.

    Raises Failure when the disk cannot take it.
    """
    sweep(config)
    name = new_id()
    path = folder(config, kind) / f"{_PARTIAL}{name}"
    try:
        path.mkdir(mode=0o700)
        yield name, path
    except OSError as error:
        raise from_os_error(error, f"backing up {kind}") from error
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep(config: Config) -> None:
    """Remove what backups that were killed left. The caller holds the host's lock: nobody is writing one."""
    for kind in ALL:
        for path in folder(config, kind).glob(f"{_PARTIAL}*"):
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(_scratch(config), ignore_errors=True)


def _scratch(config: Config) -> Path:
    return config.root / "shared" / "backups" / ".restore"


@contextmanager
def scratch(config: Config) -> Iterator[Path]:
    """An empty directory 0700 to unpack into; gone at the end. The caller holds the host's lock."""
    path = _scratch(config)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700, parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def files_of(path: Path) -> list[Path]:
    """Every regular file below `path` but the manifest, sorted. Raises Failure for anything that is neither file nor
    directory: a backup has none."""
    found = []
    for base, directories, names in os.walk(path):
        directories.sort()
        for name in sorted([*names, *(word for word in directories if (Path(base) / word).is_symlink())]):
            each = Path(base) / name
            if each.is_symlink() or not each.is_file():
                raise Failure(f"{each} is not a regular file", hint="remove this backup: somebody changed it")
            if each != path / MANIFEST:
                found.append(each)
    return found


def digest(path: Path, done: Tick | None = None, before: int = 0) -> str:
    """The file's sha256 in hexadecimal; `done` is told `before` plus the bytes read so far."""
    value = hashlib.sha256()
    with path.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while chunk := stream.read(_CHUNK):
            value.update(chunk)
            before += len(chunk)
            if done:
                done(before)
    return value.hexdigest()


def _listing(path: Path) -> list[dict[str, Any]]:
    return [
        {"path": each.relative_to(path).as_posix(), "size": each.stat().st_size, "sha256": digest(each)}
        for each in files_of(path)
    ]


def publish(config: Config, kind: str, name: str, partial: Path, manifest: dict[str, Any]) -> Backup:
    """Make the directory a backup: digests, hard links to what its predecessor has too, everything on the disk, and
    only then its name. `manifest` is completed and written into it. Returns the backup.
    """
    earlier = backups(config, kind)
    listing = _listing(partial)
    shared = _link(earlier[-1], partial, listing) if earlier else 0
    whole = {
        "format": FORMAT, "app": config.app, "kind": kind, "id": name, **manifest,
        "files": listing, "bytes": sum(int(each["size"]) for each in listing), "shared_bytes": shared,
        "drills": [],
    }  # fmt: skip
    for each in files_of(partial):
        each.chmod(0o600)
        _sync(each)
    durable.write(partial / MANIFEST, _encode(whole), 0o600)
    for base, _, _ in os.walk(partial):
        durable.sync_directory(Path(base))
    final = folder(config, kind) / name
    partial.rename(final)
    durable.sync_directory(final.parent)
    return Backup(kind, name, final, whole)


def _encode(manifest: dict[str, Any]) -> bytes:
    sealed = {**manifest, _SEAL: seal(manifest)}
    return json.dumps(sealed, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def seal(manifest: dict[str, Any]) -> str:
    """What tells whether a manifest is still as it was written: a digest of all the rest of it."""
    rest = {name: value for name, value in manifest.items() if name != _SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def settle(path: Path) -> None:
    """Have everything in a directory on the disk now: `publish`, which wants that too, then need not wait for it."""
    for each in files_of(path):
        _sync(each)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _link(before: Backup, partial: Path, listing: list[dict[str, Any]]) -> int:
    """Replace files that the backup before has as well by links to them; returns the bytes saved.

    What it has is looked at and not believed: a file that changed on the disk since is no twin.
    """
    known = {(each["sha256"], each["size"]): each["path"] for each in before.manifest.get("files") or []}
    saved = 0
    for each in listing:
        twin = known.get((each["sha256"], each["size"]))
        if twin is None or each["size"] == 0:
            continue
        old = before.path / str(twin)
        try:
            if old.is_symlink() or old.stat().st_size != each["size"] or digest(old) != each["sha256"]:
                continue
            temporary = partial / ".~link"
            temporary.hardlink_to(old)
            temporary.rename(partial / str(each["path"]))
        except OSError:
            continue  # gone, or too many links: the copy is as good
        saved += int(each["size"])
    return saved


def note(backup: Backup, **changes: Any) -> Backup:
    """Replace keys of its manifest (drills): what is known of a backup grows. Returns it as it is then."""
    manifest = {**(read(backup.path) or backup.manifest), **changes}
    durable.write(backup.path / MANIFEST, _encode(manifest), 0o600)
    durable.sync_directory(backup.path)
    return Backup(backup.kind, backup.id, backup.path, manifest)


def check(path: Path, manifest: dict[str, Any], done: Tick | None = None) -> None:
    """Prove that the files in `path` are those of `manifest`: all of them, no other, every byte. Raises Failure."""
    expected = {str(each["path"]): each for each in manifest.get("files") or []}
    there = {each.relative_to(path).as_posix() for each in files_of(path)}
    if missing := sorted(set(expected) - there):
        raise _damaged(path, f"{missing[0]} is missing")
    if foreign := sorted(there - set(expected)):
        raise _damaged(path, f"{foreign[0]} does not belong to it")
    read_so_far = 0
    for name, each in sorted(expected.items()):
        size = (path / name).stat().st_size
        if size != each["size"]:
            raise _damaged(path, f"{name} has {size} bytes instead of {each['size']}")
        if digest(path / name, done, read_so_far) != each["sha256"]:
            raise _damaged(path, f"{name} is not what was written")
        read_so_far += size


def _damaged(path: Path, what: str) -> Failure:
    return Failure(f"backup {path.name} is damaged: {what}", hint="take another: fab backup.list",
                   status=Status.REFUSED)  # fmt: skip


def remove(backup: Backup) -> None:
    """Remove a backup: its name goes first, so that half of one is never taken for one."""
    doomed = backup.path.parent / f"{_PARTIAL}{backup.id}"
    backup.path.rename(doomed)
    durable.sync_directory(doomed.parent)
    shutil.rmtree(doomed, ignore_errors=True)


def typical(config: Config, kind: str, lately: int = 7) -> int:
    """The median size in bytes of the last backups of a kind; 0 when there is none."""
    sizes = sorted(backup.bytes for backup in backups(config, kind)[-lately:])
    return sizes[len(sizes) // 2] if sizes else 0


def room(config: Config, kind: str, need: int) -> None:
    """Raise Failure unless `need` bytes and a reserve fit beside what is there."""
    place = folder(config, kind)
    usage = shutil.disk_usage(place)
    reserve = min(2 << 30, usage.total // 20)
    if usage.free < need + reserve:
        raise Failure(
            f"no room for the backup of {kind}: it needs {need >> 20} MB besides a reserve of {reserve >> 20} MB, "
            f"{usage.free >> 20} MB are free in {place}",
            hint="free some: fab backup.prune; docker system df; journalctl --vacuum-size=200M",
        )
