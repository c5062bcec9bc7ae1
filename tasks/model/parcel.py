"""The tar that is sent to `docker load`: the same images as one of `docker save`, without the layers of the other side.

It is of one form, whatever `docker save` writes: the index first (manifest.json for the classic image store, index.json
for containerd's), small files, then layers. The classic store skips a layer it has before it looks for the file: such
layers are left out. Nothing is held but small files: `docker save` is read once to learn what there is, once to send.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from tasks.model.saved import (
    BLOBS,
    MANIFEST_TYPE,
    Layer,
    SavedImage,
    Store,
    Unreadable,
    as_json,
    content,
    full_name,
    members,
)

_BLOCK = 512  # bytes; the unit of tar
_UNPACKED = 3  # times the size of a compressed layer that it takes when unpacked; an estimate
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Parcel:
    """What is sent: some images without the leading layers that the other side has (by reference: how many)."""

    images: Sequence[SavedImage]
    store: Store
    have: Mapping[str, int]

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The layers to send by their file in the tar of `docker save`; one that several images share is there once.

        One that occurs again higher up is sent although it is there below: it counts with everything under it.
        """
        chosen: dict[str, Layer] = {}
        for image in self.images:
            skipped = self.have.get(image.reference, 0) if self.store == "classic" else 0
            chosen.update({layer.blob: layer for layer in image.layers[skipped:] if layer.blob not in chosen})
        return {layer.member: layer for layer in chosen.values()}

    @property
    def content(self) -> int:
        """Bytes of the layers to send."""
        return sum(layer.size for layer in self.layers.values())

    @property
    def room(self) -> int:
        """Bytes it takes on the other side's disk for a while: Docker keeps what came until all layers are unpacked."""
        layers = self.layers.values()
        return sum(layer.size * (1 + (1 if layer.blob == layer.diff_id else _UNPACKED)) for layer in layers)

    @property
    def size(self) -> int:
        """Bytes of the tar that `stream` makes."""
        small = sum(len(_header(name, len(data))) + _padded(len(data)) for name, data in self._small())
        layers = sum(len(_header(_path(x.blob), x.size)) + _padded(x.size) for x in self.layers.values())
        return small + layers + 2 * _BLOCK

    def stream(self, saved: BinaryIO | None) -> Iterator[bytes]:
        """The tar to send, made while `saved`, the tar of `docker save`, is read; None when no layer is to be sent.

        Raises Unreadable, before the end of the tar is written, when `saved` has not exactly the layers expected.
        """
        for name, data in self._small():
            yield _header(name, len(data)) + data + bytes(-len(data) % _BLOCK)
        left = dict(self.layers)
        for member, tar in members(saved) if saved and left else ():
            layer = left.pop(member.name, None)
            if layer is None:
                continue
            if member.size != layer.size:
                raise Unreadable(f"a layer has {member.size} bytes and had {layer.size}")
            yield _header(_path(layer.blob), layer.size)
            yield from content(tar, member)
            yield bytes(-layer.size % _BLOCK)
            if not left:
                break
        if left:
            raise Unreadable(f"{len(left)} layers are missing in it")
        yield bytes(2 * _BLOCK)

    def _small(self) -> Iterator[tuple[str, bytes]]:
        if self.store == "classic":
            entries = [
                {"Config": _path(x.id("classic")), "RepoTags": [full_name(x.reference)],
                 "Layers": [_path(layer.blob) for layer in x.layers]} for x in self.images
            ]  # fmt: skip
            yield "manifest.json", as_json(entries)
        else:
            manifests = [
                {"mediaType": MANIFEST_TYPE, "digest": x.id("containerd"), "size": len(x.manifest),
                 "annotations": {"io.containerd.image.name": full_name(x.reference)}} for x in self.images
            ]  # fmt: skip
            yield "index.json", as_json({"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": manifests})
            yield "oci-layout", as_json({"imageLayoutVersion": "1.0.0"})
        files = {_path(x.id("classic")): x.config for x in self.images}
        if self.store == "containerd":
            files |= {_path(x.id("containerd")): x.manifest for x in self.images}
        yield from files.items()


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return size + -size % _BLOCK


def _path(digest: str) -> str:
    return BLOBS + digest.removeprefix("sha256:")
