"""Drills: the newest backup restored into a throwaway server, and what is in it counted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from host.backup import (
    BASE,
    base,
    catalog,
    census,
    client,
    copies,
    essentials,
    loading,
    metrics,
    postgres,
    rdb,
    recognise,
    recovery,
    redis,
    sql,
    swap,
    wal,
)
from host.backup.catalog import Backup
from host.backup.policy import Policy
from host.backup.policy import load as policy_of
from host.config import Config
from host.errors import Failure, Status, as_failure
from host.events import Journal, Step

_KEEP = 10  # results of drills a manifest has
_MEMORY = 1 << 30  # bytes at most for the throwaway server
_DEADLINE = 12 * 3600.0  # seconds
_ASSERTION = 600.0  # seconds for one of the user's
_FAST = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off", "-c", "wal_level=minimal",
         "-c", "max_wal_senders=0"]  # fmt: skip


def drill(config: Config, kinds: Sequence[str], journal: Journal) -> dict[str, object]:
    """Restore the newest backup of each kind away from everything, and note in its manifest how that went.

    Returns {"drills": [results], "message"}. Raises Failure (UNHEALTHY) when one does not restore.
    """
    policy = policy_of(config)
    client.sweep(config)
    done, failed = [], []
    for kind in kinds:
        backup = catalog.find(config, kind, "latest")
        with journal.step("drill", f"restoring {kind} {backup.id} into a throwaway server") as step:
            result = _one(config, policy, backup, _source(config, policy, backup), step)
            kept = (backup.manifest.get("drills") or [])[-_KEEP + 1 :]
            catalog.note(backup, drills=[*kept, result])
            done.append({"kind": kind, "id": backup.id, **result})
            if result["ok"]:
                step.done(f"{kind} {backup.id} restores: {result['seconds']} s")
            else:
                failed.append(f"{kind} {backup.id}: {result['cause']}")
                step.done(f"{kind} {backup.id} does NOT restore: {result['cause']}")
    metrics.write(config)
    if failed:
        raise Failure(f"a backup does not restore: {failed[0]}", hint="make a new one: fab backup",
                      status=Status.UNHEALTHY, data={"drills": done})  # fmt: skip
    return {"drills": done, "message": f"{len(done)} restored and compared"}


def _source(config: Config, policy: Policy, backup: Backup) -> str:
    """Where the drill takes the backup from: the remote that has a copy and was not tried for longest, or "local"."""
    tried: dict[str, float] = {}
    for each in catalog.backups(config, backup.kind):
        for drill in each.manifest.get("drills") or []:
            tried[str(drill.get("source"))] = max(tried.get(str(drill.get("source")), 0.0), float(drill["at"]))
    there = [url for url in policy.remotes if backup.kind != BASE and copies.status(backup, url).get("ok")]
    return min(there, key=lambda url: tried.get(url, 0.0), default="local")


def _one(config: Config, policy: Policy, backup: Backup, source: str, step: Step) -> dict[str, Any]:
    began = time.monotonic()
    result: dict[str, Any] = {"at": time.time(), "source": source, "data_age": round(time.time() - backup.taken)}
    try:
        if source == "local":
            catalog.check(backup.path, backup.manifest)
            result |= _try(config, policy, backup, step)
        else:
            with copies.fetched(config, policy, source, backup.kind, backup.id) as copy:
                result |= _try(config, policy, copy, step)
        result |= {"ok": True, "cause": ""}
    except Exception as error:
        result |= {"ok": False, "cause": as_failure(error, "the drill").cause}
    return {**result, "seconds": round(time.monotonic() - began, 1)}


def _try(config: Config, policy: Policy, backup: Backup, step: Step) -> dict[str, Any]:
    """Raise Failure unless it restores; returns what else is to be said of that."""
    if backup.kind == BASE:
        return _base(config, policy, backup, step)
    if backup.kind == "postgres":
        _postgres(config, policy, backup)
    elif backup.kind == "redis":
        rdb.enough(backup.manifest, rdb.tried(config, backup.path / redis.FILE))
    else:
        with catalog.scratch(config) as room:
            essentials.unpack(backup.path, room)
            if not (room / "releases" / backup.manifest["release"] / "manifest.json").is_file():
                raise Failure("the release is not in it")
    return {}


def _base(config: Config, policy: Policy, backup: Backup, step: Step) -> dict[str, Any]:
    """Go to the end of the log: what has been committed until now has to be there, and every table to be read.

    What could be lost is what has not arrived yet: the age of the data is how long that took.
    """
    base.require(policy)
    moment, arrival = wal.mark(config, policy)
    with (
        catalog.scratch(config) as room,
        recovery.recovered(config, policy, backup, room, moment=None, step=step) as server,
    ):
        if server.reached < moment:
            raise Failure(f"the log of changes leads to {recovery.written(server.reached)[:19]}+00 and not to now")
        container = client.of_id(server.container, postgres.SERVICE)
        for each in postgres.databases(container, policy):
            census.of(server.container, policy.user, each["name"])
        return {"data_age": arrival}


def _postgres(config: Config, policy: Policy, backup: Backup) -> None:
    image = client.server(config, "postgres").image_id
    size = sum(int(each["bytes"]) for each in backup.manifest["databases"])
    folder = Path("/var/lib/docker")
    if shutil.disk_usage(folder).free < size + (1 << 30):
        raise Failure(f"no room for a drill: it needs {size >> 20} MB and 1 GB to spare")
    options = ["--user", "999:999", "--tmpfs", "/tmp", "--tmpfs", "/run/postgresql:uid=999,gid=999,mode=0755",  # noqa: S108
               "-v", "/var/lib/postgresql/data", "--shm-size", "128m", "-e", f"POSTGRES_USER={policy.user}",
               "-e", "POSTGRES_HOST_AUTH_METHOD=trust", "-e", "PGDATA=/var/lib/postgresql/data/drill",
               "-e", "POSTGRES_INITDB_ARGS=--data-checksums"]  # fmt: skip
    name = client.start(config, image, ["postgres", *_FAST], purpose="drill", options=options, memory=_MEMORY)
    try:
        ready = ["docker", "exec", name, "pg_isready", "-q", "-h", "127.0.0.1", "-U", policy.user]
        sql.wait_for(ready, 120, "the throwaway server")
        server = swap.Server(name, policy.user)
        loading.roles(server, backup.manifest["roles"], backup.path / "globals.sql")
        for number, each in enumerate(backup.manifest["databases"]):
            _restored(config, policy, backup, server, told=each, database=f"drill{number}")
    finally:
        client.clear(config, "drill")


def _restored(
    config: Config, policy: Policy, backup: Backup, server: swap.Server, *, told: dict[str, Any], database: str
) -> None:
    exchange, name = swap.Exchange(database, database, ""), server.container
    server.run(loading.creation(server, policy, exchange, told))
    container = client.of_id(name, "postgres")
    words = ["pg_restore", "--exit-on-error", "-j", str(postgres.jobs()), "-h", "127.0.0.1", "-U", policy.user, "-d",
             database, f"/in/{told['directory']}"]  # fmt: skip
    done = client.beside(config, container, words, purpose="restore", mounts={backup.path: "/in:ro"},
                         deadline=_DEADLINE, check=False)  # fmt: skip
    if done.status != 0:
        raise recognise.refuse(backup.path, f"does not load: {sql.told(done.stderr) or done.last_line}")
    found = census.of(name, policy.user, database)
    if different := [*census.differences(told, found), *census.lost(told, found)]:
        raise Failure(f"what was restored differs: {different[0]}")
    if told["name"] == policy.database:
        for assertion in policy.assertions:
            said = sql.run(name, policy.user, database, assertion, deadline=_ASSERTION).split()
            if not said or set(said) != {"t"}:
                raise Failure(f"this does not hold of what was restored: {assertion}")
