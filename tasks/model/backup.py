"""Backups and restores as people read them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.core.progress import size


def age(seconds: float) -> str:
    """A time ago in one unit: `40 s`, `12 min`, `5 h`, `3 d`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def holds(row: Mapping[str, Any]) -> str:
    """What a backup holds, in words."""
    return ", ".join(f"{number:,} {what}" for what, number in row["holds"].items())


def proof(row: Mapping[str, Any]) -> str:
    """How far a backup is proven: restored in a drill, read back, or in doubt."""
    drills = row["drills"]
    if drills:
        last = drills[-1]
        return f"drilled in {last['seconds']} s" if last["ok"] else f"DOES NOT RESTORE: {last['cause']}"
    if row["suspicious"]:
        return f"SUSPICIOUS: {row['suspicious']}"
    return "read back" if row["verified"] else "not verified"


def describe(rows: Sequence[Mapping[str, Any]], undo: Mapping[str, Any], now: float) -> str:
    """The table of `fab backup.list`, and what can be undone."""
    lines = []
    for row in rows:
        cells = (row["kind"], row["id"], age(now - row["taken"]), size(row["bytes"]), proof(row), holds(row))
        lines.append("  {:<9}{:<23}{:>7}  {:>10}  {:<22}{}".format(*cells).rstrip())
    for kind, kept in sorted(undo.items()):
        if kept:
            left = age(kept["until"] - now)
            lines.append(f"  the restore of {kind} from {kept['source']} can be undone for {left}: fab restore.undo")
    return "\n".join(lines)


def replaced(told: Mapping[str, Any]) -> list[str]:
    """What a restore would replace by what, from the host's answer to `inspect`."""
    taken = f", {age(told['now'] - told['taken'])} old" if told.get("taken") else ""
    if "parts" not in told:
        return [
            f"Redis has {told['live_keys']:,} keys ({size(told['live_bytes'])} of memory)",
            f"  to be replaced by {told['keys']:,} keys of {told['source']}{taken}",
        ]
    lines = []
    for part in told["parts"]:
        there = (
            f"has {part['live_rows']:,} rows in {part['live_tables']} tables ({size(part['live_bytes'])})"
            if part["there"]
            else "is not there"
        )
        rows = "" if part["rows"] is None else f"{part['rows']:,} rows in {part['tables']} tables, "
        lines.append(f"database {part['database']} {there}")
        lines.append(f"  to be replaced by {rows}{size(part['bytes'])} of {told['source']}{taken}")
    return lines
