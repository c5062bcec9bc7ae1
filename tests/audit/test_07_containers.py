"""Section 5 of the CIS Docker benchmark 1.6, container runtime: every check, for every container on the host.

docker-bench-security, which checks the same, is in no package archive. Its numbers are used here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest

from tests.audit.conftest import Target
from tests.audit.scores import Scores

Inspected = dict[str, Any]
SERVICES = {"postgres", "redis", "backend", "frontend", "nginx", "prometheus", "grafana", "node-exporter"}
SENSITIVE = ("/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/var/run", "/run")
SOCKET = PurePosixPath("/run/docker.sock")
NEEDED = {("0.0.0.0", "80/tcp"), ("0.0.0.0", "443/tcp"), ("127.0.0.1", "443/udp")}


def published(c: Inspected) -> set[tuple[str, str]]:
    """Where its ports are published: address and container's port."""
    bindings = (c["HostConfig"]["PortBindings"] or {}).items()
    return {(at["HostIp"] or "0.0.0.0", port) for port, places in bindings for at in places}


def host_ports(c: Inspected) -> set[int]:
    bindings = (c["HostConfig"]["PortBindings"] or {}).values()
    return {int(at["HostPort"]) for places in bindings for at in places}


def sources(c: Inspected) -> list[PurePosixPath]:
    """The directories of the host that it sees, volumes apart."""
    return [PurePosixPath(mount["Source"]) for mount in c["Mounts"] if mount["Type"] == "bind"]


def sensitive(path: PurePosixPath) -> bool:
    return path == PurePosixPath("/") or any(path.is_relative_to(name) for name in SENSITIVE)


def has_socket(path: PurePosixPath) -> bool:
    return SOCKET.is_relative_to(path) or path.name == SOCKET.name


def propagation(c: Inspected) -> set[str]:
    return {mount["Propagation"] for mount in c["Mounts"]}


def versioned(reference: str) -> bool:
    tag = reference.rpartition("/")[2].partition(":")[2]
    return tag not in {"", "latest"}


def options(c: Inspected) -> list[str]:
    return c["HostConfig"]["SecurityOpt"] or []


def host(key: str) -> Callable[[Inspected], Any]:
    return lambda c: c["HostConfig"][key]


# number -> what it wants, and whether a container has it
CHECKS: dict[str, tuple[str, Callable[[Inspected], bool]]] = {
    "5.4": ("no Linux capability", lambda c: host("CapDrop")(c) == ["ALL"] and not host("CapAdd")(c)),
    "5.5": ("not privileged", lambda c: not host("Privileged")(c)),
    "5.6": ("no sensitive directory of the host", lambda c: not any(map(sensitive, sources(c)))),
    "5.8": ("no port below 1024 of the host", lambda c: all(port >= 1024 for port in host_ports(c))),
    "5.9": ("no port published but those needed", lambda c: published(c) <= NEEDED),
    "5.10": ("not the host's network", lambda c: host("NetworkMode")(c) != "host"),
    "5.11": ("a limit for memory", lambda c: host("Memory")(c) > 0),
    "5.12": ("a CPU priority", lambda c: host("CpuShares")(c) > 0 or host("NanoCpus")(c) > 0),
    "5.13": ("a read-only root", host("ReadonlyRootfs")),
    "5.14": ("ports bound to one address", lambda c: all(at != "0.0.0.0" for at, _ in published(c))),
    "5.15": ("at most five restarts", lambda c: host("RestartPolicy")(c)["Name"] in {"no", "on-failure"}),
    "5.16": ("not the host's processes", lambda c: host("PidMode")(c) != "host"),
    "5.17": ("not the host's IPC", lambda c: host("IpcMode")(c) in {"private", "none"}),
    "5.18": ("no device of the host", lambda c: not host("Devices")(c) and not host("DeviceRequests")(c)),
    "5.19": ("the daemon's ulimits", lambda c: not host("Ulimits")(c)),
    "5.20": ("no shared mount propagation", lambda c: not {"shared", "rshared"} & propagation(c)),
    "5.21": ("not the host's UTS namespace", lambda c: host("UTSMode")(c) != "host"),
    "5.22": ("the default seccomp profile", lambda c: not any(o.startswith("seccomp") for o in options(c))),
    "5.25": ("the default cgroup", lambda c: host("CgroupParent")(c) == ""),
    "5.26": ("no new privileges", lambda c: "no-new-privileges:true" in options(c)),
    "5.27": ("a health check", lambda c: (c["Config"].get("Healthcheck") or {}).get("Test", ["NONE"])[0] != "NONE"),
    "5.28": ("an image of a version, never latest", lambda c: versioned(c["Config"]["Image"])),
    "5.29": ("a limit for processes", lambda c: (host("PidsLimit")(c) or 0) > 0),
    "5.30": ("not Docker's default bridge", lambda c: "bridge" not in c["NetworkSettings"]["Networks"]),
    "5.31": ("not the host's user namespace", lambda c: host("UsernsMode")(c) != "host"),
    "5.32": ("no Docker socket", lambda c: not any(map(has_socket, sources(c)))),
}  # fmt: skip
EVERY = frozenset(SERVICES)
# (number, services) -> why it is meant
MEANT: dict[str, tuple[frozenset[str], str]] = {
    "5.6": (
        frozenset({"node-exporter"}),
        "it reports on the host's file systems and mounts the root for that, read only, as nobody, no capability",
    ),
    "5.8": (frozenset({"nginx"}), "80 and 443 are what a site is reached by; inside, nginx has no capability for it"),
    "5.14": (frozenset({"nginx"}), "the site is to answer at every address of the host; nothing else is published"),
    "5.15": (EVERY, "unless-stopped: a site has to come back also from a sixth crash; health checks tell of crashes"),
    "5.32": (
        frozenset({"node-exporter"}),
        "the socket lies below the root that it sees; it is root's and the group docker's, and this user is neither",
    ),
}  # fmt: skip
NOT_APPLICABLE = {
    "5.2": "AppArmor: the lab's kernel has none, a real host's gives every container docker-default",
    "5.3": "SELinux: not in use on Debian and Ubuntu",
    "5.23": "docker exec --privileged: how people work, not how containers are made",
    "5.24": "docker exec --user root: how people work, not how containers are made",
}


