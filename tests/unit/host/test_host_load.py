"""Images over SSH: which layers are missing, and a stream that Docker gets only when it is what was announced."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from host_world import events

from host import config as configuration
from host import load, parcel
from host.errors import Failure, Status
from host.events import Journal

# A Docker that has images (state.json: images by reference, layers of each), and takes in whole tars only.
DOCKER = """#!{python} -SE
import io, json, pathlib, sys, tarfile
home = pathlib.Path(sys.argv[0]).parents[1]
state = json.loads((home / "state.json").read_text())
words = sys.argv[1:]
if words[0] == "info":
    print(json.dumps(state["info"]))
elif words[:2] == ["image", "ls"]:
    print("\\n".join(state["layers"]))
elif words[:2] == ["image", "inspect"] and "Layers" in words[3]:
    for image in words[4:]:
        print(json.dumps(state["layers"][image]))
elif words[:2] == ["image", "inspect"]:
    if words[4] not in state["tags"]:
        sys.exit("Error: No such image: " + words[4])
    print(state["tags"][words[4]])
elif words[0] == "load":
    (home / "pid").write_text("started")
    if state.get("early"):
        sys.exit(state["early"])
    data = sys.stdin.buffer.read()
    (home / "given").write_bytes(data)
    if state.get("refuse"):
        sys.exit(state["refuse"])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = dict((x.name, tar.extractfile(x).read()) for x in tar)
    for entry in json.loads(files.get("manifest.json", b"[]")):
        state["tags"][state["short"][entry["RepoTags"][0]]] = "sha256:" + entry["Config"].rpartition("/")[2]
        print("Loaded image: " + state.get("says", entry["RepoTags"][0]))
    for entry in json.loads(files.get("index.json", b"{{}}")).get("manifests", []):
        state["tags"][state["short"][entry["annotations"]["io.containerd.image.name"]]] = entry["digest"]
    (home / "state.json").write_text(json.dumps(state))
"""
INFO = {
    "ServerVersion": "26.1.5",
    "DriverStatus": [["Backing Filesystem", "extfs"]],
    "Architecture": "x86_64",
    "DockerRootDir": "/",
}
CONTAINERD = {**INFO, "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]], "Architecture": "aarch64"}
CONFIG = b'{"rootfs":{}}'
ID = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"
REF, FULL = "shop/backend:1", "docker.io/shop/backend:1"
BLOB = f"blobs/sha256/{ID[7:]}"
LAYER = os.urandom(200_000)
LAYER_NAME = f"blobs/sha256/{hashlib.sha256(LAYER).hexdigest()}"


class Engine:
    """A Docker of its own, and a way to give the host program a stream."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        (home / "bin").mkdir()
        (home / "bin" / "docker").write_text(DOCKER.format(python=sys.executable))
        (home / "bin" / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{home / 'bin'}:{os.environ['PATH']}")
        self.config = configuration.from_json(json.dumps({"app": "app", "root": str(home / "opt")}).encode())
        self.set(info=INFO, layers={}, tags={}, short={FULL: REF})

    def set(self, **changes: Any) -> None:
        path = self.home / "state.json"
        value = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**value, **changes}))

    @property
    def tags(self) -> dict[str, str]:
        return json.loads((self.home / "state.json").read_text())["tags"]  # type: ignore[no-any-return]

    @property
    def given(self) -> bytes | None:
        """What Docker was given as a whole; None when it was stopped before."""
        path = self.home / "given"
        return path.read_bytes() if path.exists() else None

    def missing(self, *images: tuple[str, str, list[str]]) -> dict[str, Any]:
        asked = [{"reference": reference, "id": image, "layers": layers} for reference, image, layers in images]
        return load.missing(self.config, json.dumps({"images": asked}).encode())

    def load(self, data: bytes, expected: Mapping[str, str] | None = None, journal: Journal | None = None) -> Any:
        reading, writing = os.pipe()

        def feed() -> None:
            with os.fdopen(writing, "wb") as pipe:
                try:
                    pipe.write(data)
                except BrokenPipeError:
                    pass

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            with os.fdopen(reading, "rb") as stream:
                return load.load(self.config, stream, journal or Journal(), expected or {REF: ID})
        finally:
            feeder.join()


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(tmp_path, monkeypatch)


def manifest(**changes: Any) -> bytes:
    return json.dumps([{"Config": BLOB, "RepoTags": [FULL], "Layers": [LAYER_NAME], **changes}]).encode()


