"""stdin of a remote command: bytes, a file or chunks, in a thread of its own."""

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import paramiko

Source = bytes | BinaryIO | Iterable[bytes]

# Bytes sent at once: what goes into two packets as OpenSSH takes them, of which paramiko fills all but 64 bytes.
CHUNK = 2 * (32_768 - 64)


class Feeder(threading.Thread):
    """Writes stdin while the main loop reads: neither can block the other when the remote side exits early."""

    def __init__(self, channel: paramiko.Channel, source: Source) -> None:
        super().__init__(name="stdin", daemon=True)
        self._channel = channel
        self._source = source
        self.error: BaseException | None = None

    def run(self) -> None:
        """Feed until the source or the command ends; `error` is what the source raised."""
        try:
            for chunk in chunks(self._source):
                try:
                    self._channel.sendall(chunk)
                except (OSError, EOFError, paramiko.SSHException):
                    return  # the command is gone; its status says why
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                self._channel.shutdown_write()
        except BaseException as error:  # whatever the source raises belongs to the caller's thread
            self.error = error


def chunks(source: Source) -> Iterator[bytes]:
    """`source` in pieces of at most CHUNK bytes, holding one at a time."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        view = memoryview(source)
        for start in range(0, len(view), CHUNK):
            yield bytes(view[start : start + CHUNK])
    elif hasattr(source, "read"):
        while block := source.read(CHUNK):
            yield block
    else:
        for part in source:
            if len(part) <= CHUNK:
                yield part
            else:
                yield from chunks(part)
