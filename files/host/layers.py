"""The layers of the images on this host. A layer counts only on top of the very ones it was made on."""

from __future__ import annotations

import json
from collections.abc import Sequence

from host.process import run

_QUERY = 120.0  # seconds

Stack = tuple[str, ...]


def stacks() -> list[Stack]:
    """The layers of every image, by their digests once unpacked, lowest first."""
    ids = run(["docker", "image", "ls", "--all", "--quiet", "--no-trunc"], deadline=_QUERY).text.split()
    if not ids:
        return []
    # without `check`: an image may have gone since
    done = run(
        ["docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", *dict.fromkeys(ids)],
        deadline=_QUERY, check=False,
    )  # fmt: skip
    return [tuple(json.loads(line) or ()) for line in done.text.splitlines() if line.strip()]


def present(wanted: Sequence[str], there: Sequence[Sequence[str]]) -> int:
    """How many of the lowest layers of an image are here, given the stacks there are."""
    return max((_common(wanted, stack) for stack in there), default=0)


def _common(wanted: Sequence[str], stack: Sequence[str]) -> int:
    for count, (one, other) in enumerate(zip(wanted, stack, strict=False)):
        if one != other:
            return count
    return min(len(wanted), len(stack))
