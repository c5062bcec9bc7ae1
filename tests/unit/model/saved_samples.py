"""Tars as `docker save` writes them, small: the old form of Docker up to 24 and the OCI layout of later ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def config(layers: Sequence[bytes], label: str = "") -> bytes:
    """An image's config."""
    diff_ids = [f"sha256:{sha(layer)}" for layer in layers]
    return json.dumps(
        {
            "architecture": "amd64",
            "config": {"Labels": {"l": label}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()


def old(images: Mapping[str, Sequence[bytes]]) -> bytes:
    """A directory for each layer of each image; a layer that was there before is a link to its file."""
    files: dict[str, bytes | str] = {}
    manifest = []
    seen: dict[str, str] = {}
    for reference, layers in images.items():
        names = []
        for number, layer in enumerate(layers):
            directory = sha(f"{reference} {number}".encode())
            name = f"{directory}/layer.tar"
            files[f"{directory}/VERSION"], files[f"{directory}/json"] = b"1.0", b"{}"
            files[name] = f"../{seen[sha(layer)]}" if sha(layer) in seen else layer
            seen.setdefault(sha(layer), name)
            names.append(name)
        data = config(layers, reference)
        files[f"{sha(data)}.json"] = data
        manifest.append({"Config": f"{sha(data)}.json", "RepoTags": [reference], "Layers": names})
    files["manifest.json"] = json.dumps(manifest).encode()
    return tar(dict(sorted(files.items())))  # a link may come before the file it stands for


def oci(images: Mapping[str, Sequence[bytes]], *, packed: bool = False) -> bytes:
    """blobs/sha256/, with compressed layers when containerd has pulled them."""
    files: dict[str, bytes | str] = {}
    manifest, index = [], []
    kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if packed else "")
    for reference, layers in images.items():
        blobs = [gzip.compress(layer, mtime=0) if packed else layer for layer in layers]
        data = config(layers, reference)
        described = json.dumps({
            "schemaVersion": 2, "config": {"digest": f"sha256:{sha(data)}", "size": len(data)},
            "layers": [{"mediaType": kind, "digest": f"sha256:{sha(x)}", "size": len(x)} for x in blobs],
        }).encode()  # fmt: skip
        files.update({f"blobs/sha256/{sha(blob)}": blob for blob in (*blobs, data, described)})
        index.append({"digest": f"sha256:{sha(described)}", "size": len(described)})
        names = [f"blobs/sha256/{sha(blob)}" for blob in blobs]
        manifest.append({"Config": f"blobs/sha256/{sha(data)}", "RepoTags": [reference], "Layers": names})
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": index}).encode()
    files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    files["manifest.json"] = json.dumps(manifest).encode()
    return tar(files)


def tar(files: Mapping[str, bytes | str]) -> bytes:
    """A tar of files; text is the target of a symbolic link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(data, str):
                member.type, member.linkname = tarfile.SYMTYPE, data
                archive.addfile(member)
            else:
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def files_of(data: bytes) -> dict[str, bytes]:
    """The files of a tar, in order."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {x.name: content.read() for x in archive if (content := archive.extractfile(x)) is not None}
