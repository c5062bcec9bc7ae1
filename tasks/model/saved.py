"""What `docker save` writes, read as a stream: which images, of which layers.

Both forms are read: directories with a layer.tar each (Docker up to 24, repeated layers as symbolic links) and the OCI
layout with blobs/sha256/ (since 25; layers may be compressed there). Nothing is held but small files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, BinaryIO, Literal

Store = Literal["classic", "containerd"]

_SMALL = 1 << 20  # bytes; manifests and configs are below that (the layers that are as well are kept in vain)
_CHUNK = 1 << 20  # bytes read at once
BLOBS = "blobs/sha256/"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


class Unreadable(Exception):
    """The tar is not what `docker save` writes, is cut off, or is no longer what it was."""


@dataclass(frozen=True)
class Layer:
    """A layer: `diff_id` of its content, `blob` as it is stored ("sha256:..." both), its file in the tar, its bytes."""

    diff_id: str
    blob: str
    member: str
    size: int
    media_type: str


@dataclass(frozen=True)
class SavedImage:
    """An image in the tar: its `reference`, the bytes of its config, its layers from the lowest on."""

    reference: str
    config: bytes
    layers: tuple[Layer, ...]

    @cached_property
    def manifest(self) -> bytes:
        """The OCI manifest."""
        layers = [{"mediaType": x.media_type, "digest": x.blob, "size": x.size} for x in self.layers]
        config = {"mediaType": _CONFIG_TYPE, "digest": _digest(self.config), "size": len(self.config)}
        return as_json({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers})

    def id(self, store: Store) -> str:
        """The id it gets where it is loaded: the digest of its config or, with containerd's store, of its manifest."""
        return _digest(self.config if store == "classic" else self.manifest)


def survey(stream: BinaryIO) -> list[SavedImage]:
    """Read a whole tar of `docker save`; return what is in it. Raises Unreadable."""
    sizes: dict[str, int] = {}
    links: dict[str, str] = {}
    small: dict[str, bytes] = {}
    for member, tar in members(stream):
        if member.issym():
            links[member.name] = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
        elif member.islnk():
            links[member.name] = member.linkname
        elif member.isfile():
            sizes[member.name] = member.size
            if member.size <= _SMALL and not member.name.endswith("/layer.tar"):
                small[member.name] = b"".join(content(tar, member))
    try:
        entries = json.loads(small["manifest.json"])
        contents = _Contents(sizes, links, small, _types(small))
        return [_image(entry, reference, contents) for entry in entries for reference in entry["RepoTags"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"not a tar of `docker save` ({type(error).__name__}: {error})") from error


@dataclass(frozen=True)
class _Contents:
    sizes: Mapping[str, int]
    links: Mapping[str, str]
    small: Mapping[str, bytes]
    types: Mapping[str, str]


def _types(small: Mapping[str, bytes]) -> dict[str, str]:
    """The media type of every layer, by digest, from all OCI manifests: it tells how a layer is compressed."""
    found: dict[str, str] = {}
    for name, data in small.items():
        if name.startswith(BLOBS) and data.startswith(b"{"):
            with contextlib.suppress(ValueError, TypeError, KeyError):  # not every small blob is a manifest
                found.update({str(x["digest"]): str(x["mediaType"]) for x in json.loads(data)["layers"]})
    return found


def _image(entry: Mapping[str, Any], reference: str, contents: _Contents) -> SavedImage:
    config = contents.small[entry["Config"]]
    layers = []
    for diff_id, name in zip(json.loads(config)["rootfs"]["diff_ids"], entry["Layers"], strict=True):
        member = contents.links.get(name, name)
        # the old form has no digests in its names, and its layers are as they are: not compressed
        blob = f"sha256:{member.removeprefix(BLOBS)}" if member.startswith(BLOBS) else diff_id
        layers.append(Layer(diff_id, blob, member, contents.sizes[member], contents.types.get(blob, _LAYER_TYPE)))
    return SavedImage(reference, config, tuple(layers))


def called(images: Iterable[SavedImage], references: Iterable[str]) -> list[SavedImage]:
    """The images, under the references as they were asked for. Raises Unreadable when one is not among them."""
    named = {full_name(image.reference): image for image in images}
    try:
        return [replace(named[full_name(reference)], reference=reference) for reference in references]
    except KeyError as error:
        raise Unreadable(f"{error} is not in it") from None


def full_name(reference: str) -> str:
    """A reference as Docker spells it out: docker.io/library/nginx:latest for nginx."""
    first, slash, rest = reference.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", reference
    if first == "index.docker.io":
        first = "docker.io"
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    return f"{first}/{rest}" if ":" in rest.rpartition("/")[2] else f"{first}/{rest}:latest"


def members(stream: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """The entries of a tar that is read once, each with the tar to read its content from. Raises Unreadable."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                yield member, tar
    except (tarfile.TarError, EOFError) as error:
        raise Unreadable(f"the tar is cut off or damaged ({error})") from error


def content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    """The bytes of the entry the tar is at, in chunks. Raises Unreadable when it is cut off."""
    source, left = tar.extractfile(member), member.size
    while source and left:
        try:
            chunk = source.read(min(_CHUNK, left))
        except tarfile.TarError as error:
            raise Unreadable(f"{member.name} is cut off ({error})") from error
        if not chunk:
            raise Unreadable(f"{member.name} is cut off")
        left -= len(chunk)
        yield chunk


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def as_json(value: object) -> bytes:
    """JSON as it is sent: the same value gives the same bytes, and so the same digest."""
    return json.dumps(value, separators=(",", ":")).encode()
