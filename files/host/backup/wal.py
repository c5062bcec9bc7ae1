"""PostgreSQL's log of changes (WAL), kept as it is written: the way from a base backup to any moment after it.

It is received by pg_receivewal of the server's own image, as a replica would, through a replication slot: what has not
been received yet is not thrown away by the server. It lies in one directory for each unbroken run of receiving,
<identifier of the cluster>-<UTC time>: segments of two clusters, or from both sides of a gap, are never mixed up.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host import config as configuration
from host.backup import client, sql
from host.backup.policy import Policy
from host.compose import Container
from host.config import Config
from host.errors import Failure

SERVICE = "postgres"
OWNER = 999  # uid and gid of PostgreSQL in its container: it is to read them again in a recovery
_PURPOSE = "wal"
_SEGMENT = re.compile(r"[0-9A-F]{24}(\.partial)?")
_BOUND = "4GB"  # what the server keeps for a receiver that is away, before its disk is in danger
_ARRIVAL = 30.0  # seconds a closed segment may take until it is here
_SLOT = """
SELECT coalesce((SELECT wal_status FROM pg_replication_slots WHERE slot_name = {name}), '') AS status,
    (SELECT system_identifier::text FROM pg_control_system()) AS identifier
"""
_RECEIVED = """
SELECT s.active, pg_wal_lsn_diff(pg_current_wal_lsn(), r.write_lsn)::bigint AS behind
FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name = {name}
"""


@dataclass(frozen=True)
class Run:
    """One unbroken run of receiving: its directory, of which cluster it is, and the complete segments in it."""

    path: Path
    identifier: str
    segments: tuple[str, ...]


def slot(config: Config) -> str:
    """The name of the replication slot."""
    return f"{config.app.replace('-', '_')}_wal"


def folder(config: Config) -> Path:
    """Where all of it lies; made when it is not there."""
    path = config.root / "shared" / "backups" / "wal"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def runs(config: Config, identifier: str = "") -> list[Run]:
    """The runs of a cluster (of all without one), oldest first."""
    found = []
    for path in sorted(folder(config).iterdir(), key=lambda path: path.name.partition("-")[2]):
        whose, _, begun = path.name.partition("-")
        if path.is_dir() and begun and identifier in ("", whose):
            names = (each.name for each in path.iterdir())
            segments = tuple(sorted(name for name in names if _SEGMENT.fullmatch(name) and "." not in name))
            found.append(Run(path, whose, segments))
    return found


def receive(config: Config, policy: Policy) -> None:
    """Become the receiver: this process is replaced by it, and it ends when the server does.

    Raises Failure when the server does not run or refuses.
    """
    server = client.server(config, SERVICE)
    place = _place(config, server, policy)
    client.clear(config, _PURPOSE)
    words = ["pg_receivewal", "-D", "/wal", "--slot", slot(config), "--no-loop", "--no-password",
             "--status-interval", "1", "-h", "127.0.0.1", "-U", policy.user]  # fmt: skip
    argv = client.command(
        config, server, words, purpose=_PURPOSE, mounts={place: "/wal"}, user=f"{OWNER}:{OWNER}", memory="128m",
        login=config.live / "secrets" / SERVICE,
    )  # fmt: skip
    os.execvpe(argv[0], argv, configuration.child_environment())  # noqa: S606  (the receiver takes this process's place)


def _place(config: Config, server: Container, policy: Policy) -> Path:
    """The directory to receive into: that of the last run as long as the slot has kept all that came after it."""
    name = sql.literal(slot(config))
    [there] = sql.rows(server.id, policy.user, "postgres", _SLOT.format(name=name))
    ours = runs(config, there["identifier"])
    if there["status"] not in ("", "lost") and ours:
        return ours[-1].path
    if there["status"]:
        sql.run(server.id, policy.user, "postgres", f"SELECT pg_drop_replication_slot({name});")
    # in this order: killed in between there is a slot without a directory, which is dropped and made again
    sql.run(server.id, policy.user, "postgres", f"SELECT pg_create_physical_replication_slot({name}, true);")
    sql.run(server.id, policy.user, "postgres", f"ALTER SYSTEM SET max_slot_wal_keep_size = '{_BOUND}';")
    sql.run(server.id, policy.user, "postgres", "SELECT pg_reload_conf();")
    path = folder(config) / f"{there['identifier']}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    path.mkdir(mode=0o700)
    os.chown(path, OWNER, OWNER)
    return path


def release(config: Config, policy: Policy) -> None:
    """Let the server throw its log away again, when nobody is to receive it any more. Nothing to do is fine."""
    server = client.server(config, SERVICE)
    name = sql.literal(slot(config))
    sql.run(
        server.id, policy.user, "postgres",
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
        f"WHERE slot_name = {name} AND NOT active;",
    )  # fmt: skip


def mark(config: Config, policy: Policy) -> tuple[float, float]:
    """Have something happen in the server, and wait until all of its log up to that is here.

    Returns the server's time (Unix) just before, and how many seconds it took: whatever was committed until then is
    here. Raises Failure when it does not arrive.
    """
    began = time.monotonic()
    server = client.server(config, SERVICE)
    told = sql.run(
        server.id, policy.user, "postgres",
        "SELECT extract(epoch FROM clock_timestamp());\nSELECT pg_current_xact_id() IS NULL;\n"
        "SELECT pg_walfile_name(pg_switch_wal());\n",
    ).split()  # fmt: skip
    moment, name = float(told[0]), told[-1]
    ends = time.monotonic() + _ARRIVAL
    while not any(name in run.segments for run in runs(config)):
        if time.monotonic() > ends:
            raise Failure(f"the log of changes is not received: {name} is not here after {_ARRIVAL:.0f} s",
                          hint=f"look at: journalctl -u {config.app}-wal")  # fmt: skip
        time.sleep(0.1)
    return moment, round(time.monotonic() - began, 2)


def state(config: Config, policy: Policy) -> dict[str, Any]:
    """How receiving goes: {"receiving", "behind": bytes that are not here yet or None, "bytes": on the disk}."""
    server = client.server(config, SERVICE)
    found = sql.rows(server.id, policy.user, "postgres", _RECEIVED.format(name=sql.literal(slot(config))))
    about = found[0] if found else {"active": False, "behind": None}
    used = sum(each.stat().st_size for run in runs(config) for each in run.path.iterdir())
    return {"receiving": bool(about["active"]), "behind": about["behind"], "bytes": used}


def following(name: str, size: int) -> str:
    """The name of the segment after `name` on its timeline, with segments of `size` bytes."""
    each = 0x1_0000_0000 // size  # segments that share the middle part of their names
    number = int(name[8:16], 16) * each + int(name[16:], 16) + 1
    return f"{name[:8]}{number // each:08X}{number % each:08X}"


def unbroken(config: Config, identifier: str, first: str, size: int) -> tuple[list[str], bool]:
    """The complete segments from `first` on, without a gap, and whether there are more behind a gap."""
    there = {name for run in runs(config, identifier) for name in run.segments}
    found, name = [], first
    while name in there:
        found.append(name)
        name = following(name, size)
    return found, any(other > name and other[:8] == first[:8] for other in there)


def written(config: Config, identifier: str, name: str) -> float:
    """When a segment was closed, Unix time; 0 when it is not there."""
    return max((run.path.joinpath(name).stat().st_mtime for run in runs(config, identifier) if name in run.segments),
               default=0.0)  # fmt: skip


def prune(config: Config, firsts: Iterable[tuple[str, str]]) -> int:
    """Remove what no way begins at any more: segments older than the oldest of `firsts` (identifier and first segment
    of each base that is kept), and runs that have become empty, but never the newest. Returns the bytes removed.
    """
    oldest: dict[str, str] = {}
    for identifier, first in firsts:
        oldest[identifier] = min(first, oldest.get(identifier, first))
    if not oldest:
        return 0
    everything, removed = runs(config), 0
    for run in everything:
        if run.identifier not in oldest and run is everything[-1]:
            continue  # of a cluster that has no base yet
        last = oldest.get(run.identifier, "G")  # of a cluster without a base all goes
        doomed = [name for name in run.segments if name < last]
        for name in doomed:
            removed += run.path.joinpath(name).stat().st_size
            run.path.joinpath(name).unlink()
        if run is not everything[-1] and len(doomed) == len(run.segments):
            shutil.rmtree(run.path)
    return removed
