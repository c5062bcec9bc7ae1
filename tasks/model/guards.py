"""Rules that a change must not break unless its user says so by name: each one has cost somebody their data or site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tasks.model.compose import image_major, image_name

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
    yield from _outside(manifest, resolved)
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
    there = status.get("volumes")
    for name, entry in _services(manifest).items():
        former = _services(old).get(name, {}).get("volumes") or {}
        targets = {target: volume for volume, target in former.items()}
        for volume, target in (entry.get("volumes") or {}).items():
            before = targets.get(target)
            if before is not None and before != volume:
                yield "new-empty-volume", f"{name} would leave its data in {before} and start empty with {volume}"
            elif before is None and former and volume not in former and _holds(entry, target):
                yield "new-empty-volume", f"{name} would keep its data in {volume}, new and empty, at {target}"
            elif volume in former and former[volume] != target:
                yield (
                    "new-empty-volume",
                    f"{name} would look for {volume} at {target} instead of {former[volume]}",
                )
            elif volume in former and there is not None and volume not in there:
                yield "new-empty-volume", f"volume {volume} of {name} is gone from the host: it would start empty"


def _holds(entry: Mapping[str, Any], target: str) -> bool:
    directory = entry.get("data_directory")
    return bool(directory) and _within(str(directory), target)


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


def _outside(manifest: Mapping[str, Any], resolved: Mapping[str, Resolved]) -> Iterator[Found]:
    for name, entry in _services(manifest).items():
        targets = list((entry.get("volumes") or {}).values())
        directory = entry.get("data_directory")
        if directory and not any(_within(directory, target) for target in targets):
            yield "data-outside-volume", f"{name} keeps its data in {directory}, which is in no named volume"
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
    for name, former in _services(old).items():
        if name not in _services(manifest) and (volumes := former.get("volumes")):
            yield "service-with-data-removed", f"{name} would be gone; its data stays in {', '.join(volumes)}, unused"


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
    drifted = [item["path"] for item in status.get("drift", ())]
    if status.get("interrupted"):
        # a deploy that was cut off leaves live/ between two releases: nobody edited that
        drifted = [path for path in drifted if not path.startswith("live/")]
    if drifted:
        names = ", ".join(drifted[:5]) + (f" and {len(drifted) - 5} more" if len(drifted) > 5 else "")
        yield "drift", f"edited by hand on the host: {names}"