def tar(files: list[tuple[str, bytes]], kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size, member.type = len(data), kind if name == "odd" else tarfile.REGTYPE
            made.addfile(member, io.BytesIO(data))
    return out.getvalue().rstrip(b"\0") + bytes(-len(out.getvalue().rstrip(b"\0")) % 512) + bytes(1024)


GOOD = tar([("manifest.json", manifest()), (BLOB, CONFIG), (LAYER_NAME, LAYER)])
NAMES = [("manifest.json", manifest()), (BLOB, CONFIG)]


# -- missing


def test_an_image_of_that_id_under_that_name_is_present(engine: Engine) -> None:
    engine.set(tags={REF: ID}, layers={ID: ["a", "b"]})
    answer = engine.missing((REF, ID, ["a", "b"]), ("other:1", ID, ["a", "b"]))
    assert answer["images"] == {REF: {"present": True, "have": 2}, "other:1": {"present": False, "have": 2}}
    assert (answer["store"], answer["arch"]) == ("classic", "amd64")
    assert answer["free"] > 0


@pytest.mark.parametrize(
    ("layers", "have"),
    [(["a", "b", "c"], 2), (["a"], 1), (["b"], 0), (["a", "x"], 2), (["a", "c"], 1), (["x", "b"], 0), ([], 0)],
)
def test_only_leading_layers_count_in_the_order_an_image_here_has_them(
    engine: Engine, layers: list[str], have: int
) -> None:
    engine.set(layers={"one": ["a", "b"], "two": ["a", "x", "y"], "three": None})
    assert engine.missing((REF, "sha256:new", layers))["images"][REF] == {"present": False, "have": have}


def test_no_images_at_all_is_an_answer(engine: Engine) -> None:
    assert engine.missing((REF, ID, ["a"]))["images"] == {REF: {"present": False, "have": 0}}
    assert engine.missing()["images"] == {}


def test_containerd_is_named_and_has_no_layers_to_offer(engine: Engine) -> None:
    engine.set(info=CONTAINERD, layers={"one": ["a"]})
    answer = engine.missing((REF, ID, ["a"]))
    assert (answer["store"], answer["arch"]) == ("containerd", "arm64")
    assert answer["images"][REF]["have"] == 0


def test_a_docker_that_does_not_run_is_not_an_empty_one(engine: Engine) -> None:
    engine.set(
        info={"ServerErrors": ["Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"]}
    )
    with pytest.raises(Failure, match="not running"):
        engine.missing((REF, ID, ["a"]))


@pytest.mark.parametrize("data", [b"", b"[]", b'{"images":[{}]}', b'{"images":1}', b"\xff"])
def test_a_question_that_cannot_be_read_is_said_to_be_one(engine: Engine, data: bytes) -> None:
    with pytest.raises(Failure, match="cannot be read"):
        load.missing(engine.config, data)


# -- load


@pytest.mark.parametrize(
    "data",
    [GOOD, gzip.compress(GOOD, 1), gzip.compress(GOOD[:99]) + gzip.compress(GOOD[99:])],
    ids=["plain", "gzip", "two members"],
)
def test_what_was_announced_is_taken_in_byte_for_byte(engine: Engine, data: bytes) -> None:
    out = io.BytesIO()
    done = engine.load(data, journal=Journal(None, out))
    assert engine.given == GOOD
    assert engine.tags == {REF: ID}
    assert done == {"images": {REF: ID}, "bytes": len(GOOD), "message": f"1 image taken in: {REF}"}
    assert [event["state"] for event in events(out.getvalue())] == ["running", "done"]


def test_the_layers_that_are_here_may_be_left_out(engine: Engine) -> None:
    engine.load(tar(NAMES))
    assert engine.tags == {REF: ID}


def test_containerd_gets_an_oci_layout(engine: Engine) -> None:
    engine.set(info=CONTAINERD)
    index = {"manifests": [{"digest": "sha256:abc", "annotations": {"io.containerd.image.name": FULL}}]}
    engine.load(
        tar([("index.json", json.dumps(index).encode()), ("oci-layout", b"{}"), (BLOB, CONFIG)]), {REF: "sha256:abc"}
    )
    assert engine.tags == {REF: "sha256:abc"}


def cuts() -> Iterator[int]:
    yield from range(0, len(GOOD) - 1024, 10_007)
    yield from range(512, 3072, 512)  # between two files, where tar itself sees nothing amiss
    yield len(GOOD) - 1024


@pytest.mark.parametrize("cut", list(cuts()))
@pytest.mark.parametrize("pack", [bytes, lambda data: gzip.compress(data, 0)], ids=["plain", "gzip"])
def test_a_stream_that_is_cut_off_never_reaches_docker_as_a_whole_one(
    engine: Engine, cut: int, pack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(Failure, match="nothing was taken in") as caught:
        engine.load(pack(GOOD)[:cut])
    assert (engine.given, engine.tags) == (None, {})
    assert caught.value.status == Status.HOST_FAILED
    assert "fab images.push" in caught.value.hint


def test_a_compressed_stream_without_its_checksum_is_cut_off_too(engine: Engine) -> None:
    with pytest.raises(Failure, match="cut off"):
        engine.load(gzip.compress(GOOD)[:-4])
    assert engine.given is None


def test_a_compressed_stream_with_another_checksum_is_refused(engine: Engine) -> None:
    data = gzip.compress(GOOD)
    with pytest.raises(Failure, match="CRC check failed"):
        engine.load(data[:-8] + b"\1\2\3\4" + data[-4:])
    assert engine.given is None


@pytest.mark.parametrize(
    "files",
    [
        [("manifest.json", manifest(RepoTags=["docker.io/library/nginx:1"])), (BLOB, CONFIG)],
        [("manifest.json", manifest(RepoTags=[FULL, "docker.io/library/nginx:1"])), (BLOB, CONFIG)],
        [("manifest.json", manifest(Config=f"blobs/sha256/{'0' * 64}")), (BLOB, CONFIG)],
        [("manifest.json", manifest(RepoTags=None)), (BLOB, CONFIG)],
        [("manifest.json", b"no json"), (BLOB, CONFIG)],
        [("manifest.json", b"{}"), (BLOB, CONFIG)],
        [(BLOB, CONFIG), ("manifest.json", manifest())],
        [("index.json", b'{"manifests":[]}'), (BLOB, CONFIG)],
        [*NAMES, ("manifest.json", b"[]")],
        [*NAMES, (BLOB, CONFIG)],
        [*NAMES, ("repositories", b"{}")],
        [*NAMES, ("../../etc/passwd", b"x")],
        [*NAMES, ("blobs/sha256/../../x", b"x")],
    ],
)
def test_any_other_tar_is_refused_before_docker_has_it(engine: Engine, files: list[tuple[str, bytes]]) -> None:
    with pytest.raises(Failure, match=r"is no parcel of images: .*; nothing was taken in"):
        engine.load(tar(files))
    assert (engine.given, engine.tags) == (None, {})


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_anything_but_plain_files_is_refused(engine: Engine, kind: bytes) -> None:
    with pytest.raises(Failure, match="has no place in it"):
        engine.load(tar([*NAMES, ("odd", b"")], kind))
    assert engine.given is None


@pytest.mark.parametrize(
    "data", [b"hello\n" * 1000, b"", bytes(10240), gzip.compress(b"hello", mtime=0), b"\x1f\x8b garbage"]
)
def test_what_is_no_tar_is_refused(engine: Engine, data: bytes) -> None:
    with pytest.raises(Failure, match="nothing was taken in"):
        engine.load(data)
    assert engine.given is None


@pytest.mark.parametrize("moment", ["early", "refuse"])
def test_what_docker_says_is_passed_on(engine: Engine, moment: str) -> None:
    engine.set(**{moment: "Error: write /var/lib/docker/tmp/x: no space left on device"})
    with pytest.raises(Failure, match="no space left on the disk") as caught:
        engine.load(tar([*NAMES, (LAYER_NAME, LAYER * 20)]))
    assert "docker system df" in caught.value.hint
    assert engine.tags == {}


def test_layers_that_went_away_meanwhile_are_named(engine: Engine) -> None:
    engine.set(refuse="open /var/lib/docker/tmp/docker-import-1/blobs/sha256/ab: no such file or directory")
    with pytest.raises(Failure, match="are gone") as caught:
        engine.load(GOOD)
    assert "fab images.push" in caught.value.hint


def test_an_image_that_is_another_one_afterwards_is_a_failure(engine: Engine) -> None:
    engine.set(short={FULL: "elsewhere:1"}, tags={REF: "sha256:old"})
    with pytest.raises(Failure, match=r"is sha256:old, not sha256:.* after it was taken in"):
        engine.load(GOOD)


def test_an_image_docker_names_that_was_not_to_be_sent_is_a_failure(engine: Engine) -> None:
    engine.set(says="nginx:1")
    with pytest.raises(Failure, match="Docker took in nginx:1, which was not to be sent"):
        engine.load(GOOD)


def test_a_sender_that_falls_silent_is_given_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "_STALLED", 0.2)
    reading, writing = os.pipe()
    os.write(writing, GOOD[:5000])
    with os.fdopen(reading, "rb") as stream, pytest.raises(Failure, match="nothing was sent for"):
        load.load(engine.config, stream, Journal(), {REF: ID})
    os.close(writing)
    assert engine.given is None


def test_the_program_in_a_pipe_does_the_same(engine: Engine) -> None:
    program = (
        "import sys; from host import load, config; from host.events import Journal; from pathlib import Path;"
        "load.load(None, sys.stdin.buffer, Journal(), {sys.argv[1]: sys.argv[2]})"
    )
    words = [sys.executable, "-c", program, REF, ID]
    environment = {**os.environ, "PYTHONPATH": str(Path(load.__file__).parents[1])}
    subprocess.run(words, input=gzip.compress(GOOD), check=True, env=environment)
    assert engine.given == GOOD
