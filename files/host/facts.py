"""Facts of the host itself, read from the kernel: no program is started for them but one for the clock."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host.errors import Failure
from host.process import Done, explain, run

_PROC = Path("/proc")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm"}


def memory(meminfo: str) -> dict[str, int]:
    """{"total", "available", "swap_total", "swap_free"} in bytes from the text of /proc/meminfo."""
    fields = dict(line.partition(":")[::2] for line in meminfo.splitlines())
    names = {"total": "MemTotal", "available": "MemAvailable", "swap_total": "SwapTotal", "swap_free": "SwapFree"}
    return {key: int((fields.get(name) or "0").split()[0]) * 1024 for key, name in names.items()}


@dataclass(frozen=True)
class Engine:
    """The Docker engine: where and how it keeps images, for which architecture (Docker's name), its registries."""

    root: Path
    store: str  # classic | containerd
    architecture: str
    registries: Mapping[str, Any]


def engine() -> Engine:
    """Ask the engine. Raises Failure when it does not answer."""
    info = json.loads(run(["docker", "info", "--format", "{{json .}}"], deadline=60).stdout)
    if not info.get("ServerVersion"):  # `docker info` succeeds although nobody answers it
        raise explain(["docker", "info"], Done(1, b"", "\n".join(info.get("ServerErrors") or [])))
    machine = str(info.get("Architecture", ""))
    return Engine(
        Path(str(info.get("DockerRootDir") or "/var/lib/docker")),
        "containerd" if "io.containerd.snapshotter" in json.dumps(info.get("DriverStatus")) else "classic",
        _ARCHITECTURES.get(machine, machine),
        info.get("RegistryConfig") or {},
    )


def space(places: Mapping[str, Path]) -> list[dict[str, Any]]:
    """[{"purpose", "path", "mount", "free", "total"}] in bytes for each purpose and the directory that serves it."""
    found = []
    for purpose, path in places.items():
        [disk] = disks([path])
        found.append({"purpose": purpose, "path": str(path), **disk})
    return found


def disks(paths: list[Path]) -> list[dict[str, Any]]:
    """[{"mount", "total", "free"}] in bytes of the file systems the paths are on, each once."""
    seen, found = set(), []
    for path in paths:
        place = path
        while not place.exists() and place != place.parent:
            place = place.parent
        device = place.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        while not place.is_mount() and place != place.parent:
            place = place.parent
        usage = shutil.disk_usage(place)
        found.append({"mount": str(place), "total": usage.total, "free": usage.free})
    return found


def clock() -> dict[str, Any]:
    """{"time": unix, "synchronized": bool or None when nobody can tell}."""
    try:
        done = run(["timedatectl", "show", "-p", "NTPSynchronized", "--value"], deadline=10, check=False)
        word = done.text.strip() if done.status == 0 else ""
    except Failure:
        word = ""
    return {"time": time.time(), "synchronized": {"yes": True, "no": False}.get(word)}


def host(root: Path) -> dict[str, Any]:
    """Disk, memory, load, clock, boot id and uptime (seconds)."""
    return {
        "disk": disks([Path("/"), root, Path("/var/lib/docker")]),
        "memory": memory((_PROC / "meminfo").read_text()),
        "load": [round(value, 2) for value in os.getloadavg()],
        "clock": clock(),
        "boot_id": (_PROC / "sys/kernel/random/boot_id").read_text().strip(),
        "uptime": float((_PROC / "uptime").read_text().split()[0]),
    }
