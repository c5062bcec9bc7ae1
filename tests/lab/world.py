"""The containers and their network: make each as it should be, whatever it was before."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import capability
from .docker import LabError, docker, inspect
from .names import (
    CACHE,
    GATEWAY,
    NETWORK,
    OWNER_LABEL,
    PEBBLE,
    PEBBLE_ADDRESS,
    REGISTRY,
    REGISTRY_ADDRESS,
    ROOT,
    SITE_NAMES,
    STORAGE,
    STORAGE_ADDRESS,
    SUBNET,
    SUBNET6,
    address,
    address6,
    container,
)
from .say import say, timed

SPEC_LABEL = "maicivy.lab.spec"
ROOT_LABEL = "maicivy.lab.root"
BOOT_SECONDS = 60


def containers() -> list[dict[str, Any]]:
    """Every container of the lab, running or not, as docker inspects it."""
    names = docker("ps", "-a", "--filter", f"label={OWNER_LABEL}=container", "--format", "{{.Names}}").split()
    return [item for _, item in sorted(inspect("container", names).items())]


def host_numbers() -> list[int]:
    """The numbers of the hosts there are."""
    found = (item["Name"].lstrip("/").removeprefix("lab-vps") for item in containers())
    return sorted(int(number) for number in found if number.isdigit())


def ensure(hosts: int, fresh: bool) -> list[int]:
    """Network, registry, pebble and at least `hosts` hosts; host 1 anew when `fresh`. Returns the hosts' numbers."""
    _leave_other_checkout()
    _network()
    there = {item["Name"].lstrip("/"): item for item in containers()}
    CACHE.joinpath("registry").mkdir(parents=True, exist_ok=True)
    _service(
        there.get(REGISTRY), REGISTRY, REGISTRY_ADDRESS, "lab/registry",
        ("-p", "127.0.0.1::5000", "-v", f"{CACHE / 'registry'}:/var/lib/registry"),
    )  # fmt: skip
    _service(there.get(PEBBLE), PEBBLE, PEBBLE_ADDRESS, "lab/pebble", ("-e", f"LAB_DEFAULT_IPV4={address(1)}"))
    _service(there.get(STORAGE), STORAGE, STORAGE_ADDRESS, "lab/storage", ())
    if fresh and container(1) in there:
        with timed(f"removed {container(1)} and its data"):
            _remove_host(1)
        del there[container(1)]
    numbers = sorted(
        {*range(1, hosts + 1), *(int(n.removeprefix("lab-vps")) for n in there if n.startswith("lab-vps"))}
    )
    flags = capability.host_flags(capability.detect()) if any(container(n) not in there for n in numbers) else None
    booting = [n for n in numbers if _host(n, there.get(container(n)), flags)]
    with ThreadPoolExecutor(max_workers=max(1, len(booting))) as pool:
        list(pool.map(wait_for_boot, booting))
    return numbers


def down() -> list[str]:
    """Remove every container, volume and network of the lab; return their names."""
    gone = [item["Name"].lstrip("/") for item in containers()]
    if gone:
        docker("rm", "--force", "--volumes", *gone)
    volumes = docker("volume", "ls", "-q", "--filter", f"label={OWNER_LABEL}").split()
    if volumes:
        docker("volume", "rm", "--force", *volumes)
    networks = docker("network", "ls", "--filter", f"label={OWNER_LABEL}", "--format", "{{.Name}}").split()
    if networks:
        docker("network", "rm", *networks)
    return gone + volumes + networks


def wait_for_boot(number: int) -> None:
    """Return when systemd of host `number` is through with its start. Raises LabError with the failed units."""
    deadline = time.monotonic() + BOOT_SECONDS
    state = ""
    while time.monotonic() < deadline:
        state = docker("exec", container(number), "systemctl", "is-system-running", "--wait", check=False)
        if state == "running":
            return
        if state == "degraded":
            failed = docker("exec", container(number), "systemctl", "--failed", "--plain", "--no-legend", check=False)
            say(
                f"warning: {container(number)} is degraded: {' '.join(line.split()[0] for line in failed.splitlines())}"
            )
            return
        time.sleep(0.3)
    raise LabError(
        f"{container(number)} did not boot within {BOOT_SECONDS} s ({state or 'no answer'}). "
        f"Next: docker logs {container(number)}"
    )


