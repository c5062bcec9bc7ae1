"""Restoring Redis: its log is replaced by one that begins with the backup, and what was there is set aside."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host import compose, durable, health, process
from host.backup import client, essentials, rdb, redis
from host.backup.policy import Policy
from host.backup.rdb import SERVICE
from host.backup.window import Window, closed, reopen, well
from host.config import Config
from host.errors import Failure, Status
from host.events import Journal

_START = 600.0  # seconds to load the data
_WELL = 30.0  # seconds the application gets to be well on the restored data
_STOP = 120.0  # seconds
_LOG, _BASE, _NAMES = "appendonlydir", "appendonly.aof.1.base.rdb", "appendonly.aof.manifest"
# The form Redis 7 and later keep its log in: a base and what came after it; here nothing has yet.
_MANIFEST = f"file {_BASE} seq 1 type b\n"
_KEPT, MARK = "restored-redis.json", "restoring-redis.json"
_SET_ASIDE, _LAID_OUT = (re.compile(rf"\.{word}-\d{{8}}T\d{{6}}Z") for word in ("before", "restore"))
_LOOPS = 3  # restarts after which it is not going to make it
_LIVE = (_LOG, "dump.rdb")


def inspect(config: Config, name: str) -> dict[str, Any]:
    """What would be restored and what it would replace, for a person to agree to. Raises as `opened`."""
    live = redis.describe(config)
    with rdb.opened(config, name) as (label, taken, path, counted):
        chosen = name if name.startswith("/") else label  # by a path it is asked for again, not by what is in it
        return {"source": chosen, "label": label, "taken": taken, "database": config.app, "bytes": path.stat().st_size,
                "keys": counted["keys"], "live_keys": live["keys"], "live_bytes": live["bytes"],
                "now": time.time()}  # fmt: skip


def restore(config: Config, policy: Policy, name: str, journal: Journal, *, by: str) -> dict[str, object]:
    """Restore. Returns {"window": seconds, "source", "message"}. Raises Failure, and then the old data serve on."""
    client.sweep(config)
    repair(config, journal)
    data = _volume(config)
    moment = _stamp()
    fresh, kept = data / f".restore-{moment}", data / f".before-{moment}"
    with rdb.opened(config, name) as (label, _, path, counted):
        if redis.ask(config, "CONFIG", "GET", "appendonly").split()[-1:] != ["yes"]:
            raise Failure("Redis runs without its log (appendonly no)", hint="set it to yes", status=Status.REFUSED)
        free, need = shutil.disk_usage(data).free, path.stat().st_size + (64 << 20)
        if free < need:
            raise Failure(f"no room beside the live data: need {need >> 20} MB, have {free >> 20} MB in {data}",
                          hint="free some: docker system df", status=Status.REFUSED)  # fmt: skip
        with journal.step("try", "loading it into a server of its own first") as step:
            there = rdb.tried(config, path)
            rdb.enough(counted, there)
            step.done(f"{there} keys")
        was_well = well(config, SERVICE, 0)
        with _marked(config, fresh, kept, journal):
            _lay_out(data, fresh, path)
            window = _exchange(config, data, fresh, kept, journal, by=by, counted=counted)
            if not well(config, SERVICE, _WELL) and was_well:
                raise Failure("the application is not well on the restored data: the old ones serve again",
                              hint="look at its log, then try another", status=Status.UNHEALTHY)  # fmt: skip
            _remember(config, policy, kept.name, label)
    _tidy(config, data)
    return {"window": window.seconds, "source": label,
            "message": f"{label} serves; nobody was served for {window.seconds:.2f} s"}  # fmt: skip


def undo(config: Config, policy: Policy, journal: Journal, *, by: str) -> dict[str, object]:
    """Bring back what the last restore replaced; doing it again brings the restored data back. Raises Failure."""
    repair(config, journal)
    known, data = kept_now(config), _volume(config)
    if known is None or not (data / str(known["kept"])).is_dir():
        raise Failure("there is no restore of Redis to undo", hint="fab backup.list", status=Status.REFUSED)
    fresh, kept = data / str(known["kept"]), data / f".before-{_stamp()}"
    with _marked(config, fresh, kept, journal):
        window = _exchange(config, data, fresh, kept, journal, by=by, counted={})
        well(config, SERVICE, _WELL)
        _remember(config, policy, kept.name, str(known["source"]))
    _tidy(config, data)
    return {"window": window.seconds, "message": f"what the restore of {known['source']} had replaced serves"}


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _volume(config: Config) -> Path:
    data = essentials.volume(config, "redis_data")
    if data is None:
        raise Failure("there is no volume for Redis", hint="fab deploy")
    return data


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


def _exchange(
    config: Config, data: Path, fresh: Path, kept: Path, journal: Journal, *, by: str, counted: Mapping[str, int]
) -> Window:
    """Stop the server, give it what is in `fresh`, put what it had into `kept`, start it, and see that it has it."""
    with journal.step("exchange", "exchanging the data") as step:
        with closed(config, by) as window:
            _stop(config)
            kept.mkdir(mode=0o700)
            os.chown(kept, data.stat().st_uid, data.stat().st_gid)
            _move(data, kept)
            _move(fresh, data)
            fresh.rmdir()
            durable.sync_directory(data)
            _start(config)
            there = _loaded(config)
            rdb.enough(counted, there)
        step.done(f"{there} keys, {window.seconds:.2f} s without service", window=window.seconds)
    return window


def _container(config: Config) -> compose.Container:
    found = health.of_service(compose.containers(config), SERVICE)
    if found is None:
        raise Failure("redis has no container", hint="fab deploy")
    return found


def _stop(config: Config) -> None:
    """Stop the server. Raises Failure unless it stands still: nobody may move files under it."""
    process.run(["docker", "stop", _container(config).id], deadline=_STOP)
    if (state := _container(config).state) == "running":
        raise Failure(f"redis does not stop ({state})", hint="look at: docker ps -a")


def _start(config: Config) -> None:
    process.run(["docker", "start", _container(config).id], deadline=60)


def _move(source: Path, target: Path) -> None:
    for word in _LIVE:
        if (source / word).exists():
            (source / word).rename(target / word)


def _loaded(config: Config) -> int:
    """Wait until the server has loaded what it was given; returns its keys. Raises Failure when it does not."""
    ends = time.monotonic() + _START
    while True:
        try:
            about = redis.info(config)
        except Failure:
            about = {}
        if about.get("loading") == "0" and about.get("aof_enabled") == "1":
            return sum(redis.keyspace(about).values())
        if time.monotonic() > ends or _container(config).restarts > _LOOPS:
            raise Failure("Redis did not come up with its data", hint="fab health", status=Status.UNHEALTHY)
        time.sleep(0.05)


def kept_now(config: Config) -> dict[str, Any] | None:
    """What can be undone: {"at", "until", "source", "kept": name in the volume}, or None."""
    value = durable.read_json(config.state / _KEPT)
    return value if isinstance(value, dict) and _SET_ASIDE.fullmatch(str(value.get("kept"))) else None


def _remember(config: Config, policy: Policy, kept: str, source: str) -> None:
    """From here on the exchange has happened, and can be undone."""
    now = time.time()
    durable.write_json(
        config.state / _KEPT, {"at": now, "until": now + policy.undo_seconds, "source": source, "kept": kept}
    )


def expire(config: Config, _policy: Policy) -> list[str]:
    """Remove what the last restore replaced when its time is up; returns the names."""
    kept = kept_now(config)
    if kept is None or time.time() < float(kept["until"]):
        return []
    shutil.rmtree(_volume(config) / str(kept["kept"]), ignore_errors=True)
    (config.state / _KEPT).unlink(missing_ok=True)
    return [str(kept["kept"])]


@contextmanager
def _marked(config: Config, fresh: Path, kept: Path, journal: Journal) -> Iterator[None]:
    """While the block runs, whatever ends it too soon brings the old data back: here, after a kill, or at boot."""
    durable.write_json(config.state / MARK, {"fresh": fresh.name, "kept": kept.name})
    try:
        yield
    except BaseException:
        repair(config, journal)
        raise
    _unmark(config)


def _unmark(config: Config) -> None:
    (config.state / MARK).unlink(missing_ok=True)
    durable.sync_directory(config.state)


def repair(config: Config, journal: Journal) -> None:
    """End what was cut off: the old data in their place. The caller holds the host's lock."""
    data = essentials.volume(config, "redis_data")
    if data is None:
        return
    mark = durable.read_json(config.state / MARK)
    if isinstance(mark, dict):
        kept, fresh = data / str(mark["kept"]), data / str(mark["fresh"])
        if kept.is_dir() and kept.name != (kept_now(config) or {}).get("kept"):
            journal.warn("going back: the data Redis had before serve again")
            _put_back(config, data, kept, fresh)
        _start(config)  # it may have been stopped and nothing moved yet
        reopen(config)
        _unmark(config)
    _tidy(config, data)


def _put_back(config: Config, data: Path, kept: Path, fresh: Path) -> None:
    """What is in `kept` in its place again, and what has its place in `fresh`. Each part was moved or was not, and a
    part that never was in `kept` never left its place."""
    _stop(config)
    fresh.mkdir(mode=0o700, exist_ok=True)
    for word in _LIVE:
        if (kept / word).exists():
            if (data / word).exists():
                (data / word).rename(fresh / word)
            (kept / word).rename(data / word)
    kept.rmdir()
    durable.sync_directory(data)


def _tidy(config: Config, data: Path) -> None:
    """Remove what a restore laid out and did not use, and what was set aside before what can be undone now."""
    kept = (kept_now(config) or {}).get("kept")
    for path in data.iterdir():
        if _LAID_OUT.fullmatch(path.name) or (kept and _SET_ASIDE.fullmatch(path.name) and path.name < str(kept)):
            shutil.rmtree(path, ignore_errors=True)
