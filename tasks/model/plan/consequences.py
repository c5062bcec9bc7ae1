"""What a change needs and touches besides containers: the disk, the database, the host itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from tasks.model.plan.services import astray, left_over
from tasks.model.plan.types import ImageChange

_UNPACKED = 3  # compressed layers on the way, and what they become: together about three times their size
_RESERVE = 64 << 20  # bytes that stay free on each file system
MIGRATED = "backend"  # the service whose image a migration runs in


def disk(manifest: Mapping[str, Any], status: Mapping[str, Any], images: Iterable[ImageChange]) -> dict[str, int]:
    """{"need", "free", "after"} in bytes of the file system with the least to spare; zeros when the host does not say.

    What goes to one file system counts together.
    """
    transfer = sum((image.bytes or 0) * (_UNPACKED if image.source == "registry" else 2) for image in images)
    bundle = 2 * sum(int(entry["size"]) for entry in manifest["files"].values())
    needs = {"images": transfer, "releases": bundle, "backups": 0}
    mounts: dict[str, dict[str, int]] = {}
    for place in status.get("space") or ():
        mount = mounts.setdefault(place["mount"], {"need": _RESERVE, "free": int(place["free"])})
        mount["need"] += needs.get(place["purpose"], 0)
    if not mounts:
        return {"need": 0, "free": 0, "after": 0}
    tightest = min(mounts.values(), key=lambda mount: mount["free"] - mount["need"])
    return {**tightest, "after": max(0, tightest["free"] - tightest["need"] + _RESERVE)}


def migration(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any] | None:
    """{"command", "backup"} when the deploy runs a migration: another backend image, or another command, than now."""
    words = manifest["settings"].get("migration") or []
    new = manifest["services"].get(MIGRATED)
    if not words or new is None:
        return None
    old = status.get("manifest") or {}
    former = old.get("services", {}).get(MIGRATED)
    if former is not None and (former["image"], former.get("pin"), old["settings"].get("migration")) == (
        new["image"], new.get("pin"), words,
    ):  # fmt: skip
        return None
    return {"command": list(words), "backup": True}


def migrations_between(target: str, status: Mapping[str, Any]) -> Iterator[str]:
    """One line for each migration that ran after release `target`, up to the one that serves: they are not undone."""
    current = status.get("release") or ""
    for name, result in sorted((status.get("results") or {}).items()):
        if target < name <= current and result.get("migrated"):
            backup = f"; the database before it is backup {result['backup']}" if result.get("backup") else ""
            yield f"release {name} ran a migration, which a rollback does not undo{backup}"


def double_memory(manifest: Mapping[str, Any], status: Mapping[str, Any], switching: Collection[str]) -> Iterator[str]:
    """A line when both versions of the `switching` services side by side may use more memory than there is."""
    total = int((status.get("memory") or {}).get("total") or 0)
    limits = sum(int(entry.get("memory") or 0) for entry in manifest["services"].values())
    limits += sum(int(item.get("memory") or 0) for item in status.get("neighbours") or ())
    twice = sum(int(manifest["services"][name].get("memory") or 0) for name in switching)
    if total and limits <= total < limits + twice:
        yield (
            f"while both versions run side by side the limits add up to {(limits + twice) >> 20} MB, "
            f"the machine has {total >> 20} MB"
        )
    unlimited = sorted(name for name, entry in manifest["services"].items() if entry.get("memory") == 0)
    if unlimited:
        yield f"no memory limit: {', '.join(unlimited)}"


def other(manifest: Mapping[str, Any], status: Mapping[str, Any], program: str, now: float) -> Iterator[str]:
    """Further steps: the host program, settings, the certificate, the systemd unit, what was left unfinished."""
    old = status.get("manifest") or {}
    if status.get("program") != program:
        yield f"host program: install {program[:12]} at /usr/local/bin/{manifest['app']}"
    if old and old.get("settings") != manifest["settings"]:
        was, will = old.get("settings", {}), manifest["settings"]
        yield "settings: " + ", ".join(sorted(key for key in was.keys() | will.keys() if was.get(key) != will.get(key)))
    certificate, domains = status.get("certificate"), manifest["settings"]["domains"]
    if certificate is None:
        yield f"certificate: issue one for {', '.join(domains)}"
    elif missing := sorted(set(domains) - set(certificate["names"])):
        yield f"certificate: issue it anew, it does not cover {', '.join(missing)}"
    elif certificate["not_after"] < now:
        yield "certificate: issue it anew, it has expired"
    unit = f"{manifest['app']}.service"
    if status.get("unit", {}).get(unit) != "enabled":
        yield f"systemd: install and enable {unit}"
    last = status.get("last")
    if old and last and last.get("result") != "done":
        yield f"the last change ({last.get('release')}) did not finish: bring everything to this release"
    elif old and status.get("interrupted"):
        yield f"the change to {status['interrupted']} was cut off: bring everything to this release"
    for gone, instead in astray(manifest, status).items():
        yield f"point nginx at {instead}: {gone} is gone"
    if old and (names := left_over(manifest, status)):
        yield f"remove left-over containers: {', '.join(names)}"
