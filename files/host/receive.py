"""Taking in a release: a tar on stdin becomes releases/<id>, complete and verified, or nothing is left of it."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from host import durable, incoming, manifest, releases
from host.config import Config
from host.errors import Failure, from_os_error
from host.events import Journal
from host.manifest import Entry, Manifest
from host.releases import Release

_AGAIN = "deploy again"
_STREAM_LIMIT = manifest.TOTAL_LIMIT + manifest.SIZE_LIMIT + manifest.FILES_LIMIT * 2048  # bytes


class _Bounded(io.RawIOBase):
    """A reader that refuses to deliver more than a release can be (a tar header may claim any size)."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream, self.count = stream, 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.count += len(data)
        if self.count > _STREAM_LIMIT:
            raise Failure(f"more than {_STREAM_LIMIT} bytes were sent", hint="look at what the bundle contains")
        return data


def receive(config: Config, stream: BinaryIO, journal: Journal) -> dict[str, object]:
    """Read a release from `stream` and put it in place; returns {"release", "received", "copied", "bytes"}.

    Raises Failure when anything about it is not exactly as its manifest says; then nothing of it is left.
    """
    try:
        config.prepare()
        incoming.sweep(config.releases)
        with incoming.directory(config.releases) as directory:
            return _receive(config, _Bounded(stream), directory, journal)
    except tarfile.TarError as error:
        raise Failure(
            f"the stream is not a whole tar ({error})", hint=f"the connection may have dropped: {_AGAIN}"
        ) from error
    except OSError as error:
        raise from_os_error(error, "receiving the release") from error


def _receive(config: Config, stream: _Bounded, directory: Path, journal: Journal) -> dict[str, object]:
    # errorlevel and filters do not matter: nothing is extracted by tarfile, every member is read and written here.
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        first = tar.next()
        if first is None or first.name != manifest.NAME or not _plain(first) or first.size > manifest.SIZE_LIMIT:
            raise Failure("the stream does not begin with manifest.json", hint=_AGAIN)
        data = _content(tar, first).read()
        found = manifest.parse(data, config.app)
        if (config.releases / found.release).exists():
            raise Failure(f"release {found.release} is already on this host", hint=f"{_AGAIN}, that makes a new id")
        _write(directory / manifest.NAME, [data], 0o600)
        received = _members(tar, found, directory)
    copied = _copy_rest(found, releases.current(config), set(received), directory)
    journal.emit(
        "output", "receive", "running", f"{len(received)} files received, {len(copied)} kept from the current release"
    )
    for path in sorted({directory, *(item for item in directory.rglob("*") if item.is_dir())}):
        durable.sync_directory(path)
    target = config.releases / found.release
    try:
        directory.rename(target)
    except FileExistsError:
        raise Failure(
            f"release {found.release} is already on this host", hint=f"{_AGAIN}, that makes a new id"
        ) from None
    durable.sync_directory(config.releases)
    return {"release": found.release, "received": len(received), "copied": len(copied), "bytes": stream.count}


def _plain(member: tarfile.TarInfo) -> bool:
    """A plain file and nothing else: no link, device, directory or sparse file."""
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise Failure(f"{member.name[:100]!r} is not a plain file", hint=_AGAIN)
    return content


def _members(tar: tarfile.TarFile, found: Manifest, directory: Path) -> list[str]:
    names: list[str] = []
    seen: set[str] = set()
    while (member := tar.next()) is not None:
        name = member.name
        entry = found.files.get(name)
        if not _plain(member):
            raise Failure(f"{name[:100]!r} in the stream is not a plain file", hint=_AGAIN)
        if entry is None:
            raise Failure(f"{name[:100]!r} is not in the manifest", hint=_AGAIN)
        if name in seen:
            raise Failure(f"{name} was sent twice", hint=_AGAIN)
        if member.size != entry.size:
            raise Failure(f"{name} has {member.size} bytes, the manifest says {entry.size}", hint=_AGAIN)
        _take(_content(tar, member), entry, name, directory)
        seen.add(name)
        names.append(name)
    return names


def _take(source: IO[bytes], entry: Entry, name: str, directory: Path) -> None:
    """Write one file of the release from `source`, checking its digest on the way."""
    value = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        while chunk := source.read(1 << 20):
            value.update(chunk)
            yield chunk

    _make_parents(directory, name)
    _write(directory / name, chunks(), 0o600 if entry.secret else entry.mode)
    if value.hexdigest() != entry.sha256:
        raise Failure(f"{name} does not have the digest its manifest says", hint=_AGAIN)


def _copy_rest(found: Manifest, current: Release | None, received: set[str], directory: Path) -> list[str]:
    """Copy what was not sent from the current release, found there by digest."""
    known = {entry.sha256: path for path, entry in current.manifest.files.items()} if current else {}
    copied = []
    for name, entry in sorted(found.files.items()):
        if name in received:
            continue
        source = known.get(entry.sha256)
        if source is None or current is None:
            raise Failure(f"{name} was not sent and the current release has no such file", hint=_AGAIN)
        try:
            with (current.path / source).open("rb") as stream:
                _take(stream, entry, name, directory)
        except (Failure, FileNotFoundError):
            raise Failure(
                f"{name} was to be kept from release {current.id}, but {source} was changed or removed there",
                hint="deploy again with everything sent: the status shows the file as drift",
            ) from None
        copied.append(name)
    return copied


def _make_parents(directory: Path, name: str) -> None:
    """Every directory between, one by one: mkdir's own `parents` ignores the mode."""
    parent = directory
    for part in name.split("/")[:-1]:
        parent = parent / part
        parent.mkdir(mode=0o700, exist_ok=True)
        parent.chmod(0o755 if not name.startswith("secrets/") else 0o700)


def _write(path: Path, chunks: Iterator[bytes] | list[bytes], mode: int) -> None:
    # Born with no more than its final mode: a secret is never readable, not for a moment.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode & 0o700 | 0o200)
    with os.fdopen(handle, "wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
        stream.flush()
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())
