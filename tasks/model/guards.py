"""Rules that a change must not break unless its user says so by name: each one has cost somebody their data or site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tasks.model.images import image_major, image_name

if TYPE_CHECKING:
    from tasks.model.images import Resolved

RULES = {
    "new-empty-volume": "A service would start with a new, empty volume where it had data before.",
    "postgres-major": "Another major version of PostgreSQL does not read the data of the one before.",
    "redis-major": "Another major version of Redis writes files that the one before does not read.",
    "data-outside-volume": "Data would lie outside of a named volume, and be lost when the container is made anew.",
    "published-port": "A port other than 80 and 443 would be open to everybody: Docker's ports pass by the firewall.",
    "service-with-data-removed": "A service that keeps data in a volume would be gone.",
    "memory-overcommitted": "The memory limits add up to more than the machine has.",
    "healthcheck-dropped": "A service would lose its health check, and a deploy could no longer tell whether it works.",
    "project-renamed": "Another application of this host serves the same domain: a renamed project starts empty.",
    "placeholder-secret": "A variable still has a value like CHANGE_ME.",
    "drift": "Files on the host were edited by hand, and the deploy would overwrite that.",
}
_WEB = (80, 443)
_LOOPBACK = ("127.0.0.1", "::1")
_MAJORS = {"postgres": "postgres-major", "redis": "redis-major"}

ASKED_EACH_TIME = {"new-empty-volume", "postgres-major", "redis-major", "service-with-data-removed", "drift"}
"""Rules about what a change does to something that is there now: what was said of an earlier change does not count."""

Found = tuple[str, str]


def judge(manifest: Mapping[str, Any], status: Mapping[str, Any], resolved: Mapping[str, Resolved]) -> Iterator[Found]:
    """Find what speaks against a change.

    Args:
        manifest: of the release that is to serve.
        status: what the host program reports.
        resolved: what was found out about image references.
    Returns:
        (rule, message) for each; the message is one line that says what would be lost.
    """
    old: Mapping[str, Any] = status.get("manifest") or {}
    yield from _empty_volumes(manifest, old, status)
    yield from _majors(manifest, old)
    yield from _outside(manifest, old, resolved)
    yield from _ports(manifest)
    yield from _removed(manifest, old)
    yield from _memory(manifest, status)
    yield from _healthchecks(manifest, old)
    yield from _renamed(manifest, status)
    if names := manifest.get("placeholders"):
        yield "placeholder-secret", f"never filled in: {', '.join(names)}"
    yield from _drift(status)


def _services(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = manifest.get("services") or {}
    return found


def _empty_volumes(manifest: Mapping[str, Any], old: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Found]:
    # an engine that did not answer has told of no volume either
    there = status.get("volumes") if status.get("docker", True) else None
    for name, entry in _services(manifest).items():
        former = _services(old).get(name, {})
        messages = list(_other_volumes(name, entry, former.get("volumes") or {}, there))
        was, will = _place(former), _place(entry)
        if not messages and was and will and was != will:
            messages = [f"{name} would look for its data in {'/'.join(will)} instead of {'/'.join(was)}"]
        for message in messages:
            yield "new-empty-volume", message


def _other_volumes(
    name: str, entry: Mapping[str, Any], former: Mapping[str, str], there: Sequence[str] | None
) -> Iterator[str]:
    targets = {target: volume for volume, target in former.items()}
    for volume, target in (entry.get("volumes") or {}).items():
        before = targets.get(target)
        if before is not None and before != volume:
            yield f"{name} would leave its data in {before} and start empty with {volume}"
        elif before is None and former and volume not in former and _within(entry.get("data_directory") or "", target):
            yield f"{name} would keep its data in {volume}, new and empty, at {target}"
        elif volume in former and former[volume] != target:
            yield f"{name} would look for {volume} at {target} instead of {former[volume]}"
        elif volume in former and there is not None and volume not in {*there, *(entry.get("external") or ())}:
            yield f"volume {volume} of {name} is gone from the host: it would start empty"


def _place(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The named volume that holds the data of a database, and where inside of it; () without one."""
    directory = entry.get("data_directory")
    if not directory:
        return ()
    mounts: dict[str, str] = dict.fromkeys((*(entry.get("binds") or {}).values(), *(entry.get("tmpfs") or ())), "")
    mounts |= {target: volume for volume, target in (entry.get("volumes") or {}).items()}
    around = [target for target in mounts if _within(directory, target)]
    if not around or not mounts[innermost := max(around, key=len)]:
        return ()
    return (mounts[innermost], *PurePosixPath(directory).relative_to(innermost).parts)


def _within(path: str, directory: str) -> bool:
    return PurePosixPath(path).is_relative_to(directory)


