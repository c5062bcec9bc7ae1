"""The Docker engine of this workstation: find it, or start it where that is ours to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

from .docker import LabError
from .names import STATE
from .say import say, timed

ADVICE = "install Docker (https://docs.docker.com/engine/install/) and let your user reach it, then `fab lab.up` again"

_ONE_APT = threading.Lock()


def ensure() -> None:
    """Return once an engine answers: on Debian as root it is installed and started, elsewhere LabError says how."""
    if answers():
        return
    may_install = os.geteuid() == 0 and Path("/etc/debian_version").exists()
    if shutil.which("docker") is None or shutil.which("dockerd") is None:
        if not may_install:
            raise LabError(f"no Docker engine on this machine. Next: {ADVICE}")
        say("there is no Docker engine here: installing docker.io from Debian")
        with timed("installed docker.io"):
            _apt_install("docker.io", "iptables")
    if not answers():
        if not may_install:
            raise LabError(f"the Docker engine does not answer{_why()}. Next: start it, or {ADVICE}")
        _start()


def answers() -> bool:
    """Whether the engine that the docker client is pointed at answers."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def _why() -> str:
    said = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False).stderr.strip()
    return f" ({said.splitlines()[-1]})" if said else ""


def _apt_install(*packages: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        # a fresh machine may be installing its own updates
        ["apt-get", "install", "-o", "DPkg::Lock::Timeout=300", "-y", "-qq", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            raise LabError(f"{' '.join(command[:2])} failed: {said[-1]}")


def install_tool(package: str) -> None:
    """Install the Debian package of this program on the workstation, after saying so.

    Raises LabError where that is not ours to do.
    """
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        raise LabError(f"{package} is missing. Next: install it, or set LAB_BASE=registry to build from debian:trixie")
    with _ONE_APT:  # images are built side by side, and apt is alone or not at all
        if shutil.which(package) is not None:
            return
        say(f"{package} is missing here: installing it from Debian")
        with timed(f"installed {package}"):
            _apt_install(package)


def _start(seconds: float = 60) -> None:
    """Start dockerd in a session of its own, so that it outlives this program and its terminal."""
    STATE.mkdir(exist_ok=True)
    log = STATE / "dockerd.log"
    say(f"starting dockerd (log in {log.relative_to(STATE.parent)})")
    with log.open("ab") as output:
        daemon = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answers():
            return
        if daemon.poll() is not None and not answers():
            raise LabError(f"dockerd ended with status {daemon.returncode}. Next: read {log}")
        time.sleep(0.5)
    raise LabError(f"dockerd does not answer after {seconds:.0f} s. Next: read {log}")
