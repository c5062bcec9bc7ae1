"""Images by what they are and not by what they are called: tags move, digests do not."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Pin:
    """What a reference stood for when a release was made.

    Attributes:
        digest: of the manifest in its registry, "sha256:..."; None for an image that no registry has.
        id: of the image on the host, for one that came without a registry.
    """

    digest: str | None
    id: str | None


@dataclass(frozen=True)
class Resolved:
    """What was found out about a reference.

    Attributes:
        digest, id: as in `Pin`.
        present: whether the host has it already.
        bytes: still to be transferred; compressed ones from a registry, as they are from the workstation.
        source: "registry", "host" or "workstation"; None when nobody has it.
        volumes: the paths that the image declares to be volumes.
    """

    digest: str | None
    id: str | None
    present: bool
    bytes: int
    source: str | None
    volumes: tuple[str, ...] = ()


def pinned(reference: str, pin: Pin | None) -> str:
    """The reference as Compose gets it: with the digest behind its tag, where there is one."""
    return f"{reference}@{pin.digest}" if pin and pin.digest and "@" not in reference else reference


def image_name(image: str) -> str:
    """The last part of the image's repository: "postgres" of docker.io/library/postgres:17.12@sha256:..."""
    return image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0]


def image_major(image: str) -> int | None:
    """The major version in the image's tag, None when there is none to be read."""
    match = re.match(r"v?(\d+)(?:[.\-]|$)", image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[2])
    return int(match[1]) if match else None
