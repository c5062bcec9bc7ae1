"""The id of a plan: the same for the same host and the same target, another one when either moved."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from tasks.model.plan.types import Plan

_ID = re.compile(r"([0-9a-f]{6})-([0-9a-f]{6})")
_TIMES = ("created", "release", "plan", "by", "revision", "accepted")  # of a manifest: not what it does


def identify(manifest: Mapping[str, Any], status: Mapping[str, Any], program: str, kind: str) -> str:
    """Two halves, a dash between them: what was seen of the host, and what would be there afterwards."""
    seen = {
        "release": status.get("release"),
        "program": status.get("program"),
        "drift": sorted((item["path"], item["state"]) for item in status.get("drift", ())),
        "containers": sorted(
            (item["service"], item["name"], item["image"], item["id"], item["state"] == "running")
            for item in status.get("containers", ())
        ),
        "volumes": sorted(status.get("volumes") or ()),
        "certificate": (status.get("certificate") or {}).get("names"),
        "last": (status.get("last") or {}).get("result"),
        "interrupted": status.get("interrupted"),
        "upstreams": status.get("upstreams") or {},
        "unit": status.get("unit") or {},
        "neighbours": sorted((item["app"], sorted(item["domains"])) for item in status.get("neighbours") or ()),
    }
    wanted = {key: value for key, value in manifest.items() if key not in _TIMES}
    # a rollback is to one certain release, a deploy to what a new one would hold
    target = {"kind": kind, "program": program, **(wanted if kind == "deploy" else {"release": manifest["release"]})}
    return f"{_digest(seen)}-{_digest(target)}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()[:6]


def moved(expected: str, plan: Plan) -> str | None:
    """Say in words why `plan` is not the one with the id `expected`; None when it is."""
    if expected == plan.id:
        return None
    match = _ID.fullmatch(expected)
    if not match:
        return "that is not the id of a plan"
    host, target = plan.id.split("-")
    parts = []
    if match[1] != host:
        parts.append("the host is not as it was then")
    if match[2] != target:
        parts.append("what would be deployed is not what it was then")
    return " and ".join(parts)
