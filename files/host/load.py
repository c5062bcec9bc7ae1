"""Images that come over SSH instead of from a registry: which layers are missing here, and taking in what is sent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from host import parcel
from host.config import Config
from host.errors import Failure, from_os_error
from host.events import Journal
from host.process import Done, explain, run

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm"}


def missing(config: Config, data: bytes) -> dict[str, Any]:
    """Which of the images in the question are here, and how many leading layers of the others.

    `data` is {"images": [{"id", "reference", "layers": [diff ids from the lowest on]}]}; returns {"images": {reference:
    {"present", "have"}}, "store": "classic"|"containerd", "arch", "free": bytes where Docker keeps images}.
    Raises Failure when it cannot be read or Docker does not answer.
    """
    try:
        asked = [(str(x["reference"]), str(x["id"]), [str(y) for y in x["layers"]]) for x in json.loads(data)["images"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure("the question about layers cannot be read", hint="update both sides: fab setup") from error
    store, arch, free = _engine()
    stacks = _stacks() if store == "classic" and asked else []
    return {
        "images": {
            reference: {
                "present": _id(reference) == image,
                "have": max((_common(layers, stack) for stack in stacks), default=0),
            }
            for reference, image, layers in asked
        },
        "store": store,
        "arch": arch,
        "free": free,
    }


def _engine() -> tuple[str, str, int]:
    info = json.loads(run(["docker", "info", "--format", "{{json .}}"], deadline=60).stdout)
    if not info.get("ServerVersion"):  # `docker info` succeeds although nobody answers it
        raise explain(["docker", "info"], Done(1, b"", "\n".join(info.get("ServerErrors") or [])))
    containerd = "io.containerd.snapshotter" in json.dumps(info.get("DriverStatus"))
    machine = str(info.get("Architecture", ""))
    root = str(info.get("DockerRootDir") or "/")
    free = shutil.disk_usage(root if Path(root).is_dir() else "/").free
    return ("containerd" if containerd else "classic"), _ARCHITECTURES.get(machine, machine), free


def _id(reference: str) -> str | None:
    done = run(["docker", "image", "inspect", "--format", "{{.Id}}", reference], deadline=60, check=False)
    return done.text.strip() if done.status == 0 else None


def _stacks() -> list[list[str]]:
    """The layers of every image, from the lowest on. A layer counts only on top of the very ones it was made on."""
    ids = run(["docker", "image", "ls", "--all", "--quiet", "--no-trunc"], deadline=60).text.split()
    if not ids:
        return []
    # without `check`: an image may have gone since
    done = run(
        ["docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", *dict.fromkeys(ids)],
        deadline=120, check=False,
    )  # fmt: skip
    return [json.loads(line) or [] for line in done.text.splitlines() if line.strip()]


def _common(wanted: list[str], stack: list[str]) -> int:
    for count, (one, other) in enumerate(zip(wanted, stack, strict=False)):
        if one != other:
            return count
    return min(len(wanted), len(stack))


def load(config: Config, stream: BinaryIO, journal: Journal, expected: Mapping[str, str]) -> dict[str, object]:
    """Give the images in `stream` to Docker; returns {"images": {reference: id}, "bytes": of the tar, "message"}.

    `stream` is a file with a descriptor: a tar, possibly gzipped, in the form of `docker load`, whose first file names
    the images, which must be exactly `expected` (id by reference). It may lack the layers that are here.
    Raises Failure when it is cut off or anything else, and then no tag has changed; or when Docker refuses it (a full
    disk), and then each image is here whole or not at all.
    """
    store, _, _ = _engine()
    count = f"{len(expected)} image{'' if len(expected) == 1 else 's'}"
    with journal.step("load", f"taking in {count}") as step:
        try:
            size, said = parcel.hand_over(stream, store, expected)
        except OSError as error:
            raise from_os_error(error, "taking in the images") from error
        _check(said, expected)
        step.done(f"{count} taken in")
    return {"images": dict(expected), "bytes": size, "message": f"{count} taken in: {', '.join(sorted(expected))}"}


def _check(said: str, expected: Mapping[str, str]) -> None:
    names = {parcel.full_name(reference) for reference in expected}
    for line in said.splitlines():
        label, separator, name = line.partition("Loaded image: ")
        if separator and not label and parcel.full_name(name.strip()) not in names:
            raise Failure(f"Docker took in {name.strip()}, which was not to be sent", hint="docker image ls")
    for reference, image in expected.items():
        found = _id(reference)
        if found != image:
            became = f"is {found}, not {image}," if found else "is missing"
            raise Failure(f"{reference} {became} after it was taken in", hint=parcel.AGAIN)
