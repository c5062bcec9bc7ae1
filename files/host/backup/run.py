"""Backing up, keeping and dropping: what the nightly timer and `fab backup` do alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from host.backup import (
    ALL,
    BASE,
    KINDS,
    base,
    catalog,
    client,
    copies,
    essentials,
    metrics,
    postgres,
    redis,
    refill,
    restore,
    retention,
    wal,
)
from host.backup.catalog import Backup
from host.backup.policy import Policy
from host.backup.policy import load as policy_of
from host.config import Config
from host.errors import Failure, as_failure
from host.events import Journal


@dataclass(frozen=True)
class Made:
    """What a run has made."""

    backups: tuple[Backup, ...]

    @property
    def ids(self) -> list[str]:
        """Their ids, in the order of their kinds."""
        return [item.id for item in self.backups]

    def told(self) -> dict[str, object]:
        """The data of the done event."""
        return {"backups": self.ids, "message": ", ".join(f"{item.kind} {item.id}" for item in self.backups)}


def wanted(policy: Policy, kind: str) -> tuple[str, ...]:
    """The kinds there are to be backups of; of one kind that one alone, of "all" those that the settings want."""
    if kind != "all":
        return (kind,)
    return ALL if policy.point_in_time_days else KINDS


_MAKERS = {"postgres": postgres.make, "redis": redis.make, "config": essentials.make, BASE: base.make}


def backup(
    config: Config, kinds: Sequence[str], journal: Journal, reason: str, release: str = "current", *, send: bool = True
) -> Made:
    """Make a backup of each kind as `release` wants it; one that fails does not keep the others from being made.

    With `send` they are copied to the remotes as well; what is not, the next run does.
    Returns what was made; raises the first Failure when all have been tried. The caller holds the host's lock.
    """
    policy = policy_of(config, release)
    client.sweep(config)
    made: list[Backup] = []
    failures: list[Failure] = []
    for kind in kinds:
        try:
            made.append(_MAKERS[kind](config, policy, journal, reason))
            metrics.attempted(config, kind, ok=True)
        except Exception as error:
            failure = as_failure(error, f"backing up {kind}")
            failures.append(failure)
            journal.warn(f"no backup of {kind}: {failure.cause}")
            metrics.attempted(config, kind, ok=False)
    if made:
        prune(config, [item.kind for item in made], journal, policy, rehearsal=False)
    for kind, expire in (("postgres", restore.expire), ("redis", refill.expire)):
        if kind in [item.kind for item in made] and (gone := expire(config, policy)):
            journal.emit("output", "", "running", f"the time to undo the last restore is up: {', '.join(gone)} dropped")
    if not policy.point_in_time_days and "postgres" in [item.kind for item in made]:
        try:
            wal.release(config, policy)
        except Failure as failure:  # the next backup tries again; copies and metrics do not wait for it
            journal.warn(f"the server still keeps its log for a receiver: {failure.cause}")
    if send:
        failures += copies.send(config, policy, [item.kind for item in made if item.kind in KINDS], journal)
    metrics.write(config)
    if failures:
        failures[0].data["backups"] = [item.id for item in made]
        raise failures[0]
    return Made(tuple(made))


def decisions(config: Config, policy: Policy, kind: str) -> list[tuple[Backup, str | None]]:
    """Every backup of a kind and why it is kept; None for what may go."""
    found = catalog.backups(config, kind)
    items = [retention.Item(item.id, item.taken, _good(item)) for item in found]
    kept = retention.decide(items, policy.keep[kind], time.time())
    return [(item, kept[item.id]) for item in found]


def _good(item: Backup) -> bool:
    """One that is suddenly small counts for good only when a drill has restored it."""
    drilled = any(drill.get("ok") for drill in item.manifest.get("drills") or [])
    return item.verified and (drilled or not item.manifest.get("suspicious"))


def prune(
    config: Config, kinds: Sequence[str], journal: Journal, policy: Policy, *, rehearsal: bool
) -> dict[str, object]:
    """Remove what its time is up for; with `rehearsal` only say what. Returns {"removed": {kind: [ids]}, "message"}."""
    removed: dict[str, list[str]] = {}
    for kind in kinds:
        for item, reason in decisions(config, policy, kind):
            if reason is None:
                removed.setdefault(kind, []).append(item.id)
                if not rehearsal:
                    catalog.remove(item)
        if kind == BASE and not rehearsal:
            wal.prune(config, base.firsts(catalog.backups(config, BASE)))
    count = sum(len(ids) for ids in removed.values())
    verb = "would be removed" if rehearsal else "removed"
    if count:
        journal.emit("output", "", "running", f"{count} old backup{'' if count == 1 else 's'} {verb}")
    return {"removed": removed, "message": f"{count} {verb}"}


def listing(config: Config) -> dict[str, Any]:
    """Everything there is to know about the backups on this host, for `fab backup.list`: newest first."""
    policy = policy_of(config)
    rows = []
    for kind in ALL:
        for item, reason in decisions(config, policy, kind):
            manifest = item.manifest
            rows.append({
                "kind": kind, "id": item.id, "taken": item.taken, "bytes": item.bytes,
                "shared_bytes": manifest.get("shared_bytes", 0), "seconds": manifest.get("seconds"),
                "reason": manifest.get("reason"), "server": manifest.get("server"),
                "verified": manifest.get("verified"), "suspicious": manifest.get("suspicious") or "",
                "drills": manifest.get("drills") or [],
                "copies": [{**copies.status(item, url), "remote": url} for url in policy.remotes if kind in KINDS],
                "kept": reason, "path": str(item.path), "holds": holds(item),
                "files": [{"path": f["path"], "size": f["size"], "sha256": f["sha256"]} for f in manifest["files"]],
            })  # fmt: skip
    rows.sort(key=lambda row: (str(row["kind"]), -float(row["taken"])))
    return {"backups": rows, "now": time.time(), "point_in_time": _point_in_time(config, policy)}


def _point_in_time(config: Config, policy: Policy) -> dict[str, Any] | None:
    """How far back PostgreSQL can go, and whether its log still comes in; None when the settings do not want that."""
    if not policy.point_in_time_days:
        return None
    try:
        return {**base.reach(config), **wal.state(config, policy), "cause": ""}
    except Failure as failure:
        return {**base.reach(config), "receiving": False, "behind": None, "bytes": None, "cause": failure.cause}


def holds(item: Backup) -> dict[str, int]:
    """What a backup holds, in numbers a person can compare."""
    manifest = item.manifest
    if item.kind == "postgres":
        tables = [table for each in manifest["databases"] for table in each["tables"]]
        return {"tables": len(tables), "rows": sum(int(table["rows"]) for table in tables)}
    return {"keys": int(manifest.get("keys", 0))} if item.kind == "redis" else {}
