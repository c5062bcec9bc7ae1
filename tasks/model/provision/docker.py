"""Docker: where its packages come from, and the few settings of the daemon that every host should have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.core.errors import Refused
from tasks.model.facts import Facts
from tasks.model.provision.step import Step, body

REPOSITORY = "https://download.docker.com/linux"
FINGERPRINT = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"  # "Docker Release (CE deb)", as their documentation has it
KEYRING = "/etc/apt/keyrings/docker.asc"
SOURCES = "/etc/apt/sources.list.d/docker.sources"

_ROTATION = {"max-size": "10m", "max-file": "5"}
_POOLS = [{"base": "10.201.0.0/16", "size": 24}, {"base": "172.20.0.0/14", "size": 24}]  # for hosts that are in 10/8
_IP6TABLES_BY_DEFAULT = 27
_NETWORK_OPTIONS = 24
"""The major versions of Docker since which it sees to IPv6 unasked, and since which it knows `default-network-opts`."""
_OWN = ("containerd.io", "docker-ce", "docker-ce-cli", "docker-compose-plugin")
_DISTRIBUTION = {
    "debian-12": ("docker.io",),
    "debian-13": ("docker.io", "docker-cli", "docker-compose"),
    "ubuntu-22.04": ("docker.io", "docker-compose-v2"),
    "ubuntu-24.04": ("docker.io", "docker-compose-v2"),
}


def check(facts: Facts, source: str) -> None:
    """Raise Refused where `source` cannot give a Docker with Compose v2, or would replace the one that is there."""
    if facts.docker is not None and facts.docker.source == "other":
        raise Refused("Docker is here, but no package brought it (a snap? a binary?)", hint="remove it, then fab setup")
    if facts.docker is not None and facts.docker.source != source:
        there = {"distribution": "the distribution's Docker", "docker": "Docker's own packages"}[facts.docker.source]
        raise Refused(
            f"DOCKER_SOURCE={source}, but this host already has {there}, and replacing it stops every container",
            hint=f"remove {there} yourself"
            if _lacks_compose(facts, facts.docker.source)
            else f"set DOCKER_SOURCE={facts.docker.source}, or remove {there} yourself",
        )
    if _lacks_compose(facts, source):
        raise Refused("Debian 12 has no Compose v2 of its own, only 1.29", hint="set DOCKER_SOURCE=docker")


def _lacks_compose(facts: Facts, source: str) -> bool:
    return source == "distribution" and facts.os == "debian-12" and facts.compose is None


def missing_packages(facts: Facts, source: str) -> list[str]:
    """The packages of the engine, its client and Compose that are not installed."""
    wanted = _OWN if source == "docker" else _DISTRIBUTION[facts.os]
    if facts.docker is not None and facts.compose is not None:
        return []  # however they are split into packages, both are there
    return [name for name in wanted if name not in facts.packages]


def repository_missing(facts: Facts, source: str) -> bool:
    """Whether Docker's repository is wanted and apt does not know it; one that the user added is left as it is."""
    if source != "docker" or not missing_packages(facts, source):
        return False
    ours = {KEYRING, SOURCES} <= facts.files.keys()
    return not ours if set(facts.docker_sources) <= {SOURCES} else False


def repository(facts: Facts, source: str) -> Iterator[Step]:
    """Docker's repository, after its key proved to be the published one."""
    if repository_missing(facts, source):
        address = f"{REPOSITORY}/{facts.os_id}"
        listing = "\n".join((
            "Types: deb",
            f"URIs: {address}",
            f"Suites: {facts.os_codename}",
            "Components: stable",
            f"Architectures: {facts.arch}",
            f"Signed-By: {KEYRING}",
            "",
        ))  # fmt: skip
        variables = {
            "KEY": f"{address}/gpg",
            "FINGERPRINT": FINGERPRINT,
            "KEYRING": KEYRING,
            "SOURCES": SOURCES,
            "LISTING": listing,
            "CHECK": _python("openpgp_key.py"),
        }
        why = "apt does not know Docker's repository"
        yield Step("docker-repository", why, body("file.sh", "docker-repository.sh", variables=variables))


def settings(facts: Facts, app: str, source: str) -> Iterator[Step]:
    """Log rotation, ports that are not public unawares, containers that survive a restart of the engine."""
    missing = missing_settings(facts, source)
    if missing:
        variables = {"APP": app, "MISSING": json.dumps(missing), "MERGE": _python("daemon_settings.py")}
        why = f"/etc/docker/daemon.json does not set {', '.join(sorted(missing))}"
        yield Step("docker-settings", why, body("docker-settings.sh", variables=variables))


def missing_settings(facts: Facts, source: str = "distribution") -> dict[str, Any]:
    """What to add to daemon.json; whatever is said there already stays."""
    current = facts.daemon or {}
    missing: dict[str, Any] = {}
    fresh = facts.docker is None
    if fresh and "default-address-pools" not in current:  # a running engine keeps its networks, docker0 above all
        missing["default-address-pools"] = _POOLS
    if fresh and "icc" not in current:  # containers of the user's on docker0 may talk to each other
        missing["icc"] = False
    if "no-new-privileges" not in current:
        missing["no-new-privileges"] = True
    if "default-network-opts" not in current and _major(facts, _NETWORK_OPTIONS) >= _NETWORK_OPTIONS:
        # what is published without an address is for the host alone
        missing["default-network-opts"] = {"bridge": {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}}
    if facts.ipv6 and _needs_ip6tables(facts, source):
        missing |= {"ip6tables": True, "experimental": True}
    if "live-restore" not in current and not facts.swarm:  # the engine refuses to start with both
        missing["live-restore"] = True
    if "log-driver" not in current and "log-opts" not in current:
        missing |= {"log-driver": "local", "log-opts": _ROTATION}
    elif current.get("log-driver", "json-file") == "json-file" and "max-size" not in current.get("log-opts", {}):
        missing["log-opts"] = _ROTATION  # json-file is the one driver that by itself never stops growing
    return missing


def _needs_ip6tables(facts: Facts, source: str) -> bool:
    """Whether Docker keeps away from ip6tables unless told otherwise, as all did before 27.

    Then its proxy answers for IPv6, and every visitor seems to come from the bridge.
    """
    current = facts.daemon or {}
    if "ip6tables" in current or current.get("experimental") is False:  # the one without the other is refused
        return False
    fresh = 0 if source == "distribution" and facts.os_id == "debian" else _IP6TABLES_BY_DEFAULT
    return _major(facts, fresh) < _IP6TABLES_BY_DEFAULT


def _major(facts: Facts, fresh: int) -> int:
    """The major version of the engine; `fresh` where it is still to be installed."""
    version = facts.docker.version if facts.docker else None
    match = re.match(r"(?:\d+:)?(\d+)", version) if version else None
    return int(match[1]) if match else fresh


def _python(name: str) -> str:
    return (Path(__file__).with_name("steps") / name).read_text(encoding="utf-8")
