"""Images that come over SSH instead of from a registry: which layers are missing here, and taking in what is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

from host import facts, images, layers, parcel
from host.config import Config
from host.errors import Failure, from_os_error
from host.events import Journal


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
    engine = facts.engine()
    there = layers.stacks() if engine.store == "classic" and asked else []
    [room] = facts.space({"images": engine.root})
    return {
        "images": {
            reference: {
                "present": images.identity(reference) == image,
                "have": layers.present(stack, there),
            }
            for reference, image, stack in asked
        },
        "store": engine.store,
        "arch": engine.architecture,
        "free": room["free"],
    }


def load(config: Config, stream: BinaryIO, journal: Journal, expected: Mapping[str, str]) -> dict[str, object]:
    """Give the images in `stream` to Docker; returns {"images": {reference: id}, "bytes": of the tar, "message"}.

    `stream` is a file with a descriptor: a tar, possibly gzipped, in the form of `docker load`, whose first file names
    the images, which must be exactly `expected` (id by reference). It may lack the layers that are here.
    Raises Failure when it is cut off or anything else, and then no tag has changed; or when Docker refuses it (a full
    disk), and then each image is here whole or not at all.
    """
    store = facts.engine().store
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
        found = images.identity(reference)
        if found != image:
            became = f"is {found}, not {image}," if found else "is missing"
            raise Failure(f"{reference} {became} after it was taken in", hint=parcel.AGAIN)
