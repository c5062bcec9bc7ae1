"""Files to a host: one tar over one channel, made on the fly."""

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

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


def directory_stream(folder: Path) -> Iterator[bytes]:
    """A tar of the regular files below a directory, read in chunks as they are sent: whatever their size.

    Raises ValueError when one is not as long as it was when it was begun, OSError when one cannot be read.
    """
    for path in _below(folder):
        info = tarfile.TarInfo(path.relative_to(folder).as_posix())
        info.size = left = path.stat().st_size
        info.mode = 0o600
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        with path.open("rb") as stream:
            while left and (chunk := stream.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk
        if left:
            raise ValueError(f"{path} became shorter while it was read")
        if padding := -info.size % _BLOCK:
            yield bytes(padding)
    yield bytes(2 * _BLOCK)


def directory_size(folder: Path) -> int:
    """Bytes of that tar, for progress; exact for paths of at most 100 ASCII characters."""
    sizes = [path.stat().st_size for path in _below(folder)]
    return sum(_BLOCK + size + -size % _BLOCK for size in sizes) + 2 * _BLOCK


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def tar_size(files: Iterable[TarEntry]) -> int:
    """Bytes of the tar, for progress; exact for paths of at most 100 ASCII characters."""
    return sum(_BLOCK + len(entry.content) + -len(entry.content) % _BLOCK for entry in files) + 2 * _BLOCK


def _check(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError(f"{path!r} cannot be an entry of a tar")
