"""live/: what the containers mount. Kept equal to a release, file by file, each replaced by a rename inside its
directory: a container that mounts the directory sees the old file or the new one, never half of one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from host import durable, releases
from host.manifest import Manifest, Service
from host.releases import Release

TLS = "nginx/tls/"  # only goes live once there is a certificate: nginx refuses to start without the file it names
_ROOT = (0, 0)


@dataclass(frozen=True)
class Target:
    """A file or directory as it has to be below live/."""

    sha256: str  # "" for a directory
    mode: int
    owner: tuple[int, int]


@dataclass
class Changes:
    """What has to be done to make live/ equal to a release, and which services read it."""

    write: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    services: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.write or self.remove)


def _owner(prefix_owner: tuple[int, int]) -> tuple[int, int]:
    return prefix_owner if os.geteuid() == 0 else (os.geteuid(), os.getegid())  # only root can give files away


def prefixes(service: Service) -> tuple[str, ...]:
    """The directories of the release a service has mounted."""
    return (*service.config, *service.secrets)


def files(manifest: Manifest, tls: bool) -> dict[str, Target]:
    """Every file live/ has to have; with `tls` false the ones that need a certificate are left out."""
    wanted: dict[str, Target] = {}
    for service in manifest.services.values():
        for prefix in service.config:
            for path in manifest.below(prefix):
                if tls or not path.startswith(TLS):
                    entry = manifest.files[path]
                    wanted[path] = Target(entry.sha256, 0o755 if entry.mode & 0o111 else 0o644, _owner(_ROOT))
        for prefix in service.secrets:
            for path in manifest.below(prefix):
                wanted[path] = Target(manifest.files[path].sha256, 0o400, _owner(service.owner or _ROOT))
    return wanted


def directories(manifest: Manifest, wanted: dict[str, Target]) -> dict[str, Target]:
    """Every directory live/ has to have, parents first: containers' mounts exist even when empty."""
    roots: dict[str, Target] = {}
    for service in manifest.services.values():
        roots.update(dict.fromkeys(service.config, Target("", 0o755, _owner(_ROOT))))
        roots.update(dict.fromkeys(service.secrets, Target("", 0o500, _owner(service.owner or _ROOT))))
    found: dict[str, Target] = {}
    for path in sorted([*roots, *(name.rsplit("/", 1)[0] for name in wanted)]):
        parts, inherited = path.split("/"), Target("", 0o755, _owner(_ROOT))
        for depth in range(1, len(parts) + 1):
            part = "/".join(parts[:depth])
            inherited = roots.get(part, inherited)
            found.setdefault(part, inherited)
    return found


def digest(service: Service, wanted: dict[str, Target]) -> str:
    """One digest of all a service reads from live/; "" for a service that reads nothing there."""
    if not prefixes(service):
        return ""
    mine = sorted(
        (path, target.sha256, target.mode)
        for path, target in wanted.items()
        if any(path.startswith(prefix + "/") for prefix in prefixes(service))
    )
    return hashlib.sha256(json.dumps(mine).encode()).hexdigest()


def compare(base: Path, manifest: Manifest, tls: bool) -> Changes:
    """What differs between directory `base` and the release."""
    wanted = files(manifest, tls)
    changes = Changes(write=[path for path, target in sorted(wanted.items()) if not _is(base / path, target)])
    for path in present(base):
        if path not in wanted and any(
            path.startswith(p + "/") for s in manifest.services.values() for p in prefixes(s)
        ):
            changes.remove.append(path)
    for name, service in manifest.services.items():
        if any(path.startswith(p + "/") for path in (*changes.write, *changes.remove) for p in prefixes(service)):
            changes.services.add(name)
    return changes


def present(base: Path) -> list[str]:
    """Everything below `base` that is not a directory, as relative paths."""
    return sorted(
        item.relative_to(base).as_posix() for item in base.rglob("*") if item.is_symlink() or not item.is_dir()
    )


def _is(path: Path, target: Target) -> bool:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != target.mode:
        return False
    return (status.st_uid, status.st_gid) == target.owner and releases.digest(path) == target.sha256


def sync(base: Path, release: Release, tls: bool) -> Changes:
    """Make `base` equal to the release; returns what was changed. Directories that services no longer use stay until
    `prune`: the container that has them mounted may still have to be brought back."""
    changes = compare(base, release.manifest, tls)
    wanted = files(release.manifest, tls)
    wanted_directories = directories(release.manifest, wanted)
    for path, target in wanted_directories.items():
        _open_directory(base / path, target)
    for path in changes.remove:
        (base / path).unlink(missing_ok=True)
    for path in changes.write:
        if (base / path).is_dir() and not (base / path).is_symlink():
            shutil.rmtree(base / path)
        target = wanted[path]
        durable.write(base / path, (release.path / path).read_bytes(), target.mode, target.owner)
    for path, target in wanted_directories.items():
        _close_directory(base / path, target)
    return changes


def _open_directory(path: Path, target: Target) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        path.unlink()
    if not path.exists():
        path.mkdir(mode=0o700)
    if not target.mode & 0o200 and os.geteuid() != 0:
        path.chmod(0o700)  # root writes into a read-only directory, others cannot


def _close_directory(path: Path, target: Target) -> None:
    status = path.stat()
    if (status.st_uid, status.st_gid) != target.owner:
        os.chown(path, *target.owner)
    if stat.S_IMODE(status.st_mode) != target.mode:
        path.chmod(target.mode)
    durable.sync_directory(path)


def prune(base: Path, manifest: Manifest, tls: bool) -> list[str]:
    """Remove from `base` whatever the release does not have; returns the files removed."""
    wanted = files(manifest, tls)
    keep = directories(manifest, wanted)
    removed = [path for path in present(base) if path not in wanted]
    for path in removed:
        (base / path).unlink(missing_ok=True)
    for item in sorted((item for item in base.rglob("*") if item.is_dir() and not item.is_symlink()), reverse=True):
        if item.relative_to(base).as_posix() not in keep:
            shutil.rmtree(item, ignore_errors=True)
    return removed


def drift(base: Path, manifest: Manifest, tls: bool) -> list[dict[str, str]]:
    """What of `base` is not as the release says: [{"path", "state": changed|missing|extra}]."""
    wanted = files(manifest, tls)
    found = [
        {"path": path, "state": "changed" if os.path.lexists(base / path) else "missing"}
        for path, target in sorted(wanted.items())
        if not _is(base / path, target)
    ]
    return found + [{"path": path, "state": "extra"} for path in present(base) if path not in wanted]
