"""Files that arrive one behind the other in one stream: hashed as they come, named when they are right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Wanted:
    """A file to fetch: its name over there, where it belongs here, and what it has to be."""

    name: str
    path: Path
    size: int
    sha256: str

    @property
    def part(self) -> Path:
        """Where it lies until it is whole."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def begun(self) -> int:
        """The bytes of it that an earlier attempt left; what is longer than it can be is nothing."""
        have = self.part.stat().st_size if self.part.is_file() else 0
        return have if have <= self.size else 0

    @property
    def there(self) -> bool:
        """Is it here, every byte?"""
        return self.path.is_file() and self.path.stat().st_size == self.size and digest(self.path) == self.sha256


class Damaged(Exception):
    """What arrived is not what was wanted; nothing is kept of the file it names."""


class Arriving:
    """Give `take` the stream of `wanted`, the first without the `begun` bytes it has; what an attempt that broke off
    leaves can be gone on with. `arrived` is told the bytes of each piece.

    `take` and the end of the block raise Damaged.
    """

    def __init__(self, wanted: Sequence[Wanted], begun: int, arrived: Callable[[int], None]) -> None:
        self._left = list(wanted)
        self._arrived = arrived
        self._out: BinaryIO | None = None
        self._have, self._digest = 0, hashlib.sha256()
        self._open(begun)

    def __enter__(self) -> Arriving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._out is not None:
            self._out.close()
        if error is None and self._left:
            raise Damaged(self._left[0].name)

    def take(self, data: bytes) -> None:
        """The next bytes of the stream."""
        rest = memoryview(data)
        while rest:
            if self._out is None:
                raise Damaged("more than was asked for")
            piece = rest[: self._left[0].size - self._have]
            rest = rest[len(piece) :]
            self._out.write(piece)
            self._digest.update(piece)
            self._have += len(piece)
            self._arrived(len(piece))
            self._close_when_whole()

    def _open(self, begun: int = 0) -> None:
        """Begin the next file, and end at once those in which there is nothing."""
        if not self._left:
            return
        part = self._left[0].part
        private(part)
        self._digest = hashlib.sha256()
        if begun:
            digest(part, self._digest)
        self._have = begun
        self._out = part.open("ab" if begun else "wb")
        self._close_when_whole()

    def _close_when_whole(self) -> None:
        if self._out is None or self._have < self._left[0].size:
            return
        self._out.close()
        self._out = None
        done = self._left[0]
        if done.part.stat().st_size != done.size or self._digest.hexdigest() != done.sha256:
            done.part.unlink()
            raise Damaged(done.name)
        done.part.rename(done.path)
        self._left.pop(0)
        self._open()


def private(path: Path) -> Path:
    """Make sure that the file is there and only its owner's, and its directory as well."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)
    path.chmod(0o600)
    return path


def digest(path: Path, value: hashlib._Hash | None = None) -> str:
    """The file's sha256 in hexadecimal; `value` is what to go on from."""
    value = value or hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            value.update(chunk)
    return value.hexdigest()
