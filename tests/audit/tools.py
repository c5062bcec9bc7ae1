"""The scanners: in an image of their own, so that nothing has to be installed on the workstation but Docker.

They run in a container on the lab's network, a neighbour of the host like any stranger. What is in the image:
image/Dockerfile. Debian's packages are those of Debian 13; what comes from PyPI and npm is pinned with hashes.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab import build, engine
from tests.lab.catalogue import Image
from tests.lab.docker import docker, inspect
from tests.lab.names import NETWORK, STATE
from tests.lab.say import say

HERE = Path(__file__).parent
IMAGE = Image("audit", HERE / "image", ("base-trixie",), needs_ca=True)
CA = STATE / "ca.pem"
OBSERVATORY = "/opt/observatory/node_modules/@mdn/mdn-http-observatory"
_DEBIAN = ("testssl.sh", "sslscan", "nmap", "slowhttptest", "nghttp2-client", "lynis")
_PYPI = ("gixy-ng", "gixy-next", "sslyze", "ssh-audit", "wapiti3")
_NPM = "@mdn/mdn-http-observatory"
_GRACE = 30  # seconds that a container has to start and to end, beside what its scanner has


@dataclass(frozen=True)
class Done:
    """How a scanner ended and what it printed."""

    status: int
    output: str


def ensure() -> None:
    """Make the image when it is missing or made of something else. Raises LabError, with what to install."""
    engine.ensure()
    if IMAGE.local not in inspect("image", [IMAGE.local]):
        say(f"the scanners of `make audit` go into the image {IMAGE.local}, nothing onto this machine:")
        say(f"  from Debian 13: {', '.join(_DEBIAN)}")
        say(f"  from PyPI: {', '.join(f'{name} {version(name)}' for name in _PYPI)}")
        say(f"  from npm: {_NPM} {version(_NPM)}")
    build.ensure((IMAGE.name,), (IMAGE,))


@functools.cache
def version(name: str) -> str:
    """Which version of a scanner the image has."""
    if name in _DEBIAN:
        return docker("run", "--rm", "--network", "none", IMAGE.local, "dpkg-query", "-W", "-f", "${Version}", name)
    if name == _NPM:
        pinned = json.loads((HERE / "image" / "package.json").read_text())["dependencies"][name]
        return str(pinned)
    found = re.search(rf"^{re.escape(name)}==(\S+)", (HERE / "image" / f"requirements-{name}.lock").read_text(), re.M)
    assert found, f"{name} is in no lock file"
    return found[1]


def run(
    *words: str,
    seconds: int,
    names: Mapping[str, str] = {},
    mounts: Mapping[Path, str] = {},
    network: str = NETWORK,
) -> Done:
    """Run a scanner for `seconds` at most; it sees these names and these directories, all but /out read only."""
    flags = ["--network", network]
    if network == NETWORK:  # without a lab there is no such file yet, and Docker would make a directory of it
        flags += ["-v", f"{CA}:/ca.pem:ro", "-e", "SSL_CERT_FILE=/ca.pem", "-e", "NODE_EXTRA_CA_CERTS=/ca.pem"]
    flags += [word for name, at in names.items() for word in ("--add-host", f"{name}:{at}")]
    flags += [word for path, at in mounts.items() for word in ("-v", f"{path}:{at}{'' if at == '/out' else ':ro'}")]
    done = subprocess.run(
        ["docker", "run", "--rm", "--init", *flags, IMAGE.local, "timeout", "--kill-after=5", str(seconds), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds + _GRACE,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(errors="replace"))
