"""Build what changed, and only that."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from . import base, catalogue, content
from .catalogue import Image
from .docker import LabError, docker, environment, inspect
from .names import OWNER_LABEL, STATE
from .say import say, timed

CONTENT_LABEL = "maicivy.lab.content"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
STAND_IN_FILE = "/etc/lab-stand-in"


def digests(table: tuple[Image, ...]) -> dict[str, str]:
    """The content digest of every image, by name; a parent's digest is part of its children's."""
    found: dict[str, str] = {}
    for image in table:
        found[image.name] = content.digest(image.directory, image.arguments, [found[p] for p in image.parents])
    return found


def outdated(table: tuple[Image, ...]) -> list[Image]:
    """The images that are missing or made of something else than what is in the checkout. One call to the engine."""
    wanted = digests(table)
    there = inspect("image", [i.local for i in table])
    return [i for i in table if content_of(there.get(i.local)) != wanted[i.name]]


def content_of(inspected: Mapping[str, Any] | None) -> str | None:
    """The content digest an image was labelled with, None without one."""
    if inspected is None:
        return None
    return ((inspected.get("Config") or {}).get("Labels") or {}).get(CONTENT_LABEL)


def ensure(only: tuple[str, ...] = (), beside: tuple[Image, ...] = ()) -> None:
    """Build what is outdated, two at a time. `only` limits it to these names and their parents.

    `beside` are images that start from one of the lab's and are no part of it.
    """
    table = (*catalogue.images(), *beside)
    if only:
        table = _with_parents(table, only)
    todo = outdated(table)
    if not todo:
        return
    say(f"building {len(todo)} of {len(table)} images; the first time takes some minutes")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(base.build, base.missing()))
    wanted = digests(table)
    waiting = list(todo)
    running: dict[Future[None], Image] = {}
    with ThreadPoolExecutor(2) as pool:
        while waiting or running:
            unfinished = {i.name for i in [*waiting, *running.values()]}
            for image in [i for i in waiting if not unfinished & set(i.parents)][: 2 - len(running)]:
                waiting.remove(image)
                running[pool.submit(_build, image, wanted[image.name])] = image
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
                future.result()


def _with_parents(table: tuple[Image, ...], names: tuple[str, ...]) -> tuple[Image, ...]:
    needed = set(names)
    for image in reversed(table):
        if image.name in needed:
            needed |= set(image.parents)
    return tuple(i for i in table if i.name in needed)


def _build(image: Image, wanted: str) -> None:
    with timed(f"built {image.local}" + (f" (stands for {image.stands_for})" if image.stands_for else "")):
        with tempfile.TemporaryDirectory() as directory:
            context = Path(directory)
            for path in content.files(image.directory):
                target = context / path.relative_to(image.directory)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
            if image.needs_ca:  # npm in a container must trust what this machine trusts; it stays in a build stage
                (context / "machine-ca.crt").write_bytes(CA_BUNDLE.read_bytes() if CA_BUNDLE.exists() else b"")
            arguments = [f"--build-arg={name}={value}" for name, value in image.arguments.items()]
            built = f"{image.local}:built"
            _run_build(image, ["-t", built, f"--label={OWNER_LABEL}=image", *arguments, str(context)])
        _label(image, built, wanted)


def _label(image: Image, built: str, wanted: str) -> None:
    """Set the content label last, and with it what the image really holds: only a finished build carries them."""
    labels = {CONTENT_LABEL: wanted, OWNER_LABEL: "image"}
    if image.stands_for:
        labels["maicivy.lab.stands-for"] = image.stands_for
        labels["maicivy.lab.program"] = _program(built)
        labels["org.opencontainers.image.description"] = f"Lab stand-in for {image.stands_for}, not the official image"
    lines = [f"FROM {built}", "LABEL " + " ".join(f'"{k}"="{v}"' for k, v in labels.items())]
    if image.name == "grafana" and image.stands_for:
        lines.append(f"ENV LAB_STANDS_FOR={image.stands_for.split(':')[1]}")
    docker("build", "-t", image.local, "-", stdin="\n".join(lines).encode())
    docker("image", "rm", built, check=False)


def _program(built: str) -> str:
    """The Debian package and version inside, read from a file of the image without starting its program."""
    name = docker("create", "--network", "none", built, "none")
    try:
        with tempfile.TemporaryDirectory() as directory:
            target = Path(directory) / "stand-in"
            docker("cp", f"{name}:{STAND_IN_FILE}", str(target), check=False)
            return target.read_text().strip() if target.exists() else "unknown"
    finally:
        docker("rm", "--volumes", name)


def _run_build(image: Image, arguments: list[str]) -> None:
    logs = STATE / "cache" / "build"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{image.name}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            ["docker", "build", "--network", "host", "--force-rm", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, env=environment(),
        )  # fmt: skip
    if done.returncode != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["no output"]
        raise LabError(f"building {image.local} failed: {lines[-1]}. Next: read {log}")


def remove() -> int:
    """Remove every image of the lab; return how many."""
    found = docker("image", "ls", "-q", "--no-trunc", "--filter", f"label={OWNER_LABEL}=image").split()
    names = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=lab/*").split()
    ours = list(dict.fromkeys([*names, *found]))
    if ours:
        docker("image", "rm", "--force", *ours, check=False)
    return len(set(found))
