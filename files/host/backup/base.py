"""A base backup: PostgreSQL's files as they are, from which its log of changes leads to any later moment."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from host.backup import BASE, catalog, client, postgres, sql
from host.backup.catalog import Backup
from host.backup.policy import Policy
from host.backup.progress import Progress
from host.compose import Container
from host.config import Config
from host.errors import Failure, Status, one_line
from host.events import Journal

KIND = BASE
_DEADLINE = 12 * 3600.0  # seconds
_ZSTD_SINCE = 150000
_SERVER = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
    (SELECT system_identifier::text FROM pg_control_system()) AS identifier,
    (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS segment_bytes,
    (SELECT sum(pg_database_size(oid)) FROM pg_database) AS bytes,
    (SELECT string_agg(spcname, ', ') FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')) AS elsewhere
"""
_COPY = """set -euo pipefail
pg_basebackup -h 127.0.0.1 -U "$1" --no-password -D /backup/base -Ft -X stream -c fast "--compress=$2"
for file in /backup/base/*.tar*; do
    case $file in (*.zst) unpack='zstd -dcq' ;; (*.gz) unpack='gzip -dc' ;; (*) unpack=cat ;; esac
    case $file in
        (*/base.tar.*) $unpack "$file" | tar -xf - -O backup_label ;;
        (*) $unpack "$file" | tar -tf - >/dev/null ;;
    esac
done
"""
_START = re.compile(r"^START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)$", re.M)


def require(policy: Policy) -> None:
    """Raise Failure (REFUSED) when the settings do not want to go back in time."""
    if policy.point_in_time_days < 1:
        raise Failure("PostgreSQL's log of changes is not kept: POINT_IN_TIME_DAYS is 0",
                      hint="set it to 7, say, then: fab deploy; fab backup.base", status=Status.REFUSED)  # fmt: skip


def make(config: Config, policy: Policy, journal: Journal, reason: str) -> Backup:
    """Make one; returns the published backup. Raises Failure, and then nothing is left of it."""
    require(policy)
    server = client.server(config, postgres.SERVICE)
    began = time.time()
    with journal.step(KIND, "copying PostgreSQL's files") as step, catalog.staging(config, KIND) as (name, partial):
        [about] = sql.rows(server.id, policy.user, "postgres", _SERVER)
        if about["elsewhere"]:
            raise Failure(f"tablespaces ({about['elsewhere']}) cannot be taken back in time", status=Status.REFUSED,
                          hint="move what is in them, or set POINT_IN_TIME_DAYS=0")  # fmt: skip
        usual = catalog.typical(config, KIND)
        catalog.room(config, KIND, usual * 13 // 10 if usual else int(about["bytes"]))
        label = _copied(config, policy, server, partial, progress=Progress(step, "copied", usual),
                        version=int(about["number"]))  # fmt: skip
        now = time.time()
        backup = catalog.publish(config, KIND, name, partial, {
            "reason": reason, "started": began, "finished": now, "seconds": round(now - began, 2),
            "server": about["version"], "identifier": about["identifier"], "first_segment": label,
            "segment_bytes": about["segment_bytes"], "database_bytes": int(about["bytes"]),
            "verified": {"at": now, "how": "read to its end"}, "suspicious": "",
            "tools": {"pg_basebackup": about["version"]},
        })  # fmt: skip
        step.done(f"{backup.id}: {backup.bytes} bytes, read back", backup=backup.id)
    return backup


def _copied(
    config: Config, policy: Policy, server: Container, partial: Path, *, progress: Progress, version: int
) -> str:
    """Copy, and read it back; returns the first segment of the log that a recovery needs."""
    method = "client-zstd:1" if version >= _ZSTD_SINCE else "1"
    words = ["bash", "-c", _COPY, "bash", policy.user, method]
    done = client.beside(
        config, server, words, purpose="backup", mounts={partial: "/backup"}, deadline=_DEADLINE, check=False,
        tick=lambda: progress.watch(partial), login=policy.login(postgres.SERVICE),
    )  # fmt: skip
    if done.status != 0:
        if "No space left" in done.stderr:
            raise Failure("PostgreSQL's files cannot be copied: no space left on the disk",
                          hint="free some: fab backup.prune; docker system df")  # fmt: skip
        raise Failure(f"PostgreSQL's files cannot be copied: {one_line(done.last_line)}", hint="look at: fab health",
                      data={"log": done.stderr.splitlines()[-20:]})  # fmt: skip
    found = _START.search(done.text)
    if found is None:
        raise Failure("the copy of PostgreSQL's files does not say where its log begins", hint="look at: fab health")
    return found[1]


def firsts(backups: list[Backup]) -> list[tuple[str, str]]:
    """Where the ways that begin at these lead from: identifier of the cluster and first segment."""
    return [(str(each.manifest["identifier"]), str(each.manifest["first_segment"])) for each in backups]


def before(config: Config, moment: float) -> Backup:
    """The newest good one that was finished before a moment (Unix time). Raises Failure (REFUSED) without one."""
    good = [each for each in catalog.backups(config, KIND) if each.verified]
    fitting = [each for each in good if float(each.manifest["finished"]) <= moment]
    if fitting:
        return fitting[-1]
    since = _written(good[0]) if good else ""
    raise Failure(
        f"the log of changes leads back to {since} at most" if good else "there is no base backup yet",
        hint="fab restore.postgres --file takes older backups" if good else "make one: fab backup.base",
        status=Status.REFUSED,
    )


def _written(backup: Backup) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(float(backup.manifest["finished"]) + 1))


def reach(config: Config) -> dict[str, Any]:
    """How far back the log leads: {"since": Unix time or None, "bases": number}."""
    good = [each for each in catalog.backups(config, KIND) if each.verified]
    return {"since": float(good[0].manifest["finished"]) if good else None, "bases": len(good)}
