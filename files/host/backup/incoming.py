"""A file from the workstation to restore from."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from typing import Any, BinaryIO

from host.config import Config
from host.errors import Failure, Status, from_os_error

_OLD = 86400.0  # seconds after which one that nobody used goes
_CHUNK = 1 << 20  # bytes
_RESERVE = 256 << 20  # bytes of the disk that stay free


def take(config: Config, stream: BinaryIO, announced: int = 0) -> dict[str, Any]:
    """Store what comes, `announced` bytes as far as is known; returns {"path", "bytes", "sha256"}.

    Raises Failure, and then nothing is stored: REFUSED, and nothing was read, for what cannot fit.
    """
    folder = config.root / "shared" / "backups" / ".incoming"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime > _OLD:
            path.unlink(missing_ok=True)
    if (free := shutil.disk_usage(folder).free) < announced + _RESERVE:
        raise Failure(f"no room for the file on the host: it has {announced >> 20} MB, {free >> 20} MB are free",
                      hint="free some: docker system df", status=Status.REFUSED)  # fmt: skip
    path = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(4).hex()}"
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("xb") as out:
            while chunk := stream.read(_CHUNK):
                out.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                if shutil.disk_usage(folder).free < _RESERVE:
                    raise Failure("no room for the file on the host", hint="free some: docker system df")
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise from_os_error(error, "taking in the file") from error
        raise
    return {"path": str(path), "bytes": size, "sha256": digest.hexdigest()}
