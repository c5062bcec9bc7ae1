"""What PostgreSQL is to be restored from: found, unpacked and proven before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host.backup import carried, catalog, client, past, recognise, sql
from host.backup.policy import Policy
from host.config import Config
from host.errors import Failure, Status, one_line
from host.events import Step

SERVICE = "postgres"
_DEADLINE = 12 * 3600.0  # seconds for one file
_DBNAME = re.compile(r"^;\s+dbname: (.*)$", re.M)
_DUMPED = re.compile(r"^;\s+Dumped from database version: (\S+)", re.M)


@dataclass
class Source:
    """What is to be restored: the dump of each database (name, where, as what), and the manifest when it is ours.

    With `anew` settings and grants of the databases are those of the backup too, and not those of the live ones.
    """

    name: str
    taken: float | None
    parts: list[tuple[str, Path, str]] = field(default_factory=list)
    manifest: dict[str, Any] | None = None
    globals: Path | None = None
    anew: bool = False

    def described(self, database: str) -> dict[str, Any] | None:
        """What the manifest says of a database."""
        found = (self.manifest or {}).get("databases") or []
        return next((each for each in found if each["name"] == database), None)


@contextmanager
def opened(config: Config, policy: Policy, name: str, step: Step, *, other: bool) -> Iterator[Source]:
    """Find and prove what is to be restored: a backup's id, "latest", a path, or a moment ("at:<Unix time>"). Raises
    Failure (REFUSED) for what is damaged, of another application, another version or another database (unless
    `other`), and for a moment that cannot be had. Changes nothing.
    """
    with catalog.scratch(config) as room:
        if name.startswith(past.PREFIX):
            with past.dumped(config, policy, name, room, step) as found:
                then = past.moment_of(name)
                yield _parts(past.told(then), then, room / "dump", found)
        elif name == "latest" or catalog.is_id(name):
            yield _ours(carried.proven(config, catalog.find(config, SERVICE, name)))
        else:
            path = Path(name)
            if not path.is_absolute():
                raise Failure(f"there is no backup called {name}", hint="see: fab backup.list", status=Status.REFUSED)
            path = recognise.real(path)
            recognise.fits(path, room)
            backup = carried.found(config, SERVICE, path, room)
            yield _ours(backup) if backup else _theirs(config, policy, path, room, other=other)


def _ours(backup: catalog.Backup) -> Source:
    return _parts(backup.id, backup.taken, backup.path, backup.manifest)


def _parts(name: str, taken: float, place: Path, manifest: dict[str, Any]) -> Source:
    parts = [(each["name"], place / each["directory"], "directory") for each in manifest["databases"]]
    return Source(name, taken, parts, manifest, place / "globals.sql")


def _theirs(config: Config, policy: Policy, path: Path, room: Path, *, other: bool) -> Source:
    server = client.server(config, SERVICE)
    major = int(sql.run(server.id, policy.user, policy.database, "SHOW server_version_num;")) // 10000
    kind, place = _unwrapped(config, path, room)
    if kind == "rdb":
        raise recognise.refuse(path, "is a dump of Redis", "fab restore.redis")
    if kind == "plain":
        recognise.check_plain(place, major)
    else:
        listing = _pg_restore(config, place, ["-l"])
        if found := _DUMPED.search(listing):
            recognise.check_version(path, found[1], major)
        named = _DBNAME.search(listing)
        if named and named[1].strip() != policy.database and not other:
            raise recognise.refuse(path, f"is a dump of the database {named[1].strip()}, not of {policy.database}",
                                   "--other-database takes it nevertheless")  # fmt: skip
        _pg_restore(config, place, ["-f", "/dev/null"])
    return Source(str(path), path.stat().st_mtime, [(policy.database, place, kind)])


def _unwrapped(config: Config, path: Path, room: Path) -> tuple[str, Path]:
    """What is in it and where that lies, unpacked into `room` if need be."""
    found, place = recognise.look(path), path
    if found.packed:
        place = room / "unpacked"
        if found.packed == "gzip":
            recognise.unzip(path, place)
        else:
            _unzstd(config, path, place)
        found = recognise.look(place)
        if found.packed:
            raise recognise.refuse(path, "is packed twice")
    if found.kind == "tar":
        inside = room / "directory"
        inside.mkdir(mode=0o700)
        directory = recognise.unpack_tar(place, inside)
        return ("directory", directory) if directory else ("tar", place)
    return found.kind, place


def _unzstd(config: Config, path: Path, target: Path) -> None:
    words = ["zstd", "-d", "-q", "-f", f"/in/{path.name}", "-o", f"/out/{target.name}"]
    server = client.server(config, SERVICE)
    done = client.beside(config, server, words, purpose="restore", deadline=_DEADLINE, check=False,
                         mounts={path.parent: "/in:ro", target.parent: "/out"},
                         tick=lambda: recognise.room(path, target.parent))  # fmt: skip
    if done.status in (126, 127):
        raise recognise.refuse(path, "is compressed with zstd, which the image lacks", "unpack it first: zstd -d")
    if done.status != 0:
        raise recognise.refuse(path, "is damaged or cut off: it cannot be unpacked to its end")


def _pg_restore(config: Config, place: Path, words: Sequence[str]) -> str:
    server = client.server(config, SERVICE)
    done = client.beside(config, server, ["pg_restore", *words, f"/in/{place.name}"], purpose="restore",
                         mounts={place.parent: "/in:ro"}, deadline=_DEADLINE, check=False)  # fmt: skip
    if done.status != 0:
        raise recognise.refuse(place, f"cannot be read: {one_line(done.last_line)}")
    return done.text


def size(place: Path) -> int:
    """Bytes of a dump, be it a file or a directory."""
    return sum(path.stat().st_size for path in catalog.files_of(place)) if place.is_dir() else place.stat().st_size
