"""What a host reports on which a release serves as it should."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from tasks.model import program

SPACE = [
    {"purpose": purpose, "path": "/", "mount": "/", "free": 50 << 30, "total": 80 << 30}
    for purpose in ("releases", "images", "backups")
]


def status(manifest: Mapping[str, Any] | None, app: str = "maicivy") -> dict[str, Any]:
    """The status of a host with this release; None for one where nothing is deployed yet."""
    there = json.loads(json.dumps(manifest)) if manifest else None
    services = there["services"] if there else {}
    release = there["release"] if there else None
    return {
        "app": app,
        "program": program.digest(program.build(app)),
        "release": release,
        "manifest": there,
        "drift": [],
        "busy": None,
        "containers": [
            {
                "service": name, "name": f"{app}-{name}-1", "image": entry["image"], "state": "running",
                "health": "healthy", "exit_code": 0, "restarts": 0, "oom_killed": False, "started": "",
                "id": f"{name}1",
                "image_id": (entry["pin"] or {}).get("id"),
            }
            for name, entry in services.items()
        ],
        "upstreams": {name: f"{app}-{name}-1" for name, entry in services.items() if entry["switch"]},
        "volumes": sorted({volume for entry in services.values() for volume in entry["volumes"]}),
        "neighbours": [],
        "releases": [release] if release else [],
        "results": {release: {"result": "healthy"}} if release else {},
        "history": [],
        "last": {"release": release, "result": "done"} if release else None,
        "interrupted": None,
        "certificate": {"names": there["settings"]["domains"], "not_after": time.time() + 1e6} if there else None,
        "unit": {f"{app}.service": "enabled"} if there else {},
        "problems": [],
        "memory": {"total": 8 << 30, "available": 4 << 30},
        "space": SPACE,
        "disk": [],
        "docker": {"store": "classic", "arch": "amd64"},
    }  # fmt: skip
