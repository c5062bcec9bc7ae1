"""What image tags stand for right now, and how much of them this host still lacks. Read only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from host import facts, images, layers, registry
from host.config import Config
from host.errors import Failure
from host.process import run
from host.registry import Access, Found, NotAvailable

_AT_ONCE = 8
_QUERY = 60.0  # seconds


@dataclass(frozen=True)
class Local:
    """An image of this host."""

    id: str
    digests: tuple[str, ...]
    volumes: tuple[str, ...]


def resolve(config: Config, data: bytes) -> dict[str, Any]:
    """The answer to {"images": [references], "registry", "user", "password"}; what cannot be found carries an "error".

    Raises Failure when the question is none.
    """
    try:
        asked = json.loads(data)
        references = sorted({str(item) for item in asked["images"]})
        login = [str(asked.get(key) or "") for key in ("registry", "user", "password")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"not a question about images: {type(error).__name__}", hint="update the checkout") from None
    engine = facts.engine()
    access = registry.access(engine.registries, *login)
    chains = layers.stacks()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(lambda name: _one(name, access, engine.architecture, chains), references)
        return {"images": dict(zip(references, answers, strict=True))}


def _one(reference: str, access: Access, architecture: str, chains: Sequence[Sequence[str]]) -> dict[str, Any]:
    here = local(reference)
    if here and not here.digests:  # it was loaded, not pulled: no registry knows better
        return _answer(None, here.id, 0, "host", here.volumes)
    try:
        found = registry.look_up(reference, access, architecture)
    except NotAvailable as error:
        if here:
            return _answer(_digest(reference, here), here.id, 0, "host", here.volumes)
        failure = images.explain(reference, str(error))
        return {**_answer(None, None, None, None, ()), "error": failure.cause, "hint": failure.hint}
    present = here is not None and found.digest in {digest.partition("@")[2] for digest in here.digests}
    return _answer(found.digest, None, 0 if present else _missing(found, chains), "registry", found.volumes)


def _answer(
    digest: str | None, image: str | None, count: int | None, source: str | None, volumes: Sequence[str]
) -> dict[str, Any]:
    return {
        "digest": digest, "id": image, "present": count == 0, "bytes": count, "source": source,
        "volumes": list(volumes), "error": None, "hint": None,
    }  # fmt: skip


def _digest(reference: str, here: Local) -> str | None:
    """The digest of a pulled image in the repository of `reference`."""
    wanted = registry.parse(reference)
    for digest in here.digests:
        name, _, value = digest.partition("@")
        found = registry.parse(name)
        if (found.host, found.path) == (wanted.host, wanted.path):
            return value
    return None


def _missing(found: Found, chains: Sequence[Sequence[str]]) -> int:
    """Compressed bytes of the layers this host lacks: it has one when it has all below it in the same order, too."""
    return sum(found.sizes[layers.present(found.diff_ids, chains) :])


def local(reference: str) -> Local | None:
    """The image of that name on this host, None when there is none."""
    done = run(["docker", "image", "inspect", reference], deadline=_QUERY, check=False)
    if done.status != 0:
        return None
    raw = json.loads(done.stdout)[0]
    return Local(
        str(raw["Id"]), tuple(raw.get("RepoDigests") or ()),
        tuple(sorted((raw.get("Config") or {}).get("Volumes") or {})),
    )  # fmt: skip
