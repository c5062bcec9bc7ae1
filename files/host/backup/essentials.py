"""A backup of what else a rebuild needs: the release that serves, its environment and secrets, certificates and the
account at their authority, Grafana's own database."""

from __future__ import annotations

import sqlite3
import tarfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from host import process, releases
from host.backup import catalog
from host.backup.catalog import Backup
from host.backup.policy import Policy
from host.config import Config
from host.errors import Failure
from host.events import Journal

KIND = "config"
FILE = "config.tar.gz"
VOLUMES = "volumes"
_GRAFANA = "grafana.db"
_STATE = ("results.json", "audit.jsonl")


def make(config: Config, policy: Policy, journal: Journal, reason: str) -> Backup:
    """Back up the files of the application; returns the published backup. Raises Failure, and then nothing is left."""
    began = time.time()
    release = releases.load(config, "current")
    with journal.step(KIND, "backing up the configuration") as step, catalog.staging(config, KIND) as (name, partial):
        catalog.room(config, KIND, 64 << 20)
        copy = partial / _GRAFANA
        grafana = grafana_database(config)
        if grafana is not None:
            _copy(grafana, copy)
        contents: list[str] = []
        with tarfile.open(partial / FILE, "w:gz", compresslevel=6, dereference=False) as tar:
            for source, path in [*_sources(config, release.path, copy), *_volumes(policy)]:
                if source.exists():
                    tar.add(source, path)
                    contents.append(path)
        copy.unlink(missing_ok=True)
        _prove(partial / FILE, contents)
        now = time.time()
        backup = catalog.publish(config, KIND, name, partial, {
            "reason": reason, "started": began, "finished": now, "seconds": round(now - began, 2),
            "release": release.id, "images": _images(release.manifest.raw), "contents": contents,
            "verified": {"at": now, "how": "read to its end"}, "suspicious": "", "tools": {},
        })  # fmt: skip
        step.done(f"{backup.id}: {', '.join(contents)}, {backup.bytes} bytes", backup=backup.id)
    return backup


def _sources(config: Config, release: Path, grafana: Path) -> list[tuple[Path, str]]:
    return [
        (release, f"releases/{release.name}"),
        (config.letsencrypt, "letsencrypt"),
        (config.tls, "tls"),
        *((config.state / name, f"state/{name}") for name in _STATE),
        (grafana, f"grafana/{_GRAFANA}"),
    ]


def _volumes(policy: Policy) -> list[tuple[Path, str]]:
    """The volumes whose files are backed up as they are. Raises Failure for one that is not there."""
    found = []
    for name in policy.volumes:
        place = mountpoint(name)
        if place is None:
            raise Failure(f"there is no volume {name}", hint="fab deploy, or take x-backup: files out of it")
        found.append((place, f"{VOLUMES}/{name}"))
    return found


def _images(raw: Any) -> dict[str, str]:
    return {name: str(service.get("image", "")) for name, service in sorted(raw.get("services", {}).items())}


def volume(config: Config, name: str) -> Path | None:
    """Where the data of volume <app>_<name> lie, None when there is no such volume."""
    return mountpoint(f"{config.app}_{name}")


def mountpoint(name: str) -> Path | None:
    """Where the data of a volume lie, None when there is no such volume."""
    words = ["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", name]
    done = process.run(words, deadline=60, check=False)
    return Path(done.text.strip()) if done.status == 0 and done.text.strip() else None


def grafana_database(config: Config) -> Path | None:
    """Grafana's database file, None when it keeps none there."""
    folder = volume(config, "grafana_data")
    path = folder / _GRAFANA if folder else None
    return path if path and path.is_file() else None


def _copy(source: Path, target: Path) -> None:
    """A consistent copy of a SQLite database that is in use."""
    try:
        there = sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)
        with closing(there) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
            [answer] = new.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as error:
        raise Failure(f"Grafana's database cannot be copied: {error}", hint="look at: fab health") from error
    if answer != "ok":
        raise Failure(f"Grafana's database is damaged: {answer}", hint="look at Grafana's log")


def _prove(path: Path, contents: list[str]) -> None:
    """Raise Failure unless the archive can be read to its end and has everything."""
    try:
        with tarfile.open(path) as tar:
            there = set()
            for member in tar:
                there.add(member.name)
                stream = tar.extractfile(member) if member.isfile() else None
                while stream is not None and stream.read(1 << 20):
                    pass
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Failure(f"the archive of the configuration cannot be read back: {error}") from error
    if missing := sorted(set(contents) - there):
        raise Failure(f"the archive of the configuration lacks {missing[0]}")


def unpack(backup: Path, into: Path) -> None:
    """Unpack the archive of a config backup below `into`, owners and modes as they were. Raises Failure."""
    try:
        with tarfile.open(backup / FILE) as tar:
            for member in tar:
                parts = Path(member.name).parts
                if member.name.startswith("/") or ".." in parts or not (
                    member.isfile() or member.isdir() or member.issym()
                ):  # fmt: skip
                    raise Failure(f"the archive holds {member.name}, which does not belong there")
                tar.extract(member, into, set_attrs=True, numeric_owner=True)
    except (tarfile.TarError, EOFError) as error:
        raise Failure(f"the archive of the configuration cannot be read: {error}") from error
