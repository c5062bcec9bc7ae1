"""Somebody who pushes to the lab's registry: another image, under a new tag or under an old one."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from pathlib import Path

from tests.lab.names import REGISTRY


def push(reference: str, source: str, *, megabytes: int = 0) -> str:
    """Make an image of its own from `source` and push it; returns the digest the registry knows it by.

    Args:
        reference: name and tag in the registry, such as maicivy/backend:1.2.0.
        source: a local image.
        megabytes: of noise in a layer of its own: a pull of it takes a while.
    """
    port = _docker("port", REGISTRY, "5000/tcp").splitlines()[0].rsplit(":", 1)[1]
    name = f"127.0.0.1:{port}/{reference}"
    with tempfile.TemporaryDirectory() as directory:
        lines = [f"FROM {source}", f"LABEL lab.push={uuid.uuid4().hex}"]
        if megabytes:
            Path(directory, "noise").write_bytes(os.urandom(megabytes << 20))
            lines.append("COPY noise /noise")
        Path(directory, "Dockerfile").write_text("\n".join(lines) + "\n")
        _docker("build", "-q", "-t", name, directory)
    try:
        said = _docker("push", name)
    finally:
        _docker("image", "rm", name)
    return next(word for word in said.split() if word.startswith("sha256:"))


def _docker(*words: str) -> str:
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"docker {words[0]}: {done.stderr}"
    return done.stdout
