"""A small server that answers as the lab's application does, and misbehaves on request."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import hashlib
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.http11 import Site

NAME = "visited.test"


def certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for NAME and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = directory / "cert.pem", directory / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return public, private


@dataclass
class Visited:
    """The server; `with` runs it in a thread.

    Attributes:
        misbehave: {(path, number of the request to it): how}, how being "close" (no answer), "half" (half an answer),
            "502", "twice" (counted twice), "problem" (a page that did not reach the API).
        announce: each answer is the last one on its connection, and says so.
        idle: seconds after which an idle connection is closed without a word; 0 for never.
        sockets: seconds after which a WebSocket is closed; 0 for never.
    """

    directory: Path | None
    misbehave: dict[tuple[str, int], str] = field(default_factory=dict)
    announce: bool = False
    idle: float = 0.0
    sockets: float = 0.0
    port: int = 0
    posts: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Visited:
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()

        async def serve() -> None:
            context = None
            if self.directory:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*certificate(self.directory))
            server = await asyncio.start_server(self._client, "0.0.0.0", self.port, ssl=context)
            self.port = server.sockets[0].getsockname()[1]
            self._end = asyncio.Event()
            ready.set()
            await self._end.wait()

        def run() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(serve())
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0.01))
            self._loop.close()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def site(self) -> Site:
        """How to visit it."""
        return Site("127.0.0.1", NAME, self.directory / "cert.pem" if self.directory else None, self.port)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(self.idle or None):
                    head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                method, target, _ = lines[0].split()
                if "upgrade: websocket" in head.decode().lower():
                    await self._socket(head.decode(), reader, writer)
                    return
                if not await self._answer(method, target, writer) or self.announce:
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, TimeoutError, ssl.SSLError):
            return
        finally:
            writer.close()

    async def _answer(self, method: str, target: str, writer: asyncio.StreamWriter) -> bool:
        path = target.partition("?")[0]
        self.seen[path] = number = self.seen.get(path, 0) + 1
        how = self.misbehave.get((path, number), "")
        status, document = "200 OK", {"ok": True}
        body = b""
        if path == "/":
            body = b'<dd id="frontend-version">1</dd>' + (b'<p id="problem">none</p>' if how == "problem" else b"")
        elif path == "/api/slow":
            await asyncio.sleep(float(target.partition("=")[2]))
            document = {"slept": float(target.partition("=")[2])}  # type: ignore[dict-item]
        elif method == "POST":
            self.posts += [target.partition("=")[2]] * (2 if how == "twice" else 1)
            status = "201 Created"
        if how == "close":
            return False
        if how == "502":
            status = "502 Bad Gateway"
        body = body or json.dumps(document).encode()
        connection = "close" if self.announce else "keep-alive"
        head = f"HTTP/1.1 {status}\r\nConnection: {connection}\r\nX-App-Version: 1.0.0\r\n"
        if path == "/":  # as Next.js sends its pages
            chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        else:
            whole = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
            writer.write(whole[: len(whole) - 2] if how == "half" else whole)
        await writer.drain()
        return how != "half"

    async def _socket(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-App-Version: 1.0.0\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
        )
        ends = asyncio.get_running_loop().time() + (self.sockets or 1e9)
        while True:
            try:
                async with asyncio.timeout_at(ends):
                    first, second = await reader.readexactly(2)
                    mask = await reader.readexactly(4)
                    payload = await reader.readexactly(second & 0x7F)
            except TimeoutError:
                writer.write(b"\x88\x06\x03\xe9away")
                await writer.drain()
                return
            message = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
            if first & 0x0F == 8:
                return
            writer.write(b"\x89\x00" + bytes([first, len(message)]) + message)  # a ping before each echo
            await writer.drain()


@contextlib.contextmanager
def visited(directory: Path, **how: object) -> Iterator[Visited]:
    """A server with a certificate of its own in `directory`."""
    with Visited(directory, **how) as server:  # type: ignore[arg-type]
        yield server
