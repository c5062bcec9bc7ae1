"""Reading what `docker save` writes, in both its forms, and making the smaller tar of it."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from saved_samples import config, files_of, oci, old, sha, tar

from tasks.model.parcel import Parcel
from tasks.model.saved import SavedImage, Unreadable, called, full_name, survey

BASE, MIDDLE, TOP, OTHER = b"base" * 2000, b"middle" * 300, b"top" * 77, b"other" * 1000
ONE = {"shop/backend:1": [BASE, MIDDLE, TOP]}
TWO = {**ONE, "shop/frontend:1": [BASE, OTHER]}

Write = Callable[[Mapping[str, Sequence[bytes]]], bytes]
both = pytest.mark.parametrize("write", [old, oci, lambda images: oci(images, packed=True)], ids=["old", "oci", "gzip"])


def read(data: bytes) -> list[SavedImage]:
    return survey(io.BytesIO(data))


def sent(parcel: Parcel, data: bytes) -> bytes:
    return b"".join(parcel.stream(io.BytesIO(data)))


@both
def test_every_image_is_found_with_its_id_and_its_layers_in_order(write: Write) -> None:
    found = read(write(TWO))
    assert [image.reference for image in found] == list(TWO)
    for image, layers in zip(found, TWO.values(), strict=True):
        assert image.id("classic") == f"sha256:{sha(config(layers, image.reference))}"
        assert [layer.diff_id for layer in image.layers] == [f"sha256:{sha(layer)}" for layer in layers]


@both
@pytest.mark.parametrize("have", [0, 1, 2, 3])
def test_leading_layers_of_the_other_side_are_left_out_and_all_else_is_sent(write: Write, have: int) -> None:
    data = write(ONE)
    image = read(data)[0]
    parcel = Parcel([image], "classic", {image.reference: have})
    made = sent(parcel, data)
    files = files_of(made)
    assert len(made) == parcel.size
    assert next(iter(files)) == "manifest.json", "the host looks at it before anything else"
    entry = json.loads(files["manifest.json"])[0]
    assert entry["RepoTags"] == ["docker.io/shop/backend:1"]
    assert f"sha256:{sha(files[entry['Config']])}" == image.id("classic")
    assert [name in files for name in entry["Layers"]] == [number >= have for number in range(3)]
    assert all(sha(content) == name.rpartition("/")[2] for name, content in files.items() if "blobs/" in name)


@both
def test_a_layer_of_two_images_is_sent_once(write: Write) -> None:
    data = write(TWO)
    images = read(data)
    parcel = Parcel(images, "classic", {})
    names = [name for entry in json.loads(files_of(sent(parcel, data))["manifest.json"]) for name in entry["Layers"]]
    assert len(names) == 5
    assert set(names) <= set(files_of(sent(parcel, data)))
    assert len(parcel.layers) == 4
    assert parcel.content == sum({layer.blob: layer.size for image in images for layer in image.layers}.values())


def test_a_layer_that_occurs_again_above_the_ones_of_the_other_side_is_sent() -> None:
    data = old({"a:1": [BASE, TOP, BASE]})
    parcel = Parcel(read(data), "classic", {"a:1": 2})
    assert [layer.size for layer in parcel.layers.values()] == [len(BASE)]
    assert f"blobs/sha256/{sha(BASE)}" in files_of(sent(parcel, data))


def test_with_every_layer_there_nothing_is_read_and_the_image_is_still_described() -> None:
    image = read(old(ONE))[0]
    made = b"".join(Parcel([image], "classic", {image.reference: 3}).stream(None))
    assert list(files_of(made)) == ["manifest.json", f"blobs/sha256/{image.id('classic')[7:]}"]


@both
def test_containerd_gets_every_layer_in_an_oci_layout_that_names_the_image(write: Write) -> None:
    data = write(ONE)
    image = read(data)[0]
    parcel = Parcel([image], "containerd", {image.reference: 2})
    files = files_of(made := sent(parcel, data))
    assert len(made) == parcel.size
    assert list(files)[:2] == ["index.json", "oci-layout"]
    entry = json.loads(files["index.json"])["manifests"][0]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/shop/backend:1"
    assert entry["digest"] == image.id("containerd")
    manifest = files[f"blobs/sha256/{entry['digest'][7:]}"]
    assert (f"sha256:{sha(manifest)}", len(manifest)) == (entry["digest"], entry["size"])
    for part in (json.loads(manifest)["config"], *json.loads(manifest)["layers"]):
        content = files[f"blobs/sha256/{part['digest'][7:]}"]
        assert (f"sha256:{sha(content)}", len(content)) == (part["digest"], part["size"])


def test_containerd_is_told_which_layers_are_compressed() -> None:
    kinds = {layer.media_type for layer in read(oci(ONE, packed=True))[0].layers}
    assert kinds == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert {x.media_type for x in read(old(ONE))[0].layers} == {"application/vnd.oci.image.layer.v1.tar"}


def test_room_counts_what_came_and_what_is_unpacked_of_it() -> None:
    assert Parcel(read(old(ONE)), "classic", {}).room == 2 * sum(map(len, ONE["shop/backend:1"]))
    packed = Parcel(read(oci(ONE, packed=True)), "classic", {})
    assert packed.room == 4 * packed.content


@both
def test_a_tar_that_is_cut_off_is_not_read_as_a_smaller_one(write: Write) -> None:
    data = write(TWO)
    end = len(data.rstrip(b"\0"))
    for cut in range(0, end - 512, 997):
        with pytest.raises(Unreadable):
            read(data[:cut])


@both
def test_a_source_that_is_cut_off_or_changed_meanwhile_never_gives_a_whole_tar(write: Write) -> None:
    data = write(ONE)
    parcel = Parcel(read(data), "classic", {})
    changed = write({"shop/backend:1": [BASE, MIDDLE + b"!", TOP]})
    for source in (data[:1024], b"", changed):
        made = b""
        with pytest.raises(Unreadable):
            for chunk in parcel.stream(io.BytesIO(source)):
                made += chunk
        assert len(made) < parcel.size - 1024


@pytest.mark.parametrize(
    "files",
    [
        {"a": b"b"},
        {"manifest.json": b"no json"},
        {"manifest.json": b"[1]"},
        {"manifest.json": b'[{"Config":"x","RepoTags":["a:1"],"Layers":[]}]'},
        {"manifest.json": b'[{"Config":"c","RepoTags":null,"Layers":[]}]', "c": b"{}"},
        {"manifest.json": b'[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]', "c": b'{"rootfs":{"diff_ids":[]}}'},
        {"manifest.json": b'[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]', "c": b'{"rootfs":{"diff_ids":["d"]}}'},
    ],
)
def test_any_other_tar_is_said_to_be_one(files: dict[str, bytes]) -> None:
    with pytest.raises(Unreadable):
        read(tar(files))


def test_images_go_by_the_names_they_were_asked_for() -> None:
    found = called(read(old({"lab/a:latest": [BASE]})), ["lab/a"])
    assert found[0].reference == "lab/a"
    with pytest.raises(Unreadable, match="lab/b"):
        called(read(old({"lab/a:latest": [BASE]})), ["lab/b"])


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.30", "docker.io/library/nginx:1.30"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/team/a:2", "docker.io/team/a:2"),
        ("team/a", "docker.io/team/a:latest"),
        ("r.example/a", "r.example/a:latest"),
        ("r:5000/team/a:1", "r:5000/team/a:1"),
        ("r:5000/a", "r:5000/a:latest"),
        ("localhost/a:1", "localhost/a:1"),
    ],
)
def test_a_reference_is_spelled_out_as_docker_does(reference: str, name: str) -> None:
    from host.parcel import full_name as on_the_host

    assert full_name(reference) == name
    assert on_the_host(reference) == name


class Endless(io.RawIOBase):
    """`docker save` of one image with a layer of `size` bytes, never in memory as a whole."""

    def __init__(self, data: bytes, layer: bytes, size: int) -> None:
        super().__init__()
        head, _, tail = data.partition(layer)
        self._parts: Iterator[bytes] = iter([head, *[layer] * (size // len(layer)), tail])
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self._left = self._left or next(self._parts, b"")
        part, self._left = self._left[:size], self._left[size:]
        return part


def test_a_large_layer_is_not_held_in_memory() -> None:
    block, blocks = b"\1" * 65536, 1600
    config = b'{"rootfs":{"diff_ids":["sha256:%s"]}}' % (b"0" * 64)
    files = {"manifest.json": b'[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]', "c": config}
    header = tarfile.TarInfo("l")
    header.size = len(block) * blocks
    data = tar(files)[: len(files) * 1024] + header.tobuf() + block + bytes(1024)
    image = survey(Endless(data, block, len(block) * blocks))[0]
    made = Parcel([image], "classic", {})
    tracemalloc.start()
    count = sum(len(chunk) for chunk in made.stream(Endless(data, block, len(block) * blocks)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == made.size > 100 << 20
    assert peak < 10 << 20
