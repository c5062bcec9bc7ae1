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
    switching = [change.service for change in touched if change.action == "switch"]
    warnings = list(consequences.double_memory(manifest, status, switching)) if touched else []
    known = _accepted_before(manifest, status, kind)
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
        edge=services.edge(touched, astray=bool(services.astray(manifest, status))),
        migration=consequences.migration(manifest, status) if kind == "deploy" else None,
        disk=consequences.disk(manifest, status, images),
        guards=tuple(
            Guard(rule, message, rule in accepted or (rule, message) in known)
            for rule, message in rules.judge(manifest, status, resolved)
        ),
        warnings=tuple(warnings),
        other=tuple(consequences.other(manifest, status, program, now)),
    )


def _accepted_before(manifest: Mapping[str, Any], status: Mapping[str, Any], kind: str) -> set[rules.Found]:
    """What needs no new word: broken in the very same way, and accepted, by the release one goes back to or by the one
    that serves now. A word given for one port is none for another, and what becomes of data, or of edits by hand, is
    asked about each time."""
    agreed: Mapping[str, Any] = (manifest if kind == "rollback" else status.get("manifest")) or {}
    names = set(agreed.get("accepted") or ()) - rules.ASKED_EACH_TIME
    if not names:
        return set()
    before = {**status, "manifest": status.get("manifest") if kind == "rollback" else None, "drift": []}
    return {found for found in rules.judge(agreed, before, {}) if found[0] in names}