def _majors(manifest: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Found]:
    for name, entry in _services(manifest).items():
        former = _services(old).get(name)
        if former is None:
            continue
        before, after = (str(side.get("reference") or side["image"]) for side in (former, entry))
        rule = _MAJORS.get(image_name(after)) or _MAJORS.get(image_name(before))
        if rule is None or before == after:
            continue
        was, will = image_major(before), image_major(after)
        if was is None or will is None:
            yield rule, f"{name}: {before} -> {after}: the tags do not tell whether the major version changes"
        elif was != will:
            yield rule, f"{name}: {was} -> {will}: dump with the old version and restore with the new one"


def _outside(manifest: Mapping[str, Any], old: Mapping[str, Any], resolved: Mapping[str, Resolved]) -> Iterator[Found]:
    for name, entry in _services(manifest).items():
        targets = list((entry.get("volumes") or {}).values())
        directory = entry.get("data_directory")
        had = (_services(old).get(name, {}).get("volumes") or {}).values()
        given_up = [path for path in had if not any(_within(path, to) or _within(to, path) for to in targets)]
        if directory and not _place(entry):
            yield "data-outside-volume", f"{name} keeps its data in {directory}, which is in no named volume"
        elif not directory and given_up:
            yield "data-outside-volume", f"{name} would have no volume any more for {', '.join(given_up)}"
        if anonymous := entry.get("anonymous"):
            yield "data-outside-volume", f"{name} has volumes without a name: {', '.join(anonymous)}"
        found = resolved.get(entry.get("reference") or entry["image"])
        known = [*targets, *(entry.get("binds") or {}).values(), *(entry.get("tmpfs") or ())]
        declared = [path for path in (found.volumes if found else ()) if not any(_within(path, to) for to in known)]
        # a named volume further down holds the data; what lies beside it would be Docker's own, without a name
        lost = [path for path in declared if not (directory and any(_within(to, path) for to in targets))]
        if lost:
            yield "data-outside-volume", f"{name}: its image keeps data in {', '.join(lost)}, which no volume is for"


def _ports(manifest: Mapping[str, Any]) -> Iterator[Found]:
    for name, entry in _services(manifest).items():
        open_ports = sorted({
            f"{port['published'] or 'any'}/{port['protocol']}"
            for port in entry.get("ports") or ()
            if port["published"] not in _WEB and port["host_ip"] not in _LOOPBACK
        })  # fmt: skip
        if open_ports:
            yield "published-port", f"{name} would be reachable from everywhere on {', '.join(open_ports)}"


def _removed(manifest: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Found]:
    used = {volume for entry in _services(manifest).values() for volume in entry.get("volumes") or ()}
    for name, former in _services(old).items():
        unused = [volume for volume in former.get("volumes") or () if volume not in used]
        if name not in _services(manifest) and unused:
            yield "service-with-data-removed", f"{name} would be gone; its data stays in {', '.join(unused)}, unused"


def _memory(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Found]:
    total = int((status.get("memory") or {}).get("total") or 0)
    own = sum(int(entry.get("memory") or 0) for entry in _services(manifest).values())
    others = sum(int(item.get("memory") or 0) for item in status.get("neighbours") or ())
    if total and own + others > total:
        besides = f" (of which {others >> 20} MB are other applications)" if others else ""
        yield (
            "memory-overcommitted",
            f"the limits add up to {(own + others) >> 20} MB{besides}, the machine has {total >> 20} MB",
        )


def _healthchecks(manifest: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Found]:
    for name, entry in _services(manifest).items():
        if _services(old).get(name, {}).get("healthcheck") and not entry["healthcheck"]:
            yield "healthcheck-dropped", f"{name} had a health check and would have none"


def _renamed(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Found]:
    domains = set(manifest["settings"]["domains"])
    for item in status.get("neighbours") or ():
        if item["app"] != manifest["app"] and (shared := sorted(domains & set(item["domains"]))):
            yield (
                "project-renamed",
                f"{', '.join(shared)} is served by {item['app']} on this host: {manifest['app']} would start with an "
                "empty database",
            )


def _drift(status: Mapping[str, Any]) -> Iterator[Found]:
    if drifted := [item["path"] for item in status.get("drift", ()) if by_hand(item["path"], status)]:
        names = ", ".join(drifted[:5]) + (f" and {len(drifted) - 5} more" if len(drifted) > 5 else "")
        yield "drift", f"edited by hand on the host: {names}"


def by_hand(path: str, status: Mapping[str, Any]) -> bool:
    """Whether somebody edited a file that drifted: a deploy that runs or was cut off leaves live/ in between."""
    return not (path.startswith("live/") and (status.get("interrupted") or status.get("busy")))
