"""Run the docker command line. The one place of the lab that starts it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from functools import cache
from typing import Any


class LabError(Exception):
    """Something the person at the keyboard can do something about, in one line."""


def docker(*arguments: str, stdin: bytes | None = None, check: bool = True, seconds: float | None = 600) -> str:
    """Run `docker ARGUMENTS`; return its standard output, stripped. Raises LabError with its last complaint."""
    done = subprocess.run(
        ["docker", *arguments], input=stdin or b"", capture_output=True, timeout=seconds, check=False, env=environment()
    )
    if check and done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise LabError(f"docker {' '.join(arguments[:2])}: {said[-1]}")
    return done.stdout.decode(errors="replace").strip()


def inspect(kind: str, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`docker KIND inspect` of several names in one call, by the name asked for; what does not exist is left out."""
    wanted = list(names)
    if not wanted:
        return {}
    found = json.loads(docker(kind, "inspect", *wanted, check=False) or "[]")
    by_name: dict[str, dict[str, Any]] = {}
    for item in found:
        own = [item.get("Name", "").lstrip("/"), *(item.get("RepoTags") or [])]
        by_name.update({name: item for name in wanted if name in own or f"{name}:latest" in own})
    return by_name


def environment() -> dict[str, str]:
    """The environment of every docker call: the classic builder where the client has no buildx."""
    return dict(os.environ) if _has_buildx() else {**os.environ, "DOCKER_BUILDKIT": "0"}


@cache
def _has_buildx() -> bool:
    return subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0
