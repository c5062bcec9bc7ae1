"""The socket under a connection: fast, watched, counted."""

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
import time
from typing import Any, Protocol

_HEAD = 256  # bytes kept of what the peer said first: sshd's refusals come before its banner


class SocketLike(Protocol):
    """What paramiko needs of a socket; a channel through a gateway is one too."""

    def send(self, data: bytes, /) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def settimeout(self, seconds: float | None, /) -> None: ...
    def close(self) -> None: ...


class Wire:
    """A socket that counts bytes and knows when the peer was last heard. All else is passed on to the socket."""

    def __init__(self, sock: SocketLike) -> None:
        self._sock = sock
        self.bytes_sent = 0
        self.bytes_received = 0
        self.head = b""
        self.ended = False  # the peer closed: what a failed handshake does not tell apart from silence
        self.last_heard = time.monotonic()

    def send(self, data: bytes) -> int:
        """Send some of `data`; returns how many bytes went."""
        try:
            count = self._sock.send(data)
        except ConnectionError:
            self.ended = True
            raise
        self.bytes_sent += count
        return count

    def recv(self, size: int) -> bytes:
        """Receive up to `size` bytes."""
        try:
            data = self._sock.recv(size)
        except ConnectionError:
            self.ended = True
            raise
        self.ended = not data
        if data:
            self.last_heard = time.monotonic()
            self.bytes_received += len(data)
            if len(self.head) < _HEAD:
                self.head += data[: _HEAD - len(self.head)]
        return data

    @property
    def complaint(self) -> str:
        """What a program that carries the connection said last; a plain socket says nothing."""
        return ""

    def settimeout(self, seconds: float | None) -> None:
        """As with sockets."""
        self._sock.settimeout(seconds)

    def close(self) -> None:
        """As with sockets; never raises."""
        with contextlib.suppress(OSError, EOFError):
            self._sock.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class ProxyProcess(Wire):
    """The far end of a ProxyCommand, on a socket pair: a real socket, so no polling and no extra copies."""

    def __init__(self, command: str) -> None:
        near, far = socket.socketpair()
        # A file, not a pipe: a talkative program would fill a pipe that nobody reads, and hang.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the wire
        # Its own session: Ctrl-C must let us stop the remote command through the proxy before the proxy goes.
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=far.fileno(),
            stdout=far.fileno(),
            stderr=self._said.fileno(),
            start_new_session=True,
        )
        far.close()
        self._last_words = ""
        self._closing = threading.Lock()  # paramiko closes from its own thread, we from ours
        super().__init__(near)

    def close(self) -> None:
        """Close the socket and end the process."""
        super().close()
        with self._closing:
            if self._said.closed:
                return
            if self.process.poll() is None:
                self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)
            self._last_words = self._read()
            self._said.close()

    @property
    def complaint(self) -> str:
        """The last line of the program's stderr."""
        with self._closing:
            return self._last_words if self._said.closed else self._read()

    def _read(self) -> str:
        # pread, not seek: the program writes at the position we share with it.
        end = os.fstat(self._said.fileno()).st_size
        lines = os.pread(self._said.fileno(), _HEAD, max(0, end - _HEAD)).decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def dial(address: str, port: int, *, timeout: float, interval: int, patience: int) -> Wire:
    """A TCP connection. `timeout` in seconds; `interval` and `patience` (seconds) for the kernel's own keepalive.

    Raises OSError: socket.gaierror, ConnectionRefusedError, TimeoutError and the like.
    """
    sock = socket.create_connection((address, port), timeout=timeout)
    # Neither paramiko nor fabric sets it, and Nagle meeting delayed ACK costs 40 ms for each small message.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": interval,
        "TCP_KEEPINTVL": interval,
        "TCP_KEEPCNT": max(1, patience // interval - 1),
        "TCP_USER_TIMEOUT": patience * 1000,
    }
    for name, value in options.items():
        number = getattr(socket, name, None)  # not every system has all four
        if number is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, number, value)
    return Wire(sock)
