"""Files to a host: one tar over one channel, made on the fly."""

import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tasks.core.command import Command, Secret

if TYPE_CHECKING:
    from tasks.core.session import Result, Session

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


def push(
    session: "Session",
    command: Command,
    entries: Iterable[TarEntry],
    progress: Callable[[int], None] | None = None,
    *,
    root: bool = False,
    deadline: float | None = None,
    check: bool = True,
    secrets: Iterable[Secret] = (),
) -> "Result":
    """Feed the tar of `entries` to `command`'s stdin; `progress` is told each chunk's bytes. Else as `Session.run`.

    Never a file per round trip, and no file is ever readable by others for a moment: whoever unpacks creates each
    with its mode.
    """

    def counted() -> Iterator[bytes]:
        for chunk in tar_stream(entries):
            yield chunk
            if progress is not None:
                progress(len(chunk))

    return session.run(command, stdin=counted(), root=root, deadline=deadline, check=check, secrets=secrets)


def unpack_command(directory: str) -> Command:
    """A command that unpacks a tar from stdin into `directory` (created 0700 when missing), files born private.

    tar creates each file under umask 077 and sets the mode in the archive only after its content is complete.
    """
    return Command.shell(
        f"umask 077; mkdir -p -- {_quoted(directory)} && "
        f"exec tar -x -f - -C {_quoted(directory)} --no-same-owner --preserve-permissions",
        label=f"unpack into {directory}",
    )


def _quoted(text: str) -> str:
    return Command(text).render()


def _check(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError(f"{path!r} cannot be an entry of a tar")
