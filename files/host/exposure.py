"""What of this host can be reached from outside: who listens, what Docker publishes, and which rules are loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from host.errors import Failure
from host.process import run

_ALLOWED = Path("/etc/published-ports")
_SCRIPT = Path("/usr/local/sbin/published-ports")
_LISTENER = re.compile(r"^(tcp|udp)\s+\S+\s+\d+\s+\d+\s+(\S+):(\d+)\s+\S+(?:\s+users:\(\(\"([^\"]*)\")?")
_PUBLISHED = re.compile(r"(\[?[0-9a-fA-F.:]*[0-9a-fA-F]\]?|0\.0\.0\.0|\[?::\]?):(\d+)(?:-(\d+))?->\S+?/(tcp|udp)")


def exposure() -> dict[str, Any]:
    """{"listeners", "published", "allowed", "rules", "backend"} as the workstation judges them. Reads only."""
    return {
        "listeners": listeners(run(["ss", "-H", "-l", "-t", "-u", "-n", "-p"], deadline=20).text),
        "published": published(_docker(["docker", "ps", "--format", "{{.Names}}\t{{.Ports}}"])),
        "allowed": sorted(_allowed()),
        "rules": _rules(),
        "backend": backend(_docker(["docker", "info", "--format", "{{json .}}"])),
    }


def _docker(words: list[str]) -> str:
    try:
        return run(words, deadline=30, check=False).text
    except Failure:  # no Docker yet
        return ""


def listeners(text: str) -> list[dict[str, Any]]:
    """[{"protocol", "address", "port", "program"}] from what `ss -H -ltunp` prints."""
    found = []
    for match in filter(None, map(_LISTENER.match, text.splitlines())):
        protocol, address, port, program = match.groups()
        address = address.partition("%")[0].strip("[]")
        found.append({"protocol": protocol, "address": address, "port": int(port), "program": program or ""})
    return found


def published(text: str) -> list[dict[str, Any]]:
    """[{"protocol", "address", "port", "container"}] from names and ports as `docker ps` prints them."""
    found = []
    for line in text.splitlines():
        name, _, ports = line.partition("\t")
        for address, first, last, protocol in _PUBLISHED.findall(ports):
            for port in range(int(first), int(last or first) + 1):
                place = {"protocol": protocol, "address": address.strip("[]"), "port": port, "container": name}
                found.append(place)
    return found


def backend(text: str) -> str:
    """Which firewall the engine writes its rules for: "iptables", or "nftables", which has no DOCKER-USER."""
    try:
        driver = str((json.loads(text).get("FirewallBackend") or {}).get("Driver") or "iptables")
    except (ValueError, AttributeError):
        return "iptables"
    return "nftables" if driver.startswith("nftables") else "iptables"


def _allowed() -> list[str]:
    files = _ALLOWED.glob("*") if _ALLOWED.is_dir() else []
    return [" ".join(line.split()[:2]) for file in files for line in file.read_text().splitlines() if line.strip()]


def _rules() -> str:
    """ "ok", or why the rules for Docker's ports are not in force."""
    if not _SCRIPT.exists():
        return "not installed"
    done = run([str(_SCRIPT), "check"], deadline=20, check=False)
    return "ok" if done.status == 0 else done.last_line or "not loaded"
