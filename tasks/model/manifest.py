"""The manifest: what a release says of itself, on the host and to the next plan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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


def build(
    bundle: Bundle, settings: Settings, origin: Origin, *, plan: str | None = None, accepted: Sequence[str] = ()
) -> dict[str, Any]:
    """Describe a bundle as a release.

    Args:
        bundle: what it consists of.
        settings: it was made with.
        origin: who made it.
        plan: the id of the plan that was agreed to.
        accepted: the rules that were accepted.
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
        "plan": plan,
        "accepted": sorted(accepted),
        "placeholders": list(bundle.placeholders),
        "settings": {
            "keep": settings.releases_keep,
            "health_timeout": settings.health_timeout,
            "acme_server": settings.acme_server,
            "acme_email": settings.acme_email,
            "domains": settings.domains,
            "drain_time": settings.drain_time,
            "migration": list(settings.migration_command),
            "postgres_user": settings.postgres_user,
            "postgres_db": settings.postgres_db,
            "http_port": settings.http_port,
            "https_port": settings.https_port,
            "registry": settings.registry or "",
            "registry_user": settings.registry_user or "",
        },
        "files": {
            path: {"sha256": file.sha256, "size": len(file.data), "mode": file.mode, "secret": file.secret}
            for path, file in bundle.files.items()
        },
        "services": {
            service.name: {
                "reference": bundle.references[service.name],
                "image": service.image,
                "pin": _pin(bundle, bundle.references[service.name]),
                "user": service.user,
                "definition": service.definition,
                "config": [mount for mount in service.mounts if not mount.startswith("secrets/")],
                "secrets": [mount for mount in service.mounts if mount.startswith("secrets/")],
                "env_files": list(service.env_files),
                "check": list(service.check) if service.check else None,
                "reload": list(service.reload) if service.reload else None,
                "healthcheck": service.has_healthcheck,
                "switch": asdict(service.switch) if service.switch else None,
                "marker": list(service.marker) if service.marker else None,
                "volumes": dict(service.volumes),
                "external": list(service.external),
                "anonymous": list(service.anonymous),
                "binds": dict(service.binds),
                "tmpfs": list(service.tmpfs),
                "ports": [asdict(port) for port in service.ports],
                "memory": service.memory,
                "data_directory": service.data_directory,
                "grace": service.grace,
            }
            for service in bundle.services.values()
        },
        "environment": {service: dict(variables) for service, variables in bundle.environment.items()},
    }


def _pin(bundle: Bundle, reference: str) -> dict[str, str | None] | None:
    pin = bundle.pins.get(reference)
    return asdict(pin) if pin else None
