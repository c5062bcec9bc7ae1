"""Every image of the lab: what it is built from, what it is called, what it stands for. The one table of tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import base

HERE = Path(__file__).parent
IMAGES = HERE / "images"
APP = HERE / "app"

# The setting that names it in .env -> the official reference. The stand-ins answer to exactly these.
OFFICIAL = {
    "POSTGRES_IMAGE": "postgres:17.12",
    "REDIS_IMAGE": "redis:8.0.5",
    "NGINX_IMAGE": "nginx:1.30.6",
    "PROMETHEUS_IMAGE": "prom/prometheus:v3.5.3",
    "GRAFANA_IMAGE": "grafana/grafana:13.2.3",
    "NODE_EXPORTER_IMAGE": "prom/node-exporter:v1.11.1",
    "ALERTMANAGER_IMAGE": "prom/alertmanager:v0.33.1",
}
APP_IMAGES = ("maicivy/backend", "maicivy/frontend")
APP_VERSIONS = ("1.0.0", "1.1.0", "2.0.0-broken")
BROKEN = "this version was built broken on purpose: it never becomes healthy"


@dataclass(frozen=True)
class Image:
    """One build: its context, what it is FROM, and the reference it is published as (None: local only)."""

    name: str
    directory: Path
    parents: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    stands_for: str | None = None
    needs_ca: bool = False

    @property
    def local(self) -> str:
        """Its name in this machine's engine; never the official one, which a developer may really have."""
        return f"lab/{self.name}"


def images() -> tuple[Image, ...]:
    """All builds, parents first."""
    table = [
        *(Image(f"base-{s}", IMAGES / "base", arguments={"DEBIAN": base.source(s)}) for s in base.SUITES),
        Image("ca", IMAGES / "ca", ("base-trixie",)),
        Image("registry", IMAGES / "registry", ("base-trixie",)),
        Image("pebble", IMAGES / "pebble", ("base-trixie", "ca")),
        Image("storage", IMAGES / "storage", ("base-forky",)),
        Image("vps", IMAGES / "vps", ("base-trixie",)),
        Image("busybox", IMAGES / "busybox", ("base-forky",)),
    ]
    parents = {"nginx": "base-forky", "prometheus": "busybox", "alertmanager": "busybox", "node-exporter": "busybox"}
    for official in OFFICIAL.values():
        name = official.rsplit("/")[-1].split(":")[0]
        table.append(Image(name, IMAGES / name, (parents.get(name, "base-trixie"),), stands_for=official))
    for name in APP_IMAGES:
        short = name.rsplit("/", maxsplit=1)[-1]
        if not (APP / short / "Dockerfile").exists():
            continue
        table.append(Image(f"{short}-build", APP / short, ("base-trixie",), needs_ca=True))
        for version in APP_VERSIONS:
            arguments = {
                "PROGRAM": f"lab/{short}-build",
                "APP_VERSION": version,
                "LAB_BROKEN": BROKEN if "broken" in version else "",
            }
            table.append(
                Image(
                    f"{short}-{version}",
                    APP / "version",
                    (f"{short}-build",),
                    arguments,
                    stands_for=f"{name}:{version}",
                )
            )
    return tuple(table)


def repository(reference: str) -> str:
    """The path of a reference inside a registry: Docker Hub's official images live below library/."""
    return reference if "/" in reference else f"library/{reference}"
