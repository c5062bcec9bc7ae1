"""The Debian root file systems that every image starts from."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import apt, engine
from .docker import LabError, docker, inspect
from .say import say, timed

SUITES = ("trixie", "forky")
INHERITED = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until")
# As in Debian's own slim images: a server in a container needs no manuals.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def source(suite: str) -> str:
    """The image `suite` starts from: lab/debian:SUITE made here, or debian:SUITE with LAB_BASE=registry."""
    if os.environ.get("LAB_BASE") == "registry" or apt.machine_mirror() is None:
        return f"debian:{suite}-slim"
    return f"lab/debian:{suite}"


def missing(suites: tuple[str, ...] = SUITES) -> list[str]:
    """The suites whose image has to be built first."""
    own = [s for s in suites if source(s).startswith("lab/")]
    there = inspect("image", [f"lab/debian:{s}" for s in own])
    return [s for s in own if f"lab/debian:{s}" not in there]


def build(suite: str) -> None:
    """Bootstrap `suite` from this machine's own mirror and import it as lab/debian:SUITE."""
    mirror = apt.machine_mirror()
    if mirror is None:
        raise LabError("this machine's apt knows no Debian archive. Next: LAB_BASE=registry fab lab.up")
    if shutil.which("mmdebstrap") is None:
        engine.install_tool("mmdebstrap")
    say(f"bootstrapping Debian {suite} from this machine's mirror")
    with timed(f"built lab/debian:{suite}"), tempfile.TemporaryDirectory() as directory:
        tar = Path(directory) / "root.tar"
        options = [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
        options += ["--dpkgopt=path-include=/usr/share/doc/*/copyright", *_keyring(), *_inherited()]
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", *options, suite, str(tar)]
        done = subprocess.run([*command, *mirror.lines(suite)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["no message"]
            raise LabError(f"mmdebstrap {suite}: {said[-1]}")
        docker(
            "import", "--change", 'CMD ["bash"]', "--change", "LABEL maicivy.lab=image", str(tar), f"lab/debian:{suite}"
        )


def _keyring() -> list[str]:
    """Debian's keyring where this machine has it outside apt's own trust (a derivative, an older release)."""
    ring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return [f"--keyring={ring}"] if ring.exists() else []


def _inherited() -> list[str]:
    """What this machine's own apt is told about its mirror and a fresh root would not know.

    A proxy, and whether a signed archive past its Valid-Until date is accepted. Signatures are checked either way.
    """
    return [f'--aptopt={name} "{value}"' for name in INHERITED if (value := _apt_setting(name))]


def _apt_setting(name: str) -> str:
    done = subprocess.run(["apt-config", "shell", "value", name], capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("value=").strip("'\"")
