"""What happens to which container, why, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tasks.model.plan.types import FileChange, ImageChange, ServiceChange

EDGE = "nginx"
_BESIDE = ("grafana", "prometheus", "node-exporter")  # visitors do not notice that they are away


def containers(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The container that counts for each service: the one nginx is pointed at, else one that runs."""
    upstreams = status.get("upstreams") or {}
    found: dict[str, Mapping[str, Any]] = {}
    for item in sorted(status.get("containers", ()), key=lambda item: str(item["name"])):
        name, known = item["service"], found.get(item["service"])
        better = item["name"] == upstreams.get(name) or (
            known is not None
            and known["name"] != upstreams.get(name)
            and known["state"] != "running"
            and item["state"] == "running"
        )
        if known is None or better:
            found[name] = item
    return found


def left_over(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> list[str]:
    """Containers of switched services besides the one that counts: a deploy that was cut off left them."""
    chosen = {item["name"] for item in containers(status).values()}
    switched = {name for name, entry in manifest["services"].items() if entry.get("switch")}
    return sorted(
        item["name"]
        for item in status.get("containers", ())
        if item["service"] in switched and item["name"] not in chosen
    )


def changes(
    manifest: Mapping[str, Any], status: Mapping[str, Any], files: Iterable[FileChange]
) -> Iterator[ServiceChange]:
    """What happens to each service's container; those that nothing happens to are left out."""
    old = status.get("manifest") or {}
    before, there = old.get("services", {}), containers(status)
    changed = sorted({file.path for file in files})
    for name, entry in manifest["services"].items():
        container, former = there.get(name), before.get(name)
        if container is None:
            yield ServiceChange(name, "create", ("it has no container",), _creation(name, entry, bool(old)))
            continue
        reasons = tuple(_recreation(entry, former, container, variables(entry, old, manifest)))
        mounted = [*entry["config"], *entry["secrets"]]
        read = tuple(f"{path} changed" for path in changed if _below(path, mounted))
        # nothing that is not running, or that nobody was ever sent to, can be missed
        missed = outage(name, entry) if old and container["state"] == "running" else "none"
        if entry.get("switch") and (reasons or read):
            yield ServiceChange(name, "switch", reasons + read)
        elif reasons:
            yield ServiceChange(name, "recreate", reasons, missed)
        elif container["state"] != "running":
            yield ServiceChange(name, "start", (f"it is {container['state']}", *read))
        elif read and entry["reload"]:
            yield ServiceChange(name, "reload", read)
        elif read:
            yield ServiceChange(name, "restart", read, missed)
    for name in sorted(there.keys() - manifest["services"].keys()):
        yield ServiceChange(name, "remove", ("the Compose file no longer has it",))


def _creation(name: str, entry: Mapping[str, Any], replaces: bool) -> str:
    return "it is not there now" if replaces and name not in _BESIDE else "none"


def variables(entry: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The variables of the env files a service reads that changed: several may read one file."""
    found: set[str] = set()
    for path in entry["env_files"]:
        was, will = (side.get("environment", {}).get(path.removesuffix(".env"), {}) for side in (old, new))
        found |= {key for key in was.keys() | will.keys() if was.get(key) != will.get(key)}
    return sorted(found)


def astray(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, str]:
    """{container nginx is pointed at, that is gone: the one there is instead}."""
    if EDGE not in manifest["services"]:
        return {}
    names = {item["name"] for item in status.get("containers", ())}
    there, upstreams = containers(status), status.get("upstreams") or {}
    return {
        upstreams[name]: there[name]["name"]
        for name, entry in manifest["services"].items()
        if entry.get("switch") and name in there and name in upstreams and upstreams[name] not in names
    }


def outage(name: str, entry: Mapping[str, Any]) -> str:
    """What is noticed while the container of a service is stopped and started again."""
    grace = f"up to {entry.get('grace') or 10:.0f} s"
    if name == EDGE:
        return f"the whole site for a few seconds, {grace} while long requests end"
    if name in _BESIDE:
        return "none"
    data = " its data stays;" if entry.get("volumes") else ""
    return f"{grace} to stop, then its start;{data} the application cannot reach it meanwhile"


def _recreation(
    entry: Mapping[str, Any], former: Mapping[str, Any] | None, container: Mapping[str, Any], changed: list[str]
) -> Iterator[str]:
    pin = entry.get("pin") or {}
    if container["image"] != entry["image"]:
        yield f"image {short(container['image'])} -> {short(entry['image'])}"
    elif pin.get("id") and not pin.get("digest") and container.get("image_id") != pin["id"]:
        yield f"image {short(entry['image'])} is another one now ({pin['id'][7:19]})"
    if former is None:
        yield "no release says what it was made from"
    elif former["definition"] != entry["definition"]:
        yield "its definition changed"
    if former is not None and changed:
        yield "environment: " + ", ".join(changed)


def _below(path: str, directories: Iterable[str]) -> bool:
    # what drifted is named with where it lies: live/nginx/nginx.conf
    return any(path.removeprefix("live/").startswith(f"{directory}/") for directory in directories)


def short(image: str) -> str:
    """An image reference for a person: of the digest the beginning."""
    name, separator, digest = image.partition("@sha256:")
    return f"{name}@{digest[:12]}" if separator else image


def images(
    manifest: Mapping[str, Any], status: Mapping[str, Any], resolved: Mapping[str, Any]
) -> Iterator[ImageChange]:
    """The services that get another image, with what is still to be transferred."""
    there = containers(status)
    counted: set[str] = set()
    for name, entry in manifest["services"].items():
        container = there.get(name)
        old = container["image"] if container else None
        pin = entry.get("pin") or {}
        same_id = not pin.get("id") or pin.get("digest") or (container or {}).get("image_id") == pin["id"]
        if old == entry["image"] and same_id:
            continue
        found = resolved.get(entry.get("reference") or entry["image"])
        size = None if found is None else 0 if entry["image"] in counted else found.bytes
        counted.add(entry["image"])
        yield ImageChange(name, old, entry["image"], size, found.source if found else None)


def edge(services: Iterable[ServiceChange], *, astray: bool = False) -> str:
    """What happens to nginx: `astray` when it is pointed at what is gone."""
    actions = {change.service: change.action for change in services}
    if actions.get(EDGE) in ("create", "recreate", "restart", "start"):
        return "restart"
    if actions.get(EDGE) == "reload" or "switch" in actions.values() or astray:
        return "reload"
    return "none"
