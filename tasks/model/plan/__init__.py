"""The plan of a change: what it would do to the host, why, and what that costs. Pure: manifests and observations in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.model import guards as rules
from tasks.model.plan import consequences, files, services
from tasks.model.plan.files import files_to_compare
from tasks.model.plan.identity import identify, moved
from tasks.model.plan.render import describe
from tasks.model.plan.types import FileChange, Guard, ImageChange, Plan, ServiceChange

if TYPE_CHECKING:
    from tasks.model.images import Resolved

__all__ = [
    "FileChange", "Guard", "ImageChange", "Plan", "ServiceChange", "compute", "describe", "files_to_compare", "moved",
]  # fmt: skip


def compute(
    manifest: Mapping[str, Any],
    status: Mapping[str, Any],
    *,
    program: str,
    new: Mapping[str, bytes],
    old: Mapping[str, bytes],
    resolved: Mapping[str, Resolved],
    accepted: Sequence[str],
    now: float,
    kind: str = "deploy",
) -> Plan:
    """Compare what should be with what is.

    Args:
        manifest: of the release that is to serve.
        status: what the host program reports.
        program: sha256 of the host program that belongs to this checkout.
        new: contents of the release's public files, by path; may be empty for a release that is on the host.
        old: contents of the host's files that `files_to_compare` named.
        resolved: what was found out about image references, for those that were looked up.
        accepted: the rules that the user accepts.
        now: seconds since the epoch, for the certificate's end.
        kind: "deploy" or "rollback".
    Returns:
        The plan; `is_empty` when the host is as it should be.
    """
    changed = tuple(files.changes(manifest, status, new, old))
    touched = tuple(services.changes(manifest, status, changed))
    images = tuple(services.images(manifest, status, resolved))
    warnings = list(consequences.double_memory(manifest, status)) if touched else []
    known = {*accepted, *_accepted_before(manifest, status, kind)}
    if kind == "rollback":
        warnings += consequences.migrations_between(manifest["release"], status)
    return Plan(
        id=identify(manifest, status, program, kind),
        kind=kind,
        release=manifest["release"],
        previous=status.get("release"),
        version=manifest["version"],
        files=changed,
        services=touched,
        images=images,
        edge=services.edge(touched),
        migration=consequences.migration(manifest, status) if kind == "deploy" else None,
        disk=consequences.disk(manifest, status, images),
        guards=tuple(Guard(rule, message, rule in known) for rule, message in rules.judge(manifest, status, resolved)),
        warnings=tuple(warnings),
        other=tuple(consequences.other(manifest, status, program, now)),
    )


def _accepted_before(manifest: Mapping[str, Any], status: Mapping[str, Any], kind: str) -> set[str]:
    """The rules that need no new word: accepted for the very release one goes back to, or broken just as much, and
    accepted, by the release that serves now. Edits by hand are never among them: they are new each time."""
    current: Mapping[str, Any] = status.get("manifest") or {}
    if kind == "rollback":
        return set(manifest.get("accepted") or ()) - {"drift"}
    if not current.get("accepted"):
        return set()
    alone = {**status, "manifest": None, "drift": []}
    now = set(rules.judge(manifest, alone, {}))
    return {rule for rule, message in rules.judge(current, alone, {}) if (rule, message) in now} & set(
        current["accepted"]
    )
