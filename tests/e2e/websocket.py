"""A WebSocket client that does one thing: it says something every half second and expects to hear it again."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from tests.e2e.load import Site

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_PATIENCE = 5.0  # seconds an echo may take


@dataclass
class Echo:
    """A WebSocket to `path` of a site, echoing in a thread of its own from `with` on until somebody closes it.

    Attributes:
        echoes: when each echo came back, in seconds since the epoch.
        closed: when the connection ended, None while it lives.
        how: "close CODE REASON" as the other side said it, or the error that ended it.
        version: of the application that answered, from X-App-Version.
    """

    site: Site
    path: str = "/ws/echo"
    every: float = 0.5
    echoes: list[float] = field(default_factory=list)
    closed: float | None = None
    how: str = ""
    version: str = ""

    def __enter__(self) -> Echo:
        self._end = threading.Event()
        self._rest = b""
        plain = socket.create_connection((self.site.address, self.site.port), timeout=10)
        try:
            self._socket = self.site.tls().wrap_socket(plain, server_hostname=self.site.name)
            self._handshake()
        except BaseException:
            plain.close()
            raise
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()
        self._socket.close()

    @property
    def alive(self) -> bool:
        """Nobody has closed it."""
        return self.closed is None

    def wait_closed(self, seconds: float) -> bool:
        """Wait until the other side has closed it; False when it has not within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def longest_silence(self) -> float:
        """The longest time between two echoes, in seconds."""
        return max((later - earlier for earlier, later in zip(self.echoes, self.echoes[1:], strict=False)), default=0.0)

    def _handshake(self) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {self.path} HTTP/1.1",
            f"Host: {self.site.host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = self._socket.recv(4096)
            if not chunk:
                raise ConnectionError("closed during the handshake")
            head += chunk
        head, _, self._rest = head.partition(b"\r\n\r\n")
        status, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        if status.split()[1] != "101":
            raise ConnectionError(f"no WebSocket: {status}")
        wanted = base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode()).digest()).decode()
        if headers.get("sec-websocket-accept") != wanted:
            raise ConnectionError("the handshake was answered with another key")
        self.version = headers.get("x-app-version", "")

    def _run(self) -> None:
        try:
            for number in range(1 << 30):
                if self._end.is_set():
                    self._send(_CLOSE, struct.pack("!H", 1000))
                    return
                message = f"{number}".encode()
                self._send(_TEXT, message)
                if self._answer() != message:
                    raise ConnectionError("another message came back")
                self.echoes.append(time.time())
                self._listen(self.every)
        except _ClosedByPeer as goodbye:
            self.how = str(goodbye)
        except OSError as error:
            self.how = str(error) or type(error).__name__
        self.closed = time.time()

    def _listen(self, seconds: float) -> None:
        """Let the time until the next message pass, but notice a close at once."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not self._end.is_set():
            self._socket.settimeout(left)
            try:
                self._frame()
            except TimeoutError:
                return

    def _answer(self) -> bytes:
        self._socket.settimeout(_PATIENCE)
        while True:
            kind, payload = self._frame()
            if kind == _TEXT:
                return payload

    def _frame(self) -> tuple[int, bytes]:
        """The next frame; a close is raised, a ping answered. A timeout loses nothing of what has come."""
        while True:
            if frame := self._parse():
                kind, payload = frame
                if kind == _CLOSE:
                    code = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 1005
                    raise _ClosedByPeer(f"close {code} {payload[2:].decode('utf-8', 'replace')}".strip())
                if kind == _PING:
                    self._send(_PONG, payload)
                return frame
            chunk = self._socket.recv(4096)
            if not chunk:
                raise _ClosedByPeer("the connection was closed without a word")
            self._rest += chunk

    def _parse(self) -> tuple[int, bytes] | None:
        data = self._rest
        if len(data) < 2:
            return None
        size, at = data[1] & 0x7F, 2
        if size == 126:
            if len(data) < 4:
                return None
            size, at = struct.unpack("!H", data[2:4])[0], 4
        if len(data) < at + size:
            return None
        self._rest = data[at + size :]
        return data[0] & 0x0F, data[at : at + size]

    def _send(self, kind: int, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._socket.settimeout(_PATIENCE)
        self._socket.sendall(bytes([0x80 | kind, 0x80 | len(payload)]) + mask + masked)


class _ClosedByPeer(ConnectionError):
    """The other side ended the conversation."""