def names(services: frozenset[str]) -> str:
    return "all" if services == EVERY else ", ".join(sorted(services))


@pytest.fixture(scope="module")
def inspected(target: Target) -> dict[str, Inspected]:
    """Every running container of the host, by its service."""
    told = json.loads(target.inside("sh", "-c", "docker ps -q | xargs docker inspect"))
    found = {c["Config"]["Labels"].get("com.docker.compose.service", c["Name"]): c for c in told}
    assert found.keys() == SERVICES
    assert len(told) == len(SERVICES)
    return found


@pytest.mark.parametrize("number", CHECKS)
def test_every_container_has_it_or_is_meant_not_to(inspected: dict[str, Inspected], number: str) -> None:
    what, holds = CHECKS[number]
    without = {name for name, c in inspected.items() if not holds(c)}
    assert without == MEANT.get(number, (frozenset(), ""))[0], what


def test_no_container_runs_as_root(inspected: dict[str, Inspected]) -> None:
    """4.1 of the benchmark: it is about images, and the user is set where they are run."""
    users = {name: c["Config"]["User"] for name, c in inspected.items()}
    assert all(user.partition(":")[0].isdigit() and user.partition(":")[0] != "0" for user in users.values()), users


def test_no_container_runs_an_ssh_server(inspected: dict[str, Inspected], target: Target) -> None:
    """5.7."""
    listed = [target.inside("docker", "top", c["Id"], "-eo", "pid,comm") for c in inspected.values()]
    assert all(len(text.splitlines()) >= 2 for text in listed)
    assert not any("sshd" in text for text in listed)


def test_docker_is_no_swarm(target: Target) -> None:
    """5.1."""
    assert target.inside("docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "inactive"


def test_the_socket_is_not_for_the_one_who_sees_it(inspected: dict[str, Inspected], target: Target) -> None:
    """What the deviation of 5.32 rests on."""
    mode, _owner, group = target.inside("stat", "-L", "-c", "%a %u %g", str(SOCKET)).split()
    assert mode == "660"
    exporter = inspected["node-exporter"]
    user, _, own = exporter["Config"]["User"].partition(":")
    assert user != "0"
    assert group not in [own, *map(str, exporter["HostConfig"]["GroupAdd"] or [])]


def test_note_the_score(inspected: dict[str, Inspected], scores: Scores) -> None:
    """The last of this file: each check was asserted above."""
    kept = [n for n, (_, holds) in CHECKS.items() if all(holds(c) for c in inspected.values())]
    extra = 2  # 5.1 and 5.7
    scores.add(
        "CIS Docker benchmark", "1.6.0, section 5", f"{len(inspected)} containers",
        result=f"{len(kept) + extra} of {len(CHECKS) + extra} checks hold for all, "
        f"{len(CHECKS) - len(kept)} are deviations",
        target=f"no deviation but {len(MEANT)}",
        deviations=[
            *(f"{n} {CHECKS[n][0]}, {names(who)}: {why}" for n, (who, why) in MEANT.items()),
            *(f"{n} not checked. {why}" for n, why in NOT_APPLICABLE.items()),
        ],
    )  # fmt: skip
    assert CHECKS.keys() >= MEANT.keys()
    assert CHECKS.keys() - set(kept) == MEANT.keys()
