"""What makes `fab setup` decline a host before it changes anything, and what it only remarks on."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.core.errors import Refused
from tasks.model.facts import Facts
from tasks.model.provision import swap, system

SUPPORTED = {
    "debian-12": "Debian 12",
    "debian-13": "Debian 13",
    "ubuntu-22.04": "Ubuntu 22.04",
    "ubuntu-24.04": "Ubuntu 24.04",
}
ARCHITECTURES = ("amd64", "arm64")
DISK_NEEDED = 5 * 1024**3  # bytes: Docker, the images of one release and of the next, the first backups
MEMORY_WANTED = 900 * 1024**2  # bytes: what the kernel leaves of a "1 GB" VPS


def check(facts: Facts, app: str) -> None:
    """Raise Refused when the host is none that setup can make ready."""
    if facts.os not in SUPPORTED:
        found = facts.os if facts.os_id else "an unknown system"
        raise Refused(f"this host runs {found}", hint=f"use one of {', '.join(SUPPORTED.values())}")
    if not facts.is_systemd:
        raise Refused("this host is not run by systemd", hint="use a virtual machine with a stock Debian or Ubuntu")
    if facts.arch not in ARCHITECTURES:
        raise Refused(f"the architecture {facts.arch} has no images", hint=f"use {' or '.join(ARCHITECTURES)}")
    free = min(facts.root_free, facts.data_free)
    if facts.docker is None and free < DISK_NEEDED:
        raise Refused(f"only {gib(free)} free on the disk, {gib(DISK_NEEDED)} needed", hint="free some, or enlarge it")
    if (facts.daemon or {}).get("invalid"):
        raise Refused("/etc/docker/daemon.json is not valid JSON", hint="correct it: sudoedit /etc/docker/daemon.json")
    if (facts.daemon or {}).get("firewall-backend") == "nftables":
        raise Refused(
            "Docker writes nftables rules here, which pass by UFW and DOCKER-USER: published ports would be open",
            hint='take "firewall-backend" out of /etc/docker/daemon.json and restart Docker',
        )
    if facts.program_head is not None and not is_ours(facts, app):
        raise Refused(
            f"/usr/local/bin/{app} is somebody else's program", hint="move it away, or choose another APP_NAME"
        )


def is_ours(facts: Facts, app: str) -> bool:
    """Whether the program at our place is the host program, of whatever version."""
    by_status = facts.status is not None and facts.status.get("app") == app
    return by_status or "python3" in (facts.program_head or "")


def remarks(facts: Facts, deploy_user: str) -> Iterator[str]:
    """What the user should know though setup goes on."""
    if facts.memory < MEMORY_WANTED:
        yield f"only {gib(facts.memory)} of memory: the whole application with its monitoring wants 1 GiB or more"
    if facts.docker is not None and min(facts.root_free, facts.data_free) < DISK_NEEDED:
        yield f"only {gib(min(facts.root_free, facts.data_free))} free on the disk"
    if (reason := swap.left_out(facts)) is not None:
        yield reason
    if (reason := system.time_left_out(facts)) is not None:
        yield reason
    if masked := system.masked_updates(facts):
        yield f"{' and '.join(masked)} masked: security updates will not install themselves"
    if (allowed := facts.sshd.get("allowusers")) is not None and deploy_user not in allowed.split():
        yield f"sshd's AllowUsers does not name {deploy_user}: that user will not get in"
    if ".ssh/authorized_keys" not in facts.sshd.get("authorizedkeysfile", ".ssh/authorized_keys"):
        yield f"sshd does not read ~/.ssh/authorized_keys: {deploy_user}'s key has to be put where it does"


def gib(size: int) -> str:
    """A size in bytes as the user reads it."""
    return f"{size / 1024**3:.1f} GiB"
