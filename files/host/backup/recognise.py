"""What a file is, told from its content and never from its name."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from host.errors import Failure, Status

_HEAD = 64 << 10  # bytes looked at
_CHUNK = 1 << 20  # bytes
_RESERVE = 256 << 20  # bytes of the disk that are not unpacked into: the live data are on it, too
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ENCRYPTED = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED", b"-----BEGIN PGP MESSAGE", b"Salted__", b"\x85\x01",
              b"\x85\x02", b"\x84", b"\x8c\x0d")  # fmt: skip
_PLAIN, _END = b"PostgreSQL database dump", b"PostgreSQL database dump complete"
_CLUSTER = b"PostgreSQL database cluster dump"


@dataclass(frozen=True)
class Found:
    """`kind` is directory, custom, tar, plain or rdb; `packed` is gzip, zstd or "" for how that is wrapped."""

    kind: str
    packed: str = ""


def refuse(path: Path, why: str, hint: str = "take another file") -> Failure:
    """The Failure for a file that cannot be restored; nothing has been changed."""
    return Failure(f"{path.name} {why}; nothing was changed", hint=hint, status=Status.REFUSED)


def real(path: Path) -> Path:
    """Where a path leads: programs in containers see the one directory alone. Raises Failure (REFUSED) for nowhere."""
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError):  # a loop is the one or the other
        raise refuse(path, "is not there") from None


def room(path: Path, folder: Path, need: int = 0) -> None:
    """Raise Failure (REFUSED) when unpacking `path`, `need` bytes at least, fills the disk that `folder` is on."""
    if (free := shutil.disk_usage(folder).free) < need + _RESERVE:
        raise refuse(path, f"is too big to be unpacked: {free >> 20} MB are left", "free some: docker system df")


def look(path: Path) -> Found:
    """What is at `path`. Raises Failure (REFUSED) for what cannot be a dump: empty, encrypted, something else."""
    if path.is_dir():
        if (path / "toc.dat").is_file():
            return Found("directory")
        raise refuse(path, "is a directory, but not one of pg_dump -Fd: it has no toc.dat")
    if not path.is_file():
        raise refuse(path, "is not there")
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        raise refuse(path, "is empty")
    if head.startswith(_GZIP):
        return Found(_inner(path, _gunzipped(path)), "gzip")
    if head.startswith(_ZSTD):
        return Found("", "zstd")  # what is in it is seen when it is unpacked
    return Found(_inner(path, head))


def _gunzipped(path: Path) -> bytes:
    try:
        with gzip.open(path) as stream:
            return stream.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        raise refuse(path, "is damaged: it cannot be unpacked") from None


def _inner(path: Path, head: bytes) -> str:
    if not head:
        raise refuse(path, "is empty inside")
    if head.startswith(b"PGDMP"):
        return "custom"
    if head.startswith((b"REDIS", b"VALKEY")):
        return "rdb"
    if len(head) > 262 and head[257:262] == b"ustar":
        return "tar"
    if _CLUSTER in head[:4096]:
        raise refuse(path, "is a dump of a whole server (pg_dumpall)", "restore one database: pg_dump of it")
    if _PLAIN in head[:4096]:
        return "plain"
    if any(head.startswith(mark) for mark in _ENCRYPTED):
        raise refuse(path, "is encrypted", "decrypt it first, with the key it was made for")
    raise refuse(path, "is no dump of a kind that is known here")


def unzip(path: Path, target: Path) -> None:
    """Unpack a gzip file. Raises Failure when it is damaged or cut off."""
    try:
        with gzip.open(path) as source, target.open("wb") as out:
            while chunk := source.read(_CHUNK):
                out.write(chunk)
                room(path, target.parent)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise refuse(path, "is damaged or cut off: it cannot be unpacked to its end") from None


def unpack_tar(path: Path, target: Path) -> Path | None:
    """Unpack a tar of a directory that pg_dump -Fd made; returns that directory, None when it is a tar of pg_dump -Ft.

    Raises Failure when it is something else.
    """
    try:
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            names = [member.name.removeprefix("./") for member in members]
            if "restore.sql" in names:
                return None
            toc = next((name for name in names if name == "toc.dat" or name.endswith("/toc.dat")), None)
            if toc is None:
                raise refuse(path, "is a tar without a dump of PostgreSQL in it")
            for member, name in zip(members, names, strict=True):
                if member.isfile() and Path(name).parent == Path(toc).parent and (stream := tar.extractfile(member)):
                    with (target / Path(name).name).open("wb") as out:
                        while chunk := stream.read(_CHUNK):
                            out.write(chunk)
                            room(path, target)
    except (tarfile.TarError, EOFError):
        raise refuse(path, "is damaged or cut off: it cannot be unpacked") from None
    return target


def check_plain(path: Path, server: int) -> None:
    """Prove that a plain dump is whole, of one database, and not of a newer server than major version `server`."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
        stream.seek(max(0, path.stat().st_size - 4096))
        tail = stream.read()
    if _END not in tail:
        raise refuse(path, "is cut off: its last line is missing")
    for line in head.splitlines()[:40]:
        if line.startswith(b"-- Dumped from database version "):
            check_version(path, line.split()[5].decode("ascii", "replace"), server)
    begins = True
    with path.open("rb") as stream:
        while line := stream.readline(_CHUNK):  # a line may be as long as the file
            if begins and line.startswith((b"\\connect ", b"\\c ")):
                raise refuse(path, "changes to another database (pg_dump -C)", "dump it without -C")
            begins = line.endswith(b"\n")


def check_version(path: Path, dumped: str, server: int) -> None:
    """Raise Failure when a dump is of a newer major version than `server`."""
    major = dumped.split(".", maxsplit=1)[0].split("devel", maxsplit=1)[0].split("beta", maxsplit=1)[0]
    if major.isdigit() and int(major) > server:
        raise refuse(path, f"is of PostgreSQL {dumped}, newer than the server's {server}", "set POSTGRES_IMAGE to it")
