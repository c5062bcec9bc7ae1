"""A TCP proxy that adds distance: it delays each direction, counts direction changes and round trips, and
can fall silent without closing anything, like a cut cable.

`python -m tests.bench.proxy LISTEN_PORT HOST PORT DELAY_MS` runs one until Ctrl-C and then prints what it counted.
"""

import contextlib
import queue
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

_READ = 65_536  # bytes


@dataclass
class Counts:
    """What passed: `turns` counts every change of direction, `round_trips` those from server to client and back."""

    turns: int = 0
    round_trips: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    connections: int = 0


@dataclass
class DelayProxy:
    """Listens on the loopback and forwards to `host`:`port`, each direction delayed by `delay` seconds."""

    host: str
    port: int
    delay: float = 0.0
    listen_port: int = 0
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._silent = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", self.listen_port))
        self.listen_port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "DelayProxy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fall_silent(self) -> None:
        """From now on swallow everything, in both directions, and close nothing."""
        self._silent.set()

    def cut(self) -> None:
        """Close every connection that passes through, and keep listening."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def close(self) -> None:
        """Stop listening and close everything."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection((self.host, self.port), timeout=10)
            except OSError:
                return
            server.settimeout(None)
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets += [client, server]
            self.counts.connections += 1
            _Conversation(self, client, server).start()


class _Conversation:
    """One connection: a reader and a delayed writer for each direction."""

    def __init__(self, proxy: DelayProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._ends = {True: (client, server), False: (server, client)}
        self._last_up: bool | None = None

    def start(self) -> None:
        for up in (True, False):
            pipe: queue.Queue[tuple[float, bytes]] = queue.Queue()
            threading.Thread(target=self._read, args=(up, pipe), daemon=True).start()
            threading.Thread(target=self._write, args=(up, pipe), daemon=True).start()

    def _read(self, up: bool, pipe: "queue.Queue[tuple[float, bytes]]") -> None:
        source, _ = self._ends[up]
        while True:
            try:
                data = source.recv(_READ)
            except OSError:
                data = b""
            if self._proxy._silent.is_set():
                if not data:
                    return
                continue
            self._count(up, len(data))
            pipe.put((time.monotonic() + self._proxy.delay, data))
            if not data:
                return

    def _write(self, up: bool, pipe: "queue.Queue[tuple[float, bytes]]") -> None:
        _, sink = self._ends[up]
        while True:
            due, data = pipe.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if data:
                    sink.sendall(data)
                    continue
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            return

    def _count(self, up: bool, size: int) -> None:
        counts = self._proxy.counts
        with self._proxy._lock:
            if up:
                counts.bytes_up += size
            else:
                counts.bytes_down += size
            if size and up is not self._last_up:
                counts.turns += 1
                counts.round_trips += up
                self._last_up = up


def main(arguments: list[str]) -> None:
    """Run a proxy from the command line."""
    listen, host, port, delay = arguments
    with DelayProxy(host, int(port), float(delay) / 1000, int(listen)) as proxy:
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        print(proxy.counts)


if __name__ == "__main__":
    main(sys.argv[1:])
