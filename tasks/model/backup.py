"""Backups and restores as people read them. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.core.progress import size

HERE = "this host"
LOG = "this host, by its log"
BASE = "base"
_WEEK = 7 * 86400.0  # seconds


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


def describe(
    rows: Sequence[Mapping[str, Any]], undo: Mapping[str, Any], past: Mapping[str, Any] | None, now: float
) -> str:
    """The table of `fab backup.list`, how far back PostgreSQL can go (`past`), and what can be undone."""
    lines = []
    for row in rows:
        cells = (row["kind"], row["id"], age(now - row["taken"]), size(row["bytes"]), proof(row), holds(row))
        away = [f"    {copy['remote']}: {where(copy)}" for copy in row["copies"] if copy]
        lines.append("  {:<9}{:<23}{:>7}  {:>10}  {:<22}{}".format(*cells).rstrip())
        lines += away
    if past is not None:
        lines.append(f"  {reach(past, now)}")
    for kind, kept in sorted(undo.items()):
        if kept:
            left = age(kept["until"] - now)
            lines.append(f"  the restore of {kind} from {kept['source']} can be undone for {left}: fab restore.undo")
    return "\n".join(lines)


def reach(past: Mapping[str, Any], now: float) -> str:
    """How far back PostgreSQL can go to any moment, and whether its log still comes in."""
    if past["since"] is None:
        return "PostgreSQL cannot be taken back to a moment yet: fab backup.base"
    since = (
        f"PostgreSQL can be taken back to any moment of the last {age(now - past['since'])}: fab restore.postgres --at"
    )
    if past["receiving"]:
        return f"{since}\n    its log is received ({size(past['bytes'])} kept, {size(past['behind'] or 0)} behind)"
    return f"{since}\n    ITS LOG IS NOT RECEIVED NOW{': ' if past['cause'] else ''}{past['cause']}"


def where(copy: Mapping[str, Any]) -> str:
    """What is known of a copy on a remote."""
    if "ok" not in copy:
        return "no copy"
    return "copied" if copy["ok"] else f"NOT COPIED: {copy['cause']}"


def copies(remotes: Sequence[Mapping[str, Any]]) -> str:
    """What the remotes say they have, by remote and kind."""
    lines = []
    for row in remotes:
        count = len(row["copies"])
        lines.append(f"{row['remote']}: {row['cause'] or f'{count} copies'}")
        lines += [f"  {each['kind']:<9}{each['id']}" for each in reversed(row["copies"])]
    return "\n".join(lines)


def objectives(
    rows: Sequence[Mapping[str, Any]], now: float, past: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """What could be lost and how long a restore takes, by kind and place ("this host", its log of changes, a remote).

    Returns rows of kind, place, newest (its id, "" for none), rpo (seconds: the longest time between two good backups
    of the last week, and until now; None without one) and rto (seconds the last good drill from there took; None).
    """
    found = []
    for kind in dict.fromkeys(str(row["kind"]) for row in rows if row["kind"] != BASE):
        of_kind = sorted((row for row in rows if row["kind"] == kind), key=lambda row: float(row["taken"]))
        places = list(dict.fromkeys(str(copy["remote"]) for row in of_kind for copy in row["copies"]))
        for place in (HERE, *places):
            good = [row for row in of_kind if row["verified"] and (place == HERE or _copied(row, place))]
            times = [*(float(row["taken"]) for row in good if now - row["taken"] <= _WEEK or row is good[-1]), now]
            source = "local" if place == HERE else place
            drills = [drill for row in of_kind for drill in row["drills"] if drill["source"] == source and drill["ok"]]
            found.append({
                "kind": kind, "place": place, "newest": good[-1]["id"] if good else "",
                "rpo": max(b - a for a, b in itertools.pairwise(times)) if good else None,
                "rto": max(drills, key=lambda drill: float(drill["at"]))["seconds"] if drills else None,
            })  # fmt: skip
    return found + ([_by_log(rows, past, found)] if past and past["since"] is not None else [])


def _by_log(
    rows: Sequence[Mapping[str, Any]], past: Mapping[str, Any], found: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The same for going back to a moment: there, then dumped and loaded like a backup."""
    bases = sorted((row for row in rows if row["kind"] == BASE), key=lambda row: float(row["taken"]))
    drills = [drill for row in bases for drill in row["drills"] if drill["ok"]]
    last = max(drills, key=lambda drill: float(drill["at"])) if drills else None
    loaded = next((each["rto"] for each in found if each["kind"] == "postgres" and each["place"] == HERE), None)
    return {
        "kind": "postgres", "place": LOG, "newest": bases[-1]["id"] if bases else "",
        "rpo": last["data_age"] if last and past["receiving"] else None,
        "rto": round(last["seconds"] + loaded, 1) if last and loaded is not None else None,
    }  # fmt: skip


def _copied(row: Mapping[str, Any], place: str) -> bool:
    return any(copy["remote"] == place and copy.get("ok") for copy in row["copies"])


def describe_objectives(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of `fab backup.report`."""
    lines = ["  kind     could be lost  restore takes  from"]
    for row in rows:
        unknown = "not tried" if row["place"] == LOG else "everything"
        lost = unknown if row["rpo"] is None else age(row["rpo"])
        back = "not tried" if row["rto"] is None else f"{row['rto']:g} s"
        lines.append(f"  {row['kind']:<9}{lost:<15}{back:<15}{row['place']}")
    return "\n".join(lines)


def replaced(told: Mapping[str, Any]) -> list[str]:
    """What a restore would replace by what, from the host's answer to `inspect`."""
    taken = f", {age(told['now'] - told['taken'])} old" if told.get("taken") else ""
    label = told.get("label") or told["source"]
    if "parts" not in told:
        return [
            f"Redis has {told['live_keys']:,} keys ({size(told['live_bytes'])} of memory)",
            f"  to be replaced by {told['keys']:,} keys of {label}{taken}",
        ]
    lines = []
    if "base" in told:
        lines.append(f"PostgreSQL goes back to {age(told['now'] - told['taken'])} ago, from base backup {told['base']}")
    for part in told["parts"]:
        there = (
            f"has {part['live_rows']:,} rows in {part['live_tables']} tables ({size(part['live_bytes'])})"
            if part["there"]
            else "is not there"
        )
        lines.append(f"database {part['database']} {there}")
        if "base" in told:
            lines.append("  to be replaced by what it had then")
            continue
        rows = "" if part["rows"] is None else f"{part['rows']:,} rows in {part['tables']} tables, "
        lines.append(f"  to be replaced by {rows}{size(part['bytes'])} of {label}{taken}")
    return lines