def _leave_other_checkout() -> None:
    """The names are fixed, so one machine has one lab. That of another checkout has other keys and storage: it goes."""
    others = {item["Config"]["Labels"].get(ROOT_LABEL) for item in containers()} - {str(ROOT)}
    if others:
        with timed(f"removed the lab of another checkout ({', '.join(sorted(map(str, others)))})"):
            down()


def _network() -> None:
    there = inspect("network", [NETWORK]).get(NETWORK)
    if there is None:
        docker(
            "network", "create", "--subnet", SUBNET, "--gateway", GATEWAY, "--ipv6", "--subnet", SUBNET6,
            "--label", f"{OWNER_LABEL}=network", NETWORK,
        )  # fmt: skip
        say(f"made the network {NETWORK} ({SUBNET}, {SUBNET6})")
        return
    subnets = [c.get("Subnet") for c in there["IPAM"]["Config"]]
    if not {ipaddress.ip_network(SUBNET), ipaddress.ip_network(SUBNET6)} <= {ipaddress.ip_network(s) for s in subnets}:
        raise LabError(
            f"a Docker network {NETWORK} exists with the subnets {', '.join(subnets)}. "
            f"Next: docker network rm {NETWORK}"
        )


def _service(there: dict[str, Any] | None, name: str, at: str, image: str, flags: tuple[str, ...]) -> None:
    """A container without state of its own: made anew whenever its image or its flags are not what they should be."""
    identity = inspect("image", [image])[image]["Id"]
    spec = hashlib.sha256(json.dumps([identity, at, flags]).encode()).hexdigest()
    if there is not None and there["Config"]["Labels"].get(SPEC_LABEL) == spec:
        if not there["State"]["Running"]:
            docker("start", name)
            say(f"started {name}")
        return
    if there is not None:
        docker("rm", "--force", "--volumes", name)
    _run(name, at, (*flags, "--label", f"{SPEC_LABEL}={spec}"), image, ())
    say(f"made {name} ({at})")


def _host(number: int, there: dict[str, Any] | None, flags: capability.HostFlags | None) -> bool:
    """Host `number` started; true when it has to boot first."""
    name = container(number)
    if there is None:
        assert flags is not None
        volume = f"{name}-docker"
        docker("volume", "create", "--label", f"{OWNER_LABEL}=volume", volume)
        own = (
            "--hostname", name.removeprefix("lab-"), "--stop-timeout", "60", "-v", f"{volume}:/var/lib/docker",
            "--tmpfs", "/run:exec,mode=755", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec,mode=1777",
        )  # fmt: skip
        aliases = [word for site in SITE_NAMES if number == 1 for word in ("--network-alias", site)]
        _run(name, address(number), ("--ip6", address6(number), *aliases, *own, *flags.flags), "lab/vps", flags.command)
        say(f"made {name} ({address(number)})")
        return True
    if there["State"]["Paused"]:
        docker("unpause", name)
    if NETWORK not in there["NetworkSettings"]["Networks"]:
        docker(
            "network",
            "connect",
            "--ip",
            address(number),
            "--ip6",
            address6(number),
            *(word for site in SITE_NAMES if number == 1 for word in ("--alias", site)),
            NETWORK,
            name,
        )
        say(f"plugged {name} in again")
    if not there["State"]["Running"]:
        docker("start", name)
        say(f"started {name}")
        return True
    return False


def _run(name: str, at: str, flags: tuple[str, ...], image: str, command: tuple[str, ...]) -> None:
    ours = ("--label", f"{OWNER_LABEL}=container", "--label", f"{ROOT_LABEL}={ROOT}")
    docker("run", "-d", "--name", name, "--network", NETWORK, "--ip", at, *ours, *flags, image, *command)


def _remove_host(number: int) -> None:
    docker("rm", "--force", "--volumes", container(number))
    docker("volume", "rm", "--force", f"{container(number)}-docker")
