"""What monitoring is told of backups: a file in the format of node-exporter, made anew from what is there."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from host import durable
from host.backup import ALL, BASE, catalog
from host.backup.catalog import Backup
from host.config import Config

FILE = "backups.prom"
_HELP = {
    "vps_backup_last_success_timestamp_seconds": "When the newest good backup on the host was begun.",
    "vps_backup_last_attempt_success": "1 when the last attempt to make one succeeded.",
    "vps_backup_bytes": "Size of the newest backup.",
    "vps_backup_duration_seconds": "How long the newest backup took.",
    "vps_backup_count": "How many backups there are on the host.",
    "vps_backup_suspicious": "1 when the newest one is much smaller than those before it.",
    "vps_backup_copy_last_success_timestamp_seconds": "When the newest backup that has a good copy there was begun.",
    "vps_backup_copy_last_attempt_success": "1 when the last attempt to copy one there succeeded.",
    "vps_backup_drill_last_success_timestamp_seconds": "When a drill last succeeded.",
    "vps_backup_drill_last_attempt_success": "1 when the last drill succeeded.",
    "vps_backup_drill_duration_seconds": "How long the last drill took.",
}


class Sample(Protocol):
    """Adds one sample to a metric."""

    def __call__(self, name: str, value: float, **labels: str) -> None: ...


def folder(config: Config) -> Path:
    """Where node-exporter looks for such files."""
    return config.root / "shared" / "metrics"


def attempted(config: Config, kind: str, *, ok: bool) -> None:
    """Remember how the last attempt to back up went: there is no backup that could tell of a failed one."""
    path = config.state / "attempts.json"
    known = durable.read_json(path)
    durable.write_json(path, {**(known if isinstance(known, dict) else {}), kind: {"ok": ok, "at": time.time()}})


def write(config: Config) -> None:
    """Make the file anew. A failure to write it must not fail a backup: it is left to the caller to report."""
    attempts = durable.read_json(config.state / "attempts.json")
    found = {kind: catalog.backups(config, kind) for kind in ALL}
    if not found[BASE]:
        del found[BASE]  # the settings do not want any
    lines = render(found, attempts if isinstance(attempts, dict) else {})
    place = folder(config)
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    place.chmod(0o755)
    durable.write(place / FILE, lines.encode(), 0o644)


def render(found: dict[str, list[Backup]], attempts: dict[str, dict[str, object]]) -> str:
    """The text, for the backups of each kind (oldest first) and how the last attempts went."""
    samples: dict[str, list[str]] = {name: [] for name in _HELP}

    def sample(name: str, value: float, **labels: str) -> None:
        words = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        samples[name].append(f"{name}{{{words}}} {value:.15g}")

    for kind, backups in found.items():
        sample("vps_backup_count", len(backups), kind=kind)
        if kind in attempts:
            sample("vps_backup_last_attempt_success", float(bool(attempts[kind].get("ok"))), kind=kind)
        if good := [backup for backup in backups if backup.verified]:
            sample("vps_backup_last_success_timestamp_seconds", good[-1].taken, kind=kind)
        if backups:
            newest = backups[-1]
            sample("vps_backup_bytes", newest.bytes, kind=kind)
            sample("vps_backup_duration_seconds", float(newest.manifest.get("seconds") or 0), kind=kind)
            sample("vps_backup_suspicious", float(bool(newest.manifest.get("suspicious"))), kind=kind)
        _copies(backups, kind, sample)
        _drills(backups, kind, sample)
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} gauge\n" + "".join(f"{line}\n" for line in samples[name])
        for name, text in _HELP.items()
        if samples[name]
    )


def _copies(backups: Iterable[Backup], kind: str, sample: Sample) -> None:
    newest: dict[str, float] = {}
    last: dict[str, dict[str, object]] = {}
    for backup in backups:
        for copy in backup.manifest.get("copies") or []:
            last[copy["remote"]] = copy
            if copy.get("ok"):
                newest[copy["remote"]] = backup.taken
    for remote, copy in sorted(last.items()):
        sample("vps_backup_copy_last_attempt_success", float(bool(copy.get("ok"))), kind=kind, remote=remote)
        if remote in newest:
            sample("vps_backup_copy_last_success_timestamp_seconds", newest[remote], kind=kind, remote=remote)


def _drills(backups: Iterable[Backup], kind: str, sample: Sample) -> None:
    drills = [drill for backup in backups for drill in backup.manifest.get("drills") or []]
    if good := [float(drill["at"]) for drill in drills if drill.get("ok")]:
        sample("vps_backup_drill_last_success_timestamp_seconds", max(good), kind=kind)
    if drills:
        last = max(drills, key=lambda drill: float(drill["at"]))
        sample("vps_backup_drill_last_attempt_success", float(bool(last.get("ok"))), kind=kind)
        sample("vps_backup_drill_duration_seconds", float(last.get("seconds") or 0), kind=kind)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
