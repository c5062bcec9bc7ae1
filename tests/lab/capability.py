"""What this machine lets a container do, and the flags for one that runs systemd and its own Docker engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .docker import docker

CAP_SYS_RESOURCE = 24
SYSTEMD_ON_CGROUP_1 = "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"


@dataclass(frozen=True)
class Machine:
    """The two things that decide how a host container is started."""

    cgroup: int
    sys_resource: bool


@dataclass(frozen=True)
class HostFlags:
    """Flags of `docker run`, and the words after the image."""

    flags: tuple[str, ...]
    command: tuple[str, ...]


def detect() -> Machine:
    """Ask the engine for its cgroup version and this machine for its capability bounding set."""
    version = docker("info", "--format", "{{.CgroupVersion}}")
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:  # no Linux: the engine lives in a virtual machine with everything
        status = ""
    return Machine(cgroup=1 if version == "1" else 2, sys_resource=has_capability(status, CAP_SYS_RESOURCE))


def has_capability(proc_status: str, number: int) -> bool:
    """Whether capability `number` is in the bounding set of a /proc/PID/status text; true when the text has none."""
    for line in proc_status.splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return True


def host_flags(machine: Machine) -> HostFlags:
    """How to run a host container on `machine`."""
    if machine.sys_resource:
        rights: tuple[str, ...] = ("--privileged",)
    else:
        # --privileged asks for every capability there is, and the engine refuses it where one is missing.
        rights = (
            "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE",
            "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
            "--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm",
        )  # fmt: skip
    if machine.cgroup == 1:
        # systemd 257 refuses cgroup v1 without that word, and needs the host's hierarchies to make its own below.
        groups: tuple[str, ...] = ("--cgroupns=host", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw")
        return HostFlags((*rights, *groups), ("/sbin/init", SYSTEMD_ON_CGROUP_1))
    return HostFlags((*rights, "--cgroupns=private"), ("/sbin/init",))
