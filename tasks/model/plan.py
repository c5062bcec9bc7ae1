"""The plan of a deploy: what would change on the host, and why. Pure: manifests and observations in, plan out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tasks.model.bundle import Bundle


@dataclass(frozen=True)
class FileChange:
    """A file of the release that differs from the one on the host.

    Attributes:
        path: inside the release.
        action: "added", "changed", "removed", or "edited by hand" (the host's copy is not what was pushed).
        secret: its content is never shown.
        diff: unified diff, "" for secrets, binaries and whole new files.
    """

    path: str
    action: str
    secret: bool = False
    diff: str = ""


@dataclass(frozen=True)
class ServiceChange:
    """What happens to one service's container.

    Attributes:
        service: its name.
        action: "create", "recreate", "restart", "reload", "start" or "remove".
        reasons: why, one short phrase each.
    """

    service: str
    action: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Everything a deploy would do to a host.

    Attributes:
        release: the id the new release would get.
        previous: the id of the release that serves now, None on a first deploy.
        version: of the application.
        files: what is pushed or removed.
        services: what happens to containers; a service that is not named is not touched.
        images: (old, new) reference by service, for those whose image changes.
        other: further steps: the certificate, the systemd unit, the host program, an unfinished change.
    """

    release: str
    previous: str | None
    version: str
    files: tuple[FileChange, ...]
    services: tuple[ServiceChange, ...]
    images: Mapping[str, tuple[str | None, str]]
    other: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the host is already as it should be."""
        return not (self.files or self.services or self.other)

    def to_json(self) -> dict[str, Any]:
        """The plan as a JSON-able document."""
        return asdict(self) | {"empty": self.is_empty, "images": {k: list(v) for k, v in self.images.items()}}


def files_to_compare(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> list[str]:
    """Name the files of the current release whose content a diff needs: public ones that will change."""
    old = (status.get("manifest") or {}).get("files", {})
    return [
        path
        for path, entry in manifest["files"].items()
        if path in old and old[path]["sha256"] != entry["sha256"] and not entry["secret"] and not old[path]["secret"]
    ]


def compute(
    bundle: Bundle,
    manifest: Mapping[str, Any],
    status: Mapping[str, Any],
    *,
    program: str,
    contents: Mapping[str, bytes],
    now: float,
) -> Plan:
    """Compare what should be with what is.

    Args:
        bundle: what would be deployed.
        manifest: its manifest.
        status: what the host program reports.
        program: sha256 of the host program that belongs to this checkout.
        contents: of the host's files that `files_to_compare` named.
        now: seconds since the epoch, for the certificate's end.
    Returns:
        The plan; `is_empty` when the host is as it should be.
    """
    old = status.get("manifest") or {}
    drift = {item["path"]: item["state"] for item in status.get("drift", ())}
    files = tuple(_files(bundle, manifest, old, drift, contents))
    services = tuple(_services(manifest, old, status, {file.path for file in files}, files))
    images = {
        name: (old.get("services", {}).get(name, {}).get("image"), entry["image"])
        for name, entry in manifest["services"].items()
        if old.get("services", {}).get(name, {}).get("image") != entry["image"]
    }
    return Plan(
        release=manifest["release"],
        previous=status.get("release"),
        version=bundle.version,
        files=files,
        services=services,
        images=images,
        other=tuple(_other(manifest, old, status, program, now)),
    )


def _files(
    bundle: Bundle,
    manifest: Mapping[str, Any],
    old: Mapping[str, Any],
    drift: Mapping[str, str],
    contents: Mapping[str, bytes],
) -> Iterable[FileChange]:
    before, after = old.get("files", {}), manifest["files"]
    for path in sorted(before.keys() | after.keys()):
        secret = bool(after.get(path, before.get(path))["secret"])
        if path not in before:
            yield FileChange(path, "added", secret)
        elif path not in after:
            yield FileChange(path, "removed", secret)
        elif before[path]["sha256"] != after[path]["sha256"]:
            yield FileChange(path, "changed", secret, _diff(path, contents.get(path), bundle.files[path].data, secret))
        elif {name: before[path][name] for name in ("mode", "secret")} != {
            name: after[path][name] for name in ("mode", "secret")
        }:
            yield FileChange(path, "changed", secret, "")
    for path, state in sorted(drift.items()):
        yield FileChange(path, f"{state} by hand" if state != "missing" else "missing on the host", "secrets/" in path)


def _diff(path: str, old: bytes | None, new: bytes, secret: bool) -> str:
    if secret or old is None:
        return ""
    try:
        before, after = old.decode().splitlines(), new.decode().splitlines()
    except UnicodeDecodeError:
        return ""
    return "\n".join(difflib.unified_diff(before, after, f"host/{path}", f"new/{path}", lineterm="", n=2))


def _services(
    manifest: Mapping[str, Any],
    old: Mapping[str, Any],
    status: Mapping[str, Any],
    changed: set[str],
    files: tuple[FileChange, ...],
) -> Iterable[ServiceChange]:
    before, containers = old.get("services", {}), {item["service"]: item for item in status.get("containers", ())}
    for name, entry in manifest["services"].items():
        container, former = containers.get(name), before.get(name)
        if container is None:
            yield ServiceChange(name, "create", ("it has no container",))
            continue
        was, will = (side.get("environment", {}).get(name, {}) for side in (old, manifest))
        variables = sorted(key for key in was.keys() | will.keys() if was.get(key) != will.get(key))
        reasons = list(_recreation(entry, former, container, variables))
        if reasons:
            yield ServiceChange(name, "recreate", tuple(reasons))
            continue
        mounted = [*entry["config"], *entry["secrets"]]
        if read := [f"{path} changed" for path in sorted(changed) if _below(path, mounted)]:
            yield ServiceChange(name, "reload" if entry["reload"] else "restart", tuple(read))
        elif container["state"] != "running":
            yield ServiceChange(name, "start", (f"it is {container['state']}",))
    for name in sorted(containers.keys() - manifest["services"].keys()):
        yield ServiceChange(name, "remove", ("the Compose file no longer has it",))


def _recreation(
    entry: Mapping[str, Any], former: Mapping[str, Any] | None, container: Mapping[str, Any], variables: list[str]
) -> Iterable[str]:
    if container["image"] != entry["image"]:
        yield f"image {container['image']} -> {entry['image']}"
    if former is None or former["definition"] != entry["definition"]:
        yield "its definition changed"
    if former is not None and entry["env_files"] and variables:
        yield "environment: " + ", ".join(variables)


def _below(path: str, directories: Iterable[str]) -> bool:
    # what drifted is named with where it lies: live/nginx/nginx.conf
    return any(path.removeprefix("live/").startswith(f"{directory}/") for directory in directories)


def _other(
    manifest: Mapping[str, Any], old: Mapping[str, Any], status: Mapping[str, Any], program: str, now: float
) -> Iterable[str]:
    if status.get("program") != program:
        yield f"host program: install {program[:12]} at /usr/local/bin/{manifest['app']}"
    if old and old.get("settings") != manifest["settings"]:
        was, will = old.get("settings", {}), manifest["settings"]
        yield "settings: " + ", ".join(sorted(key for key in will if was.get(key) != will[key]))
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


def describe(plan: Plan, host: str) -> str:
    """Write a plan for a person: what is pushed, what happens to which container, and why."""
    if plan.is_empty:
        return f"{host}: nothing to do, release {plan.previous} is what the settings and files describe"
    lines = [f"Plan for {host}: {plan.previous or 'nothing deployed yet'} -> {plan.release}"]
    lines += _section("Files", _describe_files(plan))
    lines += _section("Containers", [f"{c.action:9} {c.service}: {'; '.join(c.reasons)}" for c in plan.services])
    lines += _section("Images", [f"{name}: {was or 'none'} -> {new}" for name, (was, new) in plan.images.items()])
    lines += _section("Also", list(plan.other))
    return "\n".join(lines)


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"  {title}", *(f"    {line}" for line in lines)] if lines else []


def _describe_files(plan: Plan) -> list[str]:
    if plan.previous is None:
        return [f"{len(plan.files)} new files, {sum(file.secret for file in plan.files)} of them secret"]
    lines = []
    for file in plan.files:
        lines.append(f"{file.action:9} {file.path}" + (" (secret, not shown)" if file.secret else ""))
        lines += [f"  {line}" for line in file.diff.splitlines()]
    return lines
