"""The known_hosts file this project writes itself, with `fab trust`."""

import base64
import contextlib
import os
import tempfile
from pathlib import Path

from tasks.core.hostkeys import HostKey


def remember(path: Path, name: str, key: HostKey) -> None:
    """Add `key` for `name` (`host` or `[host]:port`) to the known_hosts file at `path`, which need not exist.

    The file appears whole or not at all, 0600 in a 0700 directory; what it held stays. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        before = path.read_bytes()
    except FileNotFoundError:
        before = b""
    if before and not before.endswith(b"\n"):
        before += b"\n"
    line = f"{name} {key.kind} {base64.b64encode(key.blob).decode()}\n".encode()
    handle, temporary = tempfile.mkstemp(prefix=".known_hosts.", dir=path.parent)  # born 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(before + line)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
