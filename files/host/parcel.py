"""The stream of images on its way into Docker: looked at file by file while it passes, cut short when it is wrong.

Docker takes in a tar only when it is whole: ending `docker load` before leaves nothing behind, no tag and no layer.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import select
import subprocess
import tarfile
import zlib
from collections.abc import Mapping
from typing import IO, BinaryIO, Protocol, cast

from host import config as configuration
from host.errors import Failure
from host.process import Done, explain

AGAIN = "send the images again: fab images.push"

_STALLED = 300.0  # seconds without a byte from the other side, which may be dead; the lock is held meanwhile
_TAKE_IN = 1800.0  # seconds Docker may unpack after the last byte
_INDEX_LIMIT = 4 << 20  # bytes
_BLOCK = 512  # bytes; the unit of tar
_CHUNK = 1 << 18  # bytes read at once
_GZIP = b"\x1f\x8b"
_BLOB = re.compile(r"blobs/sha256/[0-9a-f]{64}")
_INDEX = {"classic": "manifest.json", "containerd": "index.json"}  # the first file, which names what is tagged
_NAME = "io.containerd.image.name"
_DOCKER = ("docker", "load", "--quiet")


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


def hand_over(stream: BinaryIO, store: str, expected: Mapping[str, str]) -> tuple[int, str]:
    """Pass `stream`, a tar or a gzipped one, on to `docker load` while it is checked.

    It must begin with the index of the image store, which names exactly the images `expected` (id by reference), and
    hold nothing else but blobs. Returns the bytes of the tar and what Docker said.
    Raises Failure for anything else, and when Docker refuses it; Docker is stopped before it has a whole tar.
    """
    with os.fdopen(os.memfd_create("docker-load"), "w+b") as said, _start(said) as child:
        try:
            size = _pass_on(_Incoming(stream), child, store, expected)
        except BrokenPipeError:
            child.wait(_STALLED)  # it has ended without reading on, and said why
            raise _refused(child, said) from None
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Failure(f"what was sent is cut off or no tar: {error}; nothing was taken in", hint=AGAIN) from error
        finally:
            if child.poll() is None and child.stdin and not child.stdin.closed:
                child.kill()  # before its input ends, which it would take for the end of the tar
        try:
            child.wait(_TAKE_IN)
        except subprocess.TimeoutExpired:
            raise Failure(f"Docker did not take in the images within {_TAKE_IN:.0f} s", hint="docker ps") from None
        finally:
            child.kill()
        if child.returncode != 0:
            raise _refused(child, said)
        return size, _text(said)


def _start(said: IO[bytes]) -> subprocess.Popen[bytes]:
    # host.process feeds a program bytes it holds; these are gigabytes that nobody holds.
    try:
        return subprocess.Popen(
            _DOCKER, stdin=subprocess.PIPE, stdout=said, stderr=said, bufsize=0, cwd="/", start_new_session=True,
            env=configuration.child_environment(),
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Failure("docker is not installed on this host", hint="prepare the host: fab setup") from error


def _text(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode("utf-8", "replace")


def _refused(child: subprocess.Popen[bytes], said: IO[bytes]) -> Failure:
    text = _text(said)
    if "no such file or directory" in text and "blobs/sha256" in text:
        return Failure("layers that were here a moment ago are gone; nothing was taken in", hint=AGAIN)
    failure = explain(_DOCKER, Done(child.returncode, b"", text))
    failure.hint = failure.hint or AGAIN
    return failure


class _Incoming:
    """What comes from the other side, as a file that gives up when nothing comes any more."""

    def __init__(self, stream: BinaryIO) -> None:
        self._descriptor = stream.fileno()
        self._first = b""
        while len(self._first) < len(_GZIP) and (more := self._read(len(_GZIP))):
            self._first += more
        self.gzipped = self._first.startswith(_GZIP)

    def read(self, size: int = _CHUNK) -> bytes:
        first, self._first = self._first[:size], self._first[size:]
        return first or self._read(size)

    def _read(self, size: int) -> bytes:
        if not select.select([self._descriptor], [], [], _STALLED)[0]:
            raise Failure(f"nothing was sent for {_STALLED:.0f} s; nothing was taken in", hint=AGAIN)
        return os.read(self._descriptor, size)


class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class _Tee:
    """A reader that hands what is read to Docker as well."""

    def __init__(self, source: _Readable, sink: IO[bytes]) -> None:
        self._source, self._sink, self.count = source, sink.fileno(), 0

    def read(self, size: int = _CHUNK) -> bytes:
        data = self._source.read(size)
        self.count += len(data)
        left = memoryview(data)
        while left:
            left = left[os.write(self._sink, left) :]
        return data


def _pass_on(incoming: _Incoming, child: subprocess.Popen[bytes], store: str, expected: Mapping[str, str]) -> int:
    """Feed and check the whole stream, then close Docker's input; returns the bytes fed."""
    if child.stdin is None:  # for the type checker: it was asked for
        raise AssertionError
    tee = _Tee(gzip.GzipFile(fileobj=cast("IO[bytes]", incoming)) if incoming.gzipped else incoming, child.stdin)
    with tarfile.open(fileobj=tee, mode="r|", bufsize=_CHUNK) as tar:  # type: ignore[call-overload]
        _check_members(tar, store, expected)
        if tee.count < tar.offset + 2 * _BLOCK:  # tarfile takes a cut between two members for the end
            raise EOFError("its end is missing")
    while tee.read():  # up to the checksum, if it is gzipped
        pass
    child.stdin.close()
    return int(tee.count)


def _check_members(tar: tarfile.TarFile, store: str, expected: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for member in tar:
        plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None
        if not plain or member.name in seen:
            raise _foreign(f"{member.name[:100]!r} has no place in it")
        if not seen:
            _check_index(tar, member, store, expected)
        elif member.name != "oci-layout" and not _BLOB.fullmatch(member.name):
            raise _foreign(f"{member.name[:100]!r} has no place in it")
        seen.add(member.name)
    if not seen:
        raise _foreign("it is empty")


def _check_index(tar: tarfile.TarFile, member: tarfile.TarInfo, store: str, expected: Mapping[str, str]) -> None:
    content = tar.extractfile(member)
    if member.name != _INDEX[store] or member.size > _INDEX_LIMIT or content is None:
        raise _foreign(f"it does not begin with {_INDEX[store]}")
    try:
        value = json.loads(content.read())
        if store == "classic":
            pairs = [(tag, "sha256:" + str(x["Config"]).rpartition("/")[2]) for x in value for tag in x["RepoTags"]]
        else:
            pairs = [(x["annotations"][_NAME], str(x["digest"])) for x in value["manifests"]]
        named = [(full_name(name), image) for name, image in pairs]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _foreign(f"its {member.name} cannot be read") from error
    if sorted(named) != sorted((full_name(reference), image) for reference, image in expected.items()):
        raise _foreign("it names other images than were announced")


def _foreign(why: str) -> Failure:
    return Failure(f"what was sent is no parcel of images: {why}; nothing was taken in", hint=AGAIN)
