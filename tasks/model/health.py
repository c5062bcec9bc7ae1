"""The health of a site: what was observed, from outside and inside, turned into checks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

DAY = 86400
GIB = 1 << 30


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, e.g. "https /health/deep" or "container redis".
        ok: whether it is as it should be.
        detail: what was seen, one line.
    """

    name: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """The check as a JSON-able document."""
        return asdict(self)


def inside(status: Mapping[str, Any], *, now: float) -> list[Check]:
    """Judge what the host program reports of its own host.

    Args:
        status: the report.
        now: the workstation's clock, seconds since the epoch, when the report arrived.
    Returns:
        Checks of the release, containers, disk, memory, clock and drift.
    """
    manifest = status.get("manifest")
    if manifest is None:
        return [Check("release", False, "nothing is deployed here; next: fab deploy")]
    checks = [_release(status)]
    checks += _containers(manifest, status.get("containers", ()))
    checks += _application(status)
    checks += machine(status, now=now)
    checks += _units(status.get("unit", {}))
    if drift := status.get("drift"):
        names = ", ".join(f"{item['path']} ({item['state']})" for item in drift[:5])
        checks.append(Check("drift", False, f"{len(drift)} files are not as deployed: {names}"))
    else:
        checks.append(Check("drift", True, "files are as deployed"))
    return checks


def machine(status: Mapping[str, Any], *, now: float) -> list[Check]:
    """Of the same report what counts without a release, too: disk, memory and clock."""
    disks = [_disk(item) for item in status.get("disk", ())]
    return [*disks, _memory(status["memory"]), _clock(status["clock"], now)]


def _release(status: Mapping[str, Any]) -> Check:
    last = status.get("last")
    if last and last.get("result") != "done":
        return Check("release", False, f"the last change did not succeed: {last.get('cause') or 'unknown'}")
    return Check("release", True, f"{status['release']}, version {status['manifest']['version']}")


def _containers(manifest: Mapping[str, Any], containers: Iterable[Mapping[str, Any]]) -> Iterable[Check]:
    found = {item["service"]: item for item in containers}
    for name, entry in manifest["services"].items():
        item = found.get(name)
        if item is None:
            yield Check(f"container {name}", False, "does not exist")
            continue
        state = f"{item['state']}, {item['health']}" if item.get("health") else item["state"]
        ok = item["state"] == "running" and (item.get("health") == "healthy" if entry["healthcheck"] else True)
        notes = [state]
        if item["state"] not in ("running", "created"):
            notes.append(f"exit code {item['exit_code']}")
        if item.get("restarts"):
            notes.append(f"{item['restarts']} restarts")
        if item.get("oom_killed"):
            ok = False
            notes.append("was killed for lack of memory")
        yield Check(f"container {name}", ok, ", ".join(notes))


def _application(status: Mapping[str, Any]) -> Iterable[Check]:
    """Its deep health, asked from inside; and whether visitors can see it at all, which is no fault."""
    if (deep := status.get("deep_health")) is not None:
        body = " ".join(str(deep["body"]).split())[:160]
        told = f"{deep['status'] or 'no answer'}" + (f": {body}" if deep["status"] != 200 and body else "")
        yield Check("deep health", deep["status"] == 200, told)
    if (closed := status.get("maintenance")) is not None:
        by = f" by {closed['by']}" if closed.get("by") else ""
        yield Check("maintenance", True, f"the site is closed for visitors{by}; open it with: fab maintenance.off")


def _disk(item: Mapping[str, Any]) -> Check:
    share = item["free"] / item["total"] if item["total"] else 0.0
    # a small share of a large disk is still room: both must be low
    ok = share >= 0.10 or item["free"] >= 10 * GIB
    return Check(f"disk {item['mount']}", ok, f"{item['free'] / GIB:.1f} of {item['total'] / GIB:.1f} GiB free")


def _memory(memory: Mapping[str, Any]) -> Check:
    available, total = memory["available"], memory["total"]
    return Check("memory", available >= 0.05 * total, f"{available / GIB:.1f} of {total / GIB:.1f} GiB available")


def _clock(clock: Mapping[str, Any], now: float) -> Check:
    offset = abs(clock["time"] - now)
    synchronized = {True: "synchronized", False: "not synchronized", None: "synchronization unknown"}
    text = f"{offset:.0f} s from this workstation's, {synchronized[clock.get('synchronized')]}"
    return Check("clock", offset < 30, text)


def _units(units: Mapping[str, str]) -> Iterable[Check]:
    for name, state in sorted(units.items()):
        yield Check(f"unit {name}", state in ("enabled", "static"), state)


def certificate(not_after: float, not_before: float, issuer: str, *, now: float) -> Check:
    """Judge the certificate that is served.

    Args:
        not_after: end of its life, seconds since the epoch.
        not_before: its beginning.
        issuer: who signed it.
        now: seconds since the epoch.
    Returns:
        A check that fails when less than a quarter of its life is left: lifetimes shrink, fixed days would mislead.
    """
    left, life = not_after - now, max(not_after - not_before, 1.0)
    return Check("certificate", left > life / 4, f"{left / DAY:.0f} days left, issued by {issuer}")


def table(checks: Iterable[Check], *, colour: bool) -> str:
    """Write checks as a table for a person."""
    rows = list(checks)
    width = max((len(check.name) for check in rows), default=0)
    good, bad = ("\033[32mok  \033[0m", "\033[31mFAIL\033[0m") if colour else ("ok  ", "FAIL")
    return "\n".join(f"{good if c.ok else bad}  {c.name:{width}}  {c.detail}" for c in rows)
