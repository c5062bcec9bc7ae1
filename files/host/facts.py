"""Facts of the host itself, read from the kernel: no program is started for them but one for the clock."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

from host.errors import Failure
from host.process import run

_PROC = Path("/proc")


def memory(meminfo: str) -> dict[str, int]:
    """{"total", "available", "swap_total", "swap_free"} in bytes from the text of /proc/meminfo."""
    fields = dict(line.partition(":")[::2] for line in meminfo.splitlines())
    names = {"total": "MemTotal", "available": "MemAvailable", "swap_total": "SwapTotal", "swap_free": "SwapFree"}
    return {key: int((fields.get(name) or "0").split()[0]) * 1024 for key, name in names.items()}


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
