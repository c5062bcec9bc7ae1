"""The releases a host has, what became of each, and which one to go back to."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.core import settings
from tasks.core.errors import Refused
from tasks.core.task import Report
from tasks.operations import hostprogram
from tasks.operations.prepare import ready

if TYPE_CHECKING:
    from tasks.core.session import Session

SERVED = ("healthy", "incomplete")
"""Results of a release that served: incomplete is one whose certificate was missing."""


def releases(s: Session) -> Report:
    """List the releases of the host, the newest last."""
    chosen = settings.load(s.settings_file)
    status = ready(s, chosen).status or {}
    rows = [describe(status, name) for name in status.get("releases", ())]
    if not rows:
        return Report({"current": None, "releases": []}, f"{s.name}: nothing is deployed here yet")
    return Report({"current": status.get("release"), "releases": rows}, _table(rows))


def serving(s: Session) -> str:
    """Say what runs on a host, in a few words."""
    chosen = settings.load(s.settings_file)
    release = hostprogram.ask(s, chosen.app_name, "status").get("release")
    return f"release {release} serves" if release else "no release serves"


def describe(status: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What is known of a release, JSON-able; `status` is the host's."""
    result = (status.get("results") or {}).get(name) or {}
    applied = next(
        (item.get("applied") for item in reversed(status.get("history", ())) if item.get("release") == name), None
    )
    return {
        "release": name,
        "version": version(name),
        "current": name == status.get("release"),
        "applied": result.get("finished") or applied,
        "by": result.get("by") or _manifest(status, name).get("by"),
        "result": result.get("result") or ("healthy" if applied else None),
        "cause": result.get("cause") or None,
        "kind": result.get("kind"),
        "plan": result.get("plan"),
        "migrated": bool(result.get("migrated")),
        "backup": result.get("backup"),
    }


def _manifest(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The manifest of a release, as far as the status has it: of the current one."""
    manifest: Mapping[str, Any] = status.get("manifest") or {}
    return manifest if manifest.get("release") == name else {}


def version(name: str) -> str:
    """The version in the name of a release."""
    return name.partition("-")[2]


def candidates(status: Mapping[str, Any]) -> list[str]:
    """The releases one can go back to: kept, served before, not the current one; oldest first."""
    return [name for name in status.get("releases", ()) if name != status.get("release") and _served(status, name)]


def choose(status: Mapping[str, Any], wanted: str, host: str) -> str:
    """The release that is meant.

    Args:
        status: the host's.
        wanted: its id, the beginning of it, or a version that only one has; "" for the last one before the current one
            that served.
        host: the name of the host, for errors.
    Raises:
        Refused: there is none, several could be meant, or it never served; lists those that could be chosen.
    """
    kept, current, possible = status.get("releases", ()), status.get("release"), candidates(status)
    if current is None:
        raise Refused("nothing is deployed here", host=host, hint=f"fab deploy -H {host}")
    if not wanted:
        older = [name for name in possible if name < current]
        if not older:
            raise _refused(f"no release before {current} is here that served", possible, host)
        return older[-1]
    if wanted in kept:
        found = [wanted]
    else:
        good = [name for name in kept if name in possible or name == current]
        found = _matches(wanted, good) or _matches(wanted, kept)
    if not found:
        raise _refused(f"release {wanted} is not on this host", possible, host)
    if len(found) > 1:
        raise _refused(f"{wanted} could be {', '.join(found)}", possible, host)
    if found[0] != current and found[0] not in possible:
        raise _refused(f"release {found[0]} has never served on this host: it is nothing to go back to", possible, host)
    return str(found[0])


def _matches(wanted: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if name.startswith(wanted) or version(name) == wanted]


def _served(status: Mapping[str, Any], name: str) -> bool:
    # the history is older than the results, and knows nothing but what served
    known = (status.get("results") or {}).get(name) or {}
    return known.get("result") in SERVED or any(item.get("release") == name for item in status.get("history", ()))


def _refused(cause: str, possible: Sequence[str], host: str) -> Refused:
    choice = f"--to one of {', '.join(possible)}" if possible else "there is none to go back to; fab deploy makes one"
    return Refused(cause, host=host, hint=choice)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    titles = ("release", "version", "when", "by", "result", "plan")
    cells = [titles, *((row["release"], row["version"], _when(row), row["by"] or "-", _result(row), row["plan"] or "-")
                       for row in rows)]  # fmt: skip
    widths = [max(len(line[column]) for line in cells) for column in range(len(titles))]
    marks = [" ", *("*" if row["current"] else " " for row in rows)]
    lines = [
        f"{mark} {'  '.join(f'{text:{width}}' for text, width in zip(line, widths, strict=True))}".rstrip()
        for mark, line in zip(marks, cells, strict=True)
    ]
    return "\n".join([*lines, *_notes(rows)])


def _when(row: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row["applied"])) if row["applied"] else "-"


def _result(row: Mapping[str, Any]) -> str:
    words = [row["result"] or "not applied"]
    words += ["by rollback"] if row["kind"] == "rollback" else []
    words += ["migrated"] if row["migrated"] else []
    return ", ".join(words)


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is too long for a cell."""
    notes = ["", "* serves now; times are UTC"]
    for row in rows:
        if row["cause"]:
            notes.append(f"{row['release']}: {row['cause']}")
        if row["backup"]:
            notes.append(f"{row['release']}: the database as it was before its migration is backup {row['backup']}")
    return notes
