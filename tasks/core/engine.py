"""Docker on the workstation: building images, looking at them, saving them as a stream."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from tasks.core.errors import InfraError, UsageError

_SECONDS = 60  # for questions to the engine
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm"}
_INSTALL = "install it (https://docs.docker.com/engine/install/), or push the image to a registry from elsewhere"


@dataclass(frozen=True)
class Engine:
    """The engine: `store` is "classic" or "containerd", `architecture` what it builds for (amd64, arm64, arm)."""

    store: str
    architecture: str


@dataclass(frozen=True)
class LocalImage:
    """An image here. `id` as the engine names it, `layers` the digests of their content from the lowest on,
    `platform` as in linux/amd64, `volumes` the paths it declares as such."""

    reference: str
    id: str
    layers: tuple[str, ...]
    platform: str
    volumes: tuple[str, ...] = ()


def about() -> Engine:
    """What the engine is like. Raises UsageError without docker, InfraError when the engine does not answer."""
    found = json.loads(_ask("info", "--format", "{{json .}}"))
    if not found.get("ServerVersion"):  # `docker info` succeeds although nobody answers it
        raise _failed("\n".join(found.get("ServerErrors") or []), "docker info")
    machine = str(found.get("Architecture", ""))
    containerd = "io.containerd.snapshotter" in json.dumps(found.get("DriverStatus"))
    return Engine("containerd" if containerd else "classic", _ARCHITECTURES.get(machine, machine))


def inspect(references: Sequence[str]) -> dict[str, LocalImage]:
    """The images that are here, by reference; one that is not is left out. Raises as `about`."""
    return {reference: found for reference in references if (found := _inspect(reference)) is not None}


def _inspect(reference: str) -> LocalImage | None:
    done = _run("image", "inspect", reference)
    if done.returncode != 0:
        if "no such image" in done.stderr.lower() or "not found" in done.stderr.lower():
            return None
        raise _failed(done.stderr, "docker image inspect")
    value = json.loads(done.stdout)[0]
    return LocalImage(
        reference,
        str(value["Id"]),
        tuple((value.get("RootFS") or {}).get("Layers") or ()),
        f"{value.get('Os') or 'linux'}/{value.get('Architecture') or 'unknown'}",
        tuple(sorted((value.get("Config") or {}).get("Volumes") or ())),
    )


def build(reference: str, context: Path, platform: str | None, on_line: Callable[[str], None]) -> None:
    """Build the Dockerfile in directory `context` and tag it.

    `platform` (linux/arm64) is asked for when given; `on_line` gets each line of output as it comes; whether BuildKit
    builds is up to the engine and DOCKER_BUILDKIT. Raises UsageError without docker, InfraError when it fails.
    """
    if not (context / "Dockerfile").is_file():
        raise UsageError(f"there is no Dockerfile in {context}", hint="look at BACKEND_BUILD and FRONTEND_BUILD")
    words = ["build", "--tag", reference, *(["--platform", platform] if platform else []), str(context)]
    last = ""
    with _start(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        try:
            for raw in child.stdout or ():
                if line := raw.decode("utf-8", "replace").rstrip():
                    on_line(line)
                    last = line
        except BaseException:
            child.kill()
            raise
    if child.returncode == 0:
        return
    if "buildx component is missing" in last:
        raise InfraError("docker here cannot build: it has no buildx", hint="install docker-buildx-plugin")
    raise InfraError(f"{reference} could not be built: {last or 'no reason given'}", hint="see the lines above")


@contextlib.contextmanager
def saving(references: Sequence[str]) -> Iterator[BinaryIO]:
    """`docker save` of the images as a stream; it is ended when the block is left.

    The block is entered when the first byte is there: the engine gathers everything before. Raises InfraError when the
    engine cannot, as `about` else.
    """
    with tempfile.TemporaryFile() as said, _start(["save", *references], stdout=subprocess.PIPE, stderr=said) as child:
        stream = cast("IO[bytes]", child.stdout)
        try:
            if not stream.peek(1):  # type: ignore[attr-defined]
                child.wait()
                said.seek(0)
                raise _failed(said.read().decode("utf-8", "replace"), "docker save")
            yield cast("BinaryIO", stream)
        finally:
            child.kill()


def _ask(*words: str) -> str:
    done = _run(*words)
    if done.returncode != 0:
        raise _failed(done.stderr, f"docker {words[0]}")
    return done.stdout


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["docker", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except FileNotFoundError:
        raise UsageError("docker is not installed here", hint=_INSTALL) from None
    except subprocess.TimeoutExpired:
        raise InfraError(f"Docker here does not answer within {_SECONDS} s", hint="look at it: docker info") from None


def _start(words: Sequence[str], *, stdout: int, stderr: int | IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(["docker", *words], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
    except FileNotFoundError:
        raise UsageError("docker is not installed here", hint=_INSTALL) from None


def _failed(said: str, what: str) -> InfraError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else "no reason given"
    if "permission denied" in last:
        return InfraError("no permission to talk to Docker here", hint="join the group docker, and log in again")
    if "cannot connect" in last.lower() or "is the docker daemon running" in last.lower():
        return InfraError("Docker here is not running", hint="start it: sudo systemctl start docker")
    return InfraError(f"`{what}` failed here: {last[:300]}", hint="try it by hand")
