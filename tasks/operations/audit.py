"""What was done to a host, by whom and with what result, as the host has written it down."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.core import settings
from tasks.core.errors import UsageError
from tasks.core.task import Report
from tasks.operations import hostprogram

if TYPE_CHECKING:
    from tasks.core.session import Session


def audit(s: Session, lines: int) -> Report:
    """The last `lines` entries, the newest last. Raises UsageError for less than one."""
    if lines < 1:
        raise UsageError(f"--lines takes a number of entries, not {lines}")
    chosen = settings.load(s.settings_file)
    entries = hostprogram.ask(s, chosen.app_name, "audit", "--lines", lines)["entries"]
    text = "\n".join(line for entry in entries for line in _lines(entry))
    return Report({"entries": entries}, text or f"{s.name}: nothing has been done here yet")


def _lines(entry: Mapping[str, Any]) -> Sequence[str]:
    """One line of what, by whom and how it ended; a second one with what explains it."""
    start, end = entry.get("start"), entry.get("end")
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(start)) if start else "at an unknown time"
    took = f"{max(0.0, end - start):.0f} s" if start and end else "?"
    what = " ".join(filter(None, (str(entry.get("what") or "?"), entry.get("target") or "")))
    origin = f" from {entry['from']}" if entry.get("from") else ""
    result = str(entry.get("result") or "?")
    first = f"{when}  {result:11}  {what}  by {entry.get('by') or '?'}{origin}, {took}"
    more = [f"plan {entry['plan']}"] if entry.get("plan") else []
    more += [f"accepted {', '.join(entry['accepted'])}"] if entry.get("accepted") else []
    more += [str(entry["cause"])] if entry.get("cause") else []
    return [first, *([f"    {'; '.join(more)}"] if more else [])]
