"""The manifest: what a release says of itself, on the host and to the next plan."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.core.settings import Settings
    from tasks.model.bundle import Bundle

FORMAT = 1


@dataclass(frozen=True)
class Origin:
    """Who made a release, when and from what.

    Attributes:
        created: aware time.
        by: user@machine.
        revision: of the toolkit's checkout, None outside of git.
    """

    created: datetime
    by: str
    revision: str | None


def release_id(created: datetime, version: str) -> str:
    """Name a release so that names sort by time: 20261122T100000Z-1.4.0."""
    return f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{re.sub(r'[^A-Za-z0-9._-]', '_', version)[:64]}"


def build(bundle: Bundle, settings: Settings, origin: Origin) -> dict[str, Any]:
    """Describe a bundle as a release.

    Returns:
        The manifest, JSON-able, without any secret value.
    """
    return {
        "format": FORMAT,
        "release": release_id(origin.created, bundle.version),
        "version": bundle.version,
        "created": origin.created.astimezone(UTC).isoformat(timespec="seconds"),
        "by": origin.by,
        "revision": origin.revision,
        "app": bundle.app,
        "settings": {
            "keep": settings.releases_keep,
            "health_timeout": settings.health_timeout,
            "acme_server": settings.acme_server,
            "acme_email": settings.acme_email,
            "domains": settings.domains,
            "registry": settings.registry or "",
            "registry_user": settings.registry_user or "",
        },
        "files": {
            path: {"sha256": file.sha256, "size": len(file.data), "mode": file.mode, "secret": file.secret}
            for path, file in bundle.files.items()
        },
        "services": {
            service.name: {
                "image": service.image,
                "user": service.user,
                "definition": service.definition,
                "config": [mount for mount in service.mounts if not mount.startswith("secrets/")],
                "secrets": [mount for mount in service.mounts if mount.startswith("secrets/")],
                "env_files": list(service.env_files),
                "check": list(service.check) if service.check else None,
                "reload": list(service.reload) if service.reload else None,
                "healthcheck": service.has_healthcheck,
            }
            for service in bundle.services.values()
        },
        "environment": {service: dict(variables) for service, variables in bundle.environment.items()},
    }
