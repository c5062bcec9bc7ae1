"""What Redis is to be restored from: an RDB file, found, unpacked and proven before anything is changed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from host import process
from host.backup import carried, catalog, client, recognise, redis
from host.backup.catalog import Backup
from host.config import Config
from host.errors import Failure, Status, one_line

SERVICE = "redis"
_START = 600.0  # seconds to load the data


@contextmanager
def opened(config: Config, name: str) -> Iterator[tuple[str, float | None, Path, dict[str, int]]]:
    """Find and prove what is to be restored: name, time, RDB file, and what redis-check-rdb counted in it.

    Raises Failure (REFUSED) for what is damaged, or no RDB file, or of another application. Changes nothing.
    """
    with catalog.scratch(config) as room:
        backup, path = _found(config, name, room)
        label, taken = (backup.id, backup.taken) if backup else (name, None)
        yield label, taken, path, _counted(config, path)


def _found(config: Config, name: str, room: Path) -> tuple[Backup | None, Path]:
    """The backup that is meant, None for a file of somebody else's, and the RDB file."""
    if name == "latest" or catalog.is_id(name):
        backup = carried.proven(config, catalog.find(config, SERVICE, name))
        return backup, backup.path / redis.FILE
    if not Path(name).is_absolute():
        raise Failure(f"there is no backup called {name}", hint="see: fab backup.list", status=Status.REFUSED)
    given = recognise.real(Path(name))
    found = carried.found(config, SERVICE, given, room)
    return found, found.path / redis.FILE if found else _given(given, room)


def _given(path: Path, room: Path) -> Path:
    if path.is_dir() and (path / redis.FILE).is_file():
        return _given(path / redis.FILE, room)
    found = recognise.look(path)
    if found.packed == "gzip":
        recognise.room(path, room, path.stat().st_size)
        target = room / redis.FILE
        recognise.unzip(path, target)
        path, found = target, recognise.look(target)
    if found.kind != "rdb":
        raise recognise.refuse(path, "is not an RDB file of Redis")
    return path


def _counted(config: Config, path: Path) -> dict[str, int]:
    server = client.server(config, SERVICE)
    done = client.beside(config, server, ["redis-check-rdb", f"/in/{path.name}"], purpose="restore",
                         mounts={path.parent: "/in:ro"}, deadline=3600, check=False)  # fmt: skip
    if done.status != 0:
        raise recognise.refuse(path, f"is damaged: {one_line(done.last_line)}")
    return redis.counted(done.text)


def enough(counted: Mapping[str, int], there: int) -> None:
    """Raise Failure when a server has fewer keys than a file of which `counted` was said can have left it with: those
    that do not expire."""
    least = counted.get("keys", 0) - counted.get("expires", 0)
    if there < least:
        raise Failure(f"Redis has {there} keys instead of at least {least}", hint="take another: fab backup.list",
                      status=Status.UNHEALTHY)  # fmt: skip


def tried(config: Config, path: Path) -> int:
    """Load the file into a server of the same image without network; returns its keys. Raises Failure (REFUSED)."""
    server = client.server(config, SERVICE)
    memory = max(256 << 20, path.stat().st_size * 12)
    options = ["--user", "0:0", "--tmpfs", "/data", "-v", f"{path.parent}:/in:ro", "--workdir", "/in"]
    options += ["--entrypoint", "redis-server"]
    words = ["--dir", "/in", "--dbfilename", path.name, "--save", "", "--appendonly", "no", "--port", "6379"]
    name = client.start(config, server.image_id, words, purpose="try", options=options, memory=memory)
    try:
        ends = time.monotonic() + _START
        while True:
            done = client.inside(name, ["redis-cli", "INFO", "everything"], deadline=60, check=False)
            about = redis.parse_info(done.text)
            if about.get("loading") == "0":
                return sum(redis.keyspace(about).values())
            if "is not running" in done.stderr or "No such container" in done.stderr:
                said = process.run(["docker", "logs", "--tail", "5", name], deadline=30, check=False)
                raise recognise.refuse(path, f"does not load: {one_line(said.last_line)}")
            if time.monotonic() > ends:
                raise recognise.refuse(path, "did not load in time")
            time.sleep(0.1)
    finally:
        client.clear(config, "try")
