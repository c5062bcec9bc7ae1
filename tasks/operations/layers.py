"""Images here beside what the host has of them: one question, one answer, nothing changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from tasks.core import engine
from tasks.core.engine import LocalImage
from tasks.core.errors import InfraError, Refused, UsageError
from tasks.model import parcel as parcels
from tasks.model import saved
from tasks.operations import hostprogram

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings

_lock = threading.Lock()


@dataclass(frozen=True)
class Comparison:
    """Images here and there. `ids` are those they have, or will have, on the host; `have` counts their leading layers
    there; `free` is in bytes; `architecture` and `store` are the host's."""

    local: Mapping[str, LocalImage]
    ids: Mapping[str, str]
    present: frozenset[str]
    have: Mapping[str, int]
    store: saved.Store
    free: int

    @property
    def absent(self) -> list[str]:
        """The references of the images the host does not have."""
        return [reference for reference in self.local if reference not in self.present]

    def parcel(self) -> parcels.Parcel:
        """What has to be sent. Reads the tar of `docker save` once for it, unless that was done for another host."""
        images = survey([self.local[reference] for reference in self.absent])
        return parcels.Parcel(images, self.store, self.have)


def compare(s: Session, settings: Settings, references: Sequence[str]) -> Comparison:
    """Look at the images here and ask the host about them: one round trip, two where containerd keeps the images.

    Raises UsageError for a reference that is no tag or not here, Refused for an image of another platform than the
    host's or a host without (a current) program, else as `hostprogram.ask`.
    """
    for reference in references:
        if "@" in reference:
            raise UsageError(f"{reference} names a digest", hint="only a tag can be sent: REPOSITORY:TAG")
    here, local = engine.about(), engine.inspect(list(dict.fromkeys(references)))
    if absent := [reference for reference in references if reference not in local]:
        raise UsageError(f"not among the images here: {', '.join(absent)}", hint="docker image ls; fab images.build")
    ids = {reference: image.id for reference, image in local.items()}
    layers = {reference: image.layers for reference, image in local.items()}
    answer = ask(s, settings, ids, layers)
    for image in local.values():
        if image.platform != f"linux/{answer['arch']}":
            raise Refused(
                f"{image.reference} is made for {image.platform}, the host is linux/{answer['arch']}",
                host=s.name,
                hint=f"docker build --platform linux/{answer['arch']} -t {image.reference} DIRECTORY",
            )
    store = cast("saved.Store", answer["store"])
    if local and (here.store, store) != ("classic", "classic"):
        # Where containerd keeps images they have other ids: only the tar tells which one it will be over there.
        for found in survey(list(local.values())):
            ids[found.reference], layers[found.reference] = found.id(store), tuple(x.diff_id for x in found.layers)
        answer = ask(s, settings, ids, layers)
    states = answer["images"]
    present = frozenset(reference for reference in local if states[reference]["present"])
    have = {reference: int(states[reference]["have"]) for reference in local}
    return Comparison(local, ids, present, have, store, int(answer["free"]))


def ask(
    s: Session, settings: Settings, ids: Mapping[str, str], layers: Mapping[str, Sequence[str]]
) -> Mapping[str, Any]:
    """What the host says about images (their ids and layers by reference), its image store, platform and free bytes.

    Raises as `hostprogram.ask`.
    """
    images = [{"id": ids[reference], "reference": reference, "layers": list(layers[reference])} for reference in ids]
    answer = hostprogram.ask(s, settings.app_name, "missing-layers", question={"images": images})
    return cast("Mapping[str, Any]", answer)


def survey(images: Sequence[LocalImage]) -> list[saved.SavedImage]:
    """What `docker save` makes of the images, under their references. Raises InfraError when it cannot."""
    with _lock:  # several hosts ask for the same ones at the same time
        return list(_survey(tuple(images))) if images else []


@lru_cache(maxsize=16)
def _survey(images: tuple[LocalImage, ...]) -> tuple[saved.SavedImage, ...]:
    references = [image.reference for image in images]
    with engine.saving(references) as stream:
        try:
            return tuple(saved.called(saved.survey(stream), references))
        except saved.Unreadable as error:
            raise InfraError(
                f"`docker save` here: {error}", hint=f"try it: docker save {references[0]} | wc -c"
            ) from error
