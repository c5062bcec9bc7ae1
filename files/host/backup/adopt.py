"""A host that has nothing yet takes over from a remote: the release that served, certificates, the newest backups."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host import process, releases
from host.backup import catalog, copies, essentials
from host.backup.policy import Policy
from host.config import Config
from host.errors import Failure, Status
from host.events import Journal

_LIMIT = 1 << 16  # bytes of a question
_SECRETS = ("password", "s3_access_key", "s3_secret_key")


@dataclass(frozen=True)
class Question:
    """Which remote, and what opens it. Nothing of it is shown."""

    remote: str
    host_keys: tuple[str, ...] = ()
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


def parse(data: bytes) -> Question:
    """The Question in {"remote", "host_keys", "password", "s3_access_key", "s3_secret_key"}. Raises Failure."""
    try:
        raw = json.loads(data[: _LIMIT + 1])
        secrets = {name: str(raw[name]) for name in _SECRETS if raw.get(name)}
        return Question(str(raw["remote"]), tuple(str(key) for key in raw.get("host_keys", ())), secrets)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failure("what was sent names no remote", hint="run it again from an up-to-date checkout") from None


def save(config: Config, data: bytes) -> Path:
    """Keep the question for the unit to read: 0600 and in memory (/run)."""
    parse(data)
    config.prepare()
    handle, name = tempfile.mkstemp(prefix="adopt-", suffix=".json", dir=config.run)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
    return Path(name)


def take(path: Path) -> Question:
    """Read the question and remove its file."""
    try:
        return parse(path.read_bytes())
    finally:
        path.unlink(missing_ok=True)


def adopt(config: Config, question: Question, journal: Journal) -> dict[str, object]:
    """Fetch the newest backup of each kind, and put the release and the certificates of the configuration in place.

    Nothing is started. Again after a failure: what is there already is not fetched a second time.
    Returns {"release", "backups": {kind: id}, "taken": {kind: Unix time}}. Raises Failure (REFUSED) where something
    serves already.
    """
    if (serving := releases.current_id(config)) is not None:
        raise Failure(f"release {serving} serves on this host", hint="a rebuild is for a host that has nothing yet",
                      status=Status.REFUSED)  # fmt: skip
    with _opened(config, question) as policy:
        newest = {item.kind: item.id for item in copies.snapshots(config, policy, question.remote)}
        if essentials.KIND not in newest:
            raise Failure(f"{question.remote} has no configuration of {config.app}", status=Status.REFUSED,
                          hint="is it the right remote, and APP_NAME the right name?")  # fmt: skip
        for kind, name in newest.items():
            if not any(item.id == name for item in catalog.backups(config, kind)):
                copies.retrieve(config, policy, question.remote, kind, name, journal=journal)
    found = {kind: catalog.find(config, kind, name) for kind, name in newest.items()}
    release = str(found[essentials.KIND].manifest["release"])
    with journal.step("adopt", f"putting release {release} and the certificates in place") as step:
        _place(config, found[essentials.KIND].path, release)
        step.done(f"release {release} is in place")
    return {"release": release, "backups": newest, "taken": {kind: item.taken for kind, item in found.items()}}


@contextmanager
def _opened(config: Config, question: Question) -> Iterator[Policy]:
    """The policy of a host that has none: its secrets are in memory (/run), for as long as this lasts."""
    folder = Path(tempfile.mkdtemp(prefix="adopt-", dir=config.run))
    try:
        (folder / "backup").mkdir(mode=0o700)
        for name, value in question.secrets.items():
            path = folder / "backup" / name
            path.touch(mode=0o600)
            path.write_text(value, encoding="utf-8")
        yield Policy({}, 0, folder, "", "", (question.remote,), question.host_keys)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(config: Config, backup: Path, release: str) -> None:
    """Unpack the configuration and move what this host does not have where it belongs."""
    with catalog.scratch(config) as room:
        essentials.unpack(backup, room)
        source, target = room / "releases" / release, config.releases / release
        if not (source / "manifest.json").is_file():
            raise Failure(f"the configuration holds no release {release}")
        if not target.exists():
            source.rename(target)
        releases.verify(releases.load(config, release))
        for name, place in (("letsencrypt", config.letsencrypt), ("tls", config.tls)):
            if (room / name).is_dir():
                _fill(room / name, place)
        for source in sorted((room / essentials.VOLUMES).glob("*")):
            _fill(source, _volume(config, source.name))
        results = room / "state" / "results.json"
        if results.is_file() and not (config.state / results.name).exists():
            shutil.copy2(results, config.state / results.name)


def _volume(config: Config, name: str) -> Path:
    """Where the data of a volume lie that Compose is to take for its own; made when it is not there."""
    labels = {"project": config.app, "volume": name.removeprefix(f"{config.app}_")}
    words = [word for key, value in labels.items() for word in ("--label", f"com.docker.compose.{key}={value}")]
    if essentials.mountpoint(name) is None:
        process.run(["docker", "volume", "create", *words, name], deadline=60)
    place = essentials.mountpoint(name)
    if place is None:
        raise Failure(f"volume {name} cannot be made")
    return place


def _fill(source: Path, target: Path) -> None:
    """Copy a tree, links as links, without replacing anything."""
    for base, folders, names in os.walk(source):
        there = target / Path(base).relative_to(source)
        if not there.is_dir():
            there.mkdir(parents=True)
            shutil.copystat(base, there)
        for name in [*names, *(each for each in folders if (Path(base) / each).is_symlink())]:
            if not os.path.lexists(there / name):
                _copy(Path(base) / name, there / name)


def _copy(source: Path, target: Path) -> None:
    about: Any = source.lstat()
    shutil.copy2(source, target, follow_symlinks=False)
    os.chown(target, about.st_uid, about.st_gid, follow_symlinks=False)
