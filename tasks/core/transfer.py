"""Files to a host: one tar over one channel, made on the fly."""

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

_BLOCK = 512  # bytes; the unit of tar
_CHUNK = 65_536  # bytes


@dataclass(frozen=True)
class TarEntry:
    """A regular file: `path` relative with /, its bytes, its permission bits (0600 for what holds secrets)."""

    path: str
    content: bytes
    mode: int = 0o644


def tar_stream(files: Iterable[TarEntry]) -> Iterator[bytes]:
    """A tar of `files`, in their order, in chunks of at most 64 KiB; the same files give the same bytes.

    Owner 0:0 and time 0, so that only names, modes and contents count. Holds one file at a time.
    Raises ValueError for a path that is absolute or climbs out with `..`.
    """
    for entry in files:
        _check(entry.path)
        info = tarfile.TarInfo(entry.path)
        info.size = len(entry.content)
        info.mode = entry.mode
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        view = memoryview(entry.content)
        for start in range(0, len(view), _CHUNK):
            yield bytes(view[start : start + _CHUNK])
        if padding := -len(view) % _BLOCK:
            yield bytes(padding)
    yield bytes(2 * _BLOCK)


def tar_size(files: Iterable[TarEntry]) -> int:
    """Bytes of the tar, for progress; exact for paths of at most 100 ASCII characters."""
    return sum(_BLOCK + len(entry.content) + -len(entry.content) % _BLOCK for entry in files) + 2 * _BLOCK


def _check(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError(f"{path!r} cannot be an entry of a tar")
