"""Restoring Redis: its log is replaced by one that begins with the backup, and what was there is set aside."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host import durable, process
from host.backup import catalog, client, essentials, recognise, redis
from host.backup.policy import Policy
from host.backup.window import closed, reopen, well
from host.config import Config
from host.errors import Failure, Status, one_line
from host.events import Journal

SERVICE = "redis"
_START = 600.0  # seconds to load the data
_WELL = 30.0  # seconds the application gets to be well on the restored data
_STOP = 120.0  # seconds
_LOG, _BASE, _NAMES = "appendonlydir", "appendonly.aof.1.base.rdb", "appendonly.aof.manifest"
# The form Redis 7 and later keep its log in: a base and what came after it; here nothing has yet.
_MANIFEST = f"file {_BASE} seq 1 type b\n"
_KEPT, MARK = "restored-redis.json", "restoring-redis.json"
_LIVE = (_LOG, "dump.rdb")


@contextmanager
def opened(config: Config, name: str) -> Iterator[tuple[str, float | None, Path, dict[str, Any]]]:
    """Find and prove what is to be restored: name, time, RDB file, and what redis-check-rdb counted in it.

    Raises Failure (REFUSED) for what is damaged, or no RDB file, or of another application. Changes nothing.
    """
    room = catalog.scratch(config)
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(mode=0o700, parents=True)
    try:
        if name == "latest" or catalog.is_id(name):
            backup = catalog.find(config, SERVICE, name)
            if backup.manifest.get("app") != config.app:
                raise Failure(f"backup {backup.id} is of {backup.manifest.get('app')}", status=Status.REFUSED)
            catalog.check(backup.path, backup.manifest)
            label, taken, path = backup.id, backup.taken, backup.path / redis.FILE
        else:
            label, taken, path = name, None, _given(Path(name), room)
        yield label, taken, path, _counted(config, path)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _given(path: Path, room: Path) -> Path:
    if not path.is_absolute():
        raise Failure(f"there is no backup called {path}", hint="see: fab backup.list", status=Status.REFUSED)
    if path.is_dir() and (path / redis.FILE).is_file():
        return _given(path / redis.FILE, room)
    if path.is_file():
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        if packed:
            target = room / redis.FILE
            try:
                with gzip.open(path) as source, target.open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
            except (EOFError, zlib.error, gzip.BadGzipFile):
                raise recognise.refuse(path, "is damaged or cut off: it cannot be unpacked to its end") from None
            path = target
    found = recognise.look(path)
    if found.kind != "rdb":
        raise recognise.refuse(path, "is not an RDB file of Redis")
    return path


def _counted(config: Config, path: Path) -> dict[str, Any]:
    server = client.server(config, SERVICE)
    done = client.beside(config, server, ["redis-check-rdb", f"/in/{path.name}"], purpose="restore",
                         mounts={path.parent: "/in:ro"}, deadline=3600, check=False)  # fmt: skip
    if done.status != 0:
        raise recognise.refuse(path, f"is damaged: {one_line(done.last_line)}")
    return {**redis.counted(done.text), "rdb": redis.version(path)}


def inspect(config: Config, name: str) -> dict[str, Any]:
    """What would be restored and what it would replace, for a person to agree to. Raises as `opened`."""
    live = redis.describe(config)
    with opened(config, name) as (label, taken, path, counted):
        return {"source": label, "taken": taken, "database": config.app, "bytes": path.stat().st_size,
                "keys": counted["keys"], "live_keys": live["keys"], "live_bytes": live["bytes"],
                "now": time.time()}  # fmt: skip


def restore(config: Config, policy: Policy, name: str, journal: Journal, *, by: str) -> dict[str, object]:
    """Restore. Returns {"window": seconds, "message"}. Raises Failure, and then the old data serve on."""
    client.sweep(config)
    repair(config, journal)
    data = essentials.volume(config, "redis_data")
    if data is None:
        raise Failure("there is no volume for Redis", hint="fab deploy")
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    with opened(config, name) as (label, _, path, counted):
        if redis.ask(config, "CONFIG", "GET", "appendonly").split()[-1:] != ["yes"]:
            raise Failure("Redis runs without its log (appendonly no)", hint="set it to yes", status=Status.REFUSED)
        free, need = shutil.disk_usage(data).free, path.stat().st_size + (64 << 20)
        if free < need:
            raise Failure(f"no room beside the live data: need {need >> 20} MB, have {free >> 20} MB in {data}",
                          hint="free some: docker system df", status=Status.REFUSED)  # fmt: skip
        with journal.step("try", "loading it into a server of its own first") as step:
            step.done(f"{tried(config, path)} keys")
        fresh, kept = data / f".restore-{moment}", data / f".before-{moment}"
        with journal.step("exchange", "exchanging the data") as step:
            was_well = well(config, SERVICE, 0)
            _lay_out(data, fresh, path)
            durable.write_json(config.state / MARK, {"fresh": fresh.name, "kept": kept.name})
            try:
                with closed(config, by) as window:
                    _turn(config, data, fresh, kept)
                    _prove(config, counted["keys"])
                if was_well and not well(config, SERVICE, _WELL):
                    raise Failure(
                        "the application is not well on the restored data", hint="look at its log, then try another",
                        status=Status.UNHEALTHY,
                    )  # fmt: skip
            except BaseException:
                repair(config, journal)
                raise
            step.done(f"{counted['keys']} keys, {window.seconds:.2f} s without service", window=window.seconds)
    _remember(config, policy, data, kept.name, label)
    return {"window": window.seconds, "source": label,
            "message": f"{label} serves; nobody was served for {window.seconds:.2f} s"}  # fmt: skip


def tried(config: Config, path: Path) -> int:
    """Load the file into a server of the same image without network; returns its keys. Raises Failure (REFUSED)."""
    server = client.server(config, SERVICE)
    memory = max(256 << 20, path.stat().st_size * 12)
    options = [
        "--user",
        "0:0",
        "--tmpfs",
        "/data",
        "-v",
        f"{path.parent}:/in:ro",
        "--workdir",
        "/tmp",  # noqa: S108
        "--entrypoint",
        "redis-server",
    ]
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


def _lay_out(data: Path, fresh: Path, path: Path) -> None:
    """The log of a server that has just this file, beside the live one, complete and on the disk."""
    owner = data.stat()
    log = fresh / _LOG
    log.mkdir(mode=0o700, parents=True)
    shutil.copyfile(path, log / _BASE)
    (log / _NAMES).write_text(_MANIFEST)
    for each in (fresh, log, log / _BASE, log / _NAMES):
        os.chown(each, owner.st_uid, owner.st_gid)
        handle = os.open(each, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    durable.sync_directory(data)


def _turn(config: Config, data: Path, fresh: Path, kept: Path) -> None:
    """Stop the server, give it what is in `fresh`, put what it had into `kept`, start it."""
    name = client.server(config, SERVICE).name
    process.run(["docker", "stop", name], deadline=_STOP)
    kept.mkdir(mode=0o700)
    os.chown(kept, data.stat().st_uid, data.stat().st_gid)
    _move(data, kept)
    _move(fresh, data)
    fresh.rmdir()
    durable.sync_directory(data)
    process.run(["docker", "start", name], deadline=60)


def _move(source: Path, target: Path) -> None:
    for word in _LIVE:
        if (source / word).exists():
            (source / word).rename(target / word)


def _prove(config: Config, keys: int) -> None:
    """Return when the server has loaded them. Raises Failure when it has others, or none."""
    ends = time.monotonic() + _START
    while True:
        try:
            about = redis.info(config)
        except Failure:
            about = {}
        if about.get("loading") == "0":
            break
        if time.monotonic() > ends:
            raise Failure("Redis did not come up with the restored data", hint="fab health", status=Status.UNHEALTHY)
        time.sleep(0.05)
    there = sum(redis.keyspace(about).values())
    if about.get("aof_enabled") != "1" or (keys and there == 0):
        raise Failure(f"Redis has {there} keys instead of {keys}", hint="fab health", status=Status.UNHEALTHY)


def kept_now(config: Config) -> dict[str, Any] | None:
    """What can be undone: {"at", "until", "source", "kept": name in the volume}, or None."""
    value = durable.read_json(config.state / _KEPT)
    return value if isinstance(value, dict) else None


def _remember(config: Config, policy: Policy, data: Path, kept: str, source: str) -> None:
    earlier, now = kept_now(config), time.time()
    durable.write_json(
        config.state / _KEPT, {"at": now, "until": now + policy.undo_seconds, "source": source, "kept": kept}
    )
    (config.state / MARK).unlink(missing_ok=True)
    if earlier and _ours(str(earlier["kept"])):
        shutil.rmtree(data / str(earlier["kept"]), ignore_errors=True)


def _ours(name: str) -> bool:
    return re.fullmatch(r"\.(before|restore)-\d{8}T\d{6}Z", name) is not None


def undo(config: Config, policy: Policy, journal: Journal, *, by: str) -> dict[str, object]:
    """Bring back what the last restore replaced; doing it again brings the restored data back. Raises Failure."""
    known, data = kept_now(config), essentials.volume(config, "redis_data")
    if known is None or data is None or not _ours(str(known["kept"])) or not (data / str(known["kept"])).is_dir():
        raise Failure("there is no restore of Redis to undo", hint="fab backup.list", status=Status.REFUSED)
    fresh = data / str(known["kept"])
    kept = data / f".before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    with journal.step("exchange", "exchanging the data") as step:
        durable.write_json(config.state / MARK, {"fresh": fresh.name, "kept": kept.name, "undo": True})
        with closed(config, by) as window:
            _turn(config, data, fresh, kept)
            _prove(config, 0)
        well(config, SERVICE, _WELL)
        step.done(f"{window.seconds:.2f} s without service")
    _remember(config, policy, data, kept.name, str(known["source"]))
    return {"window": window.seconds, "message": f"the keys from before the restore of {known['source']} serve again"}


def repair(config: Config, journal: Journal) -> None:
    """End what a restore that was cut off left: the old data in their place. The caller holds the host's lock."""
    mark = durable.read_json(config.state / MARK)
    data = essentials.volume(config, "redis_data")
    if data is None:
        return
    remembered = str((kept_now(config) or {}).get("kept", ""))
    if isinstance(mark, dict) and _ours(str(mark["kept"])):
        kept, fresh = data / str(mark["kept"]), data / str(mark["fresh"])
        if kept.is_dir():
            journal.warn("a restore of Redis was cut off: the data from before it serve again")
            _put_back(config, data, kept, fresh if mark.get("undo") else data / ".discarded")
        elif not mark.get("undo"):
            shutil.rmtree(fresh, ignore_errors=True)
        (config.state / MARK).unlink(missing_ok=True)
        reopen(config)
    for path in data.iterdir():
        if path.name == ".discarded" or (_ours(path.name) and path.name != remembered):
            shutil.rmtree(path, ignore_errors=True)


def _put_back(config: Config, data: Path, kept: Path, aside: Path) -> None:
    """What is in `kept` in its place again, what is in its place in `aside`. Each part was moved or was not."""
    name = f"{config.app}-{SERVICE}-1"
    process.run(["docker", "stop", name], deadline=_STOP, check=False)
    aside.mkdir(mode=0o700, exist_ok=True)
    for word in _LIVE:
        if (kept / word).exists():
            if (data / word).exists():
                (data / word).rename(aside / word)
            (kept / word).rename(data / word)
    kept.rmdir()
    durable.sync_directory(data)
    process.run(["docker", "start", name], deadline=60, check=False)
