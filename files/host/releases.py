"""The releases on this host: which there are, which one serves, which may go."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host import durable, manifest
from host.config import Config
from host.errors import Failure, from_os_error
from host.manifest import Manifest

_HISTORY = 50  # applied releases remembered
_RESULTS = "results.json"
SERVED = ("healthy", "incomplete")  # incomplete: without its certificate


@dataclass(frozen=True)
class Release:
    """One release on disk."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        return self.manifest.release


def ids(config: Config) -> list[str]:
    """The complete releases on this host, oldest first."""
    try:
        return sorted(path.name for path in config.releases.iterdir() if manifest.is_release_id(path.name))
    except FileNotFoundError:
        return []


def current_id(config: Config) -> str | None:
    """The release `current` points to, or None before the first deploy."""
    try:
        return config.current.readlink().name
    except OSError:
        return None


def load(config: Config, name: str) -> Release:
    """Read release `name` ("current" for the one that serves). Raises Failure when it is not there or not readable."""
    if name == "current":
        found = current_id(config)
        if found is None:
            raise Failure("no release has been applied on this host yet", hint="deploy one: fab deploy")
        name = found
    if not manifest.is_release_id(name):
        raise Failure(f"{name[:100]!r} is not a release id", hint="see which there are: fab releases")
    path = config.releases / name
    try:
        data = (path / manifest.NAME).read_bytes()
    except FileNotFoundError:
        raise Failure(
            f"release {name} is not on this host", hint="see which are: fab releases; or deploy again"
        ) from None
    except OSError as error:
        raise from_os_error(error, f"reading release {name}") from error
    return Release(path, manifest.parse(data, config.app))


def current(config: Config) -> Release | None:
    """The release that serves, or None before the first deploy."""
    return None if current_id(config) is None else load(config, "current")


def digest(path: Path) -> str | None:
    """sha256 of a plain file, None when it is missing or not one."""
    if path.is_symlink():
        return None
    try:
        with path.open("rb") as stream:
            value = hashlib.sha256()
            while chunk := stream.read(1 << 20):
                value.update(chunk)
            return value.hexdigest()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def differences(release: Release) -> list[dict[str, str]]:
    """What of the release on disk is not as its manifest says: [{"path", "state": changed|missing|extra}]."""
    found = []
    for path, entry in sorted(release.manifest.files.items()):
        on_disk = digest(release.path / path)
        if on_disk != entry.sha256:
            found.append({"path": path, "state": "missing" if on_disk is None else "changed"})
    known = {manifest.NAME, *release.manifest.files}
    for entry_path in sorted(release.path.rglob("*")):
        relative = entry_path.relative_to(release.path).as_posix()
        if relative not in known and (entry_path.is_symlink() or not entry_path.is_dir()):
            found.append({"path": relative, "state": "extra"})
    return found


def verify(release: Release) -> None:
    """Raise Failure unless every file of the release is as it was received."""
    for difference in differences(release):
        if difference["state"] != "extra":
            raise Failure(
                f"release {release.id} is damaged: {difference['path']} is {difference['state']}",
                hint="deploy again, that makes a new release",
            )


def history(config: Config) -> list[dict[str, Any]]:
    """The releases that were applied with success, oldest first: [{"release", "applied": unix time}]."""
    value = durable.read_json(config.state / "history.json")
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def remember(config: Config, release: str, when: float) -> None:
    """Note that `release` serves from now on; the same one twice in a row is noted once."""
    past = history(config)
    if not past or past[-1].get("release") != release:
        durable.write_json(config.state / "history.json", [*past, {"release": release, "applied": when}][-_HISTORY:])


def results(config: Config) -> dict[str, dict[str, Any]]:
    """How each release ended: {release: {"result", "cause", "finished", ...}}."""
    value = durable.read_json(config.state / _RESULTS)
    if not isinstance(value, dict):
        return {}
    return {name: item for name, item in value.items() if isinstance(item, dict)}


def note(config: Config, name: str, result: str, cause: str = "", **extra: Any) -> None:
    """Note how `name` ended. A release that once served has served, whatever a later attempt at it comes to."""
    known = results(config)
    before = known.get(name, {})
    if before.get("result") in SERVED and result not in SERVED:
        entry = {**before, "last_cause": cause}
    else:
        kept: dict[str, Any] = {key: before[key] for key in ("migrated", "backup", "switch") if key in before}
        entry = {**kept, **extra, "result": result, "cause": cause, "finished": time.time()}
    there = {*ids(config), name}
    durable.write_json(
        config.state / _RESULTS, {key: item for key, item in {**known, name: entry}.items() if key in there}
    )


def served(config: Config, name: str) -> bool:
    """Has the release ever served on this host?"""
    return results(config).get(name, {}).get("result") in SERVED or any(
        item.get("release") == name for item in history(config)
    )


def switch(config: Config, release: str) -> None:
    """Make `release` the current one, in one step."""
    durable.point(config.current, f"releases/{release}")


def remove(config: Config, release: str) -> None:
    """Delete a release: renamed first, so that no half of it is ever taken for a whole one."""
    doomed = config.releases / f".removed-{release}"
    (config.releases / release).rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(config: Config) -> None:
    """Remove what an interrupted `remove` left."""
    for path in config.releases.glob(".removed-*"):
        shutil.rmtree(path, ignore_errors=True)
