"""A file from the workstation to restore from."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from typing import Any, BinaryIO

from host.config import Config
from host.errors import Failure, from_os_error

_OLD = 86400.0  # seconds after which one that nobody used goes
_CHUNK = 1 << 20  # bytes


def take(config: Config, stream: BinaryIO) -> dict[str, Any]:
    """Store what comes; returns {"path", "bytes", "sha256"}. Raises Failure, and then nothing is stored."""
    folder = config.root / "shared" / "backups" / ".incoming"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime > _OLD:
            path.unlink(missing_ok=True)
    path = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(4).hex()}"
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("xb") as out:
            while chunk := stream.read(_CHUNK):
                out.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                if shutil.disk_usage(folder).free < 256 << 20:
                    raise Failure("no room for the file on the host", hint="free some: docker system df")
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise from_os_error(error, "taking in the file") from error
        raise
    return {"path": str(path), "bytes": size, "sha256": digest.hexdigest()}
