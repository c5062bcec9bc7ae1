"""HTTP/1.1 over TLS, written out: what a library would retry or reconnect in silence is exactly what is to be seen."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CONNECT = 10.0  # seconds
_LIMIT = 1 << 20  # bytes of one answer


class HttpError(Exception):
    """A request that was not answered, or not as it should be."""


@dataclass(frozen=True)
class Site:
    """A site by its name, at an address of our choice.

    Attributes:
        address: where to connect.
        name: what the certificate must be for, and what is asked for.
        ca_file: the authority to trust; None for no TLS (a server of a unit test).
        port: where it listens.
    """

    address: str
    name: str
    ca_file: Path | None
    port: int = 443

    @property
    def host(self) -> str:
        """The Host header."""
        return self.name if self.port == 443 else f"{self.name}:{self.port}"

    def tls(self) -> ssl.SSLContext:
        """A context that trusts the site's authority alone."""
        return ssl.create_default_context(cafile=self.ca_file)


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One connection to a site, opened when needed and kept while both sides like. Nothing is ever sent twice.

    Attributes:
        ends: whether the server said with its last answer that it closes.
    """

    def __init__(self, site: Site, tls: ssl.SSLContext | None) -> None:
        self._site, self._tls = site, tls if site.ca_file else None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._used = 0.0
        self.ends = False

    @property
    def open(self) -> bool:
        """There is a connection, and nothing is known against it."""
        return self._writer is not None

    @property
    def idle(self) -> float:
        """Seconds since its last answer."""
        return time.monotonic() - self._used if self.open else 0.0

    def freshen(self) -> str:
        """Forget a connection that the server has closed meanwhile: "none" there was, "open" or "closed"."""
        if self._writer is None or self._reader is None:
            return "none"
        if self._reader.at_eof() or self._reader.exception() or self._writer.is_closing():
            self._writer.close()
            self._reader = self._writer = None
            return "closed"
        return "open"

    async def ask(self, method: str, target: str, *, patience: float = 15.0) -> Answer:
        """Send a request and read its answer within `patience` seconds.

        Raises HttpError, saying how far it came.
        """
        try:
            async with asyncio.timeout(patience):
                await self._connect()
                return await self._exchange(method, target)
        except TimeoutError:
            raise HttpError(f"no answer to {method} {target} within {patience:g} s") from None

    async def _connect(self) -> None:
        if self._writer is not None:
            return
        name = self._site.name if self._tls else None
        try:
            async with asyncio.timeout(_CONNECT):
                self._reader, self._writer = await asyncio.open_connection(
                    self._site.address, self._site.port, ssl=self._tls, server_hostname=name, limit=_LIMIT
                )
        except TimeoutError:
            raise HttpError(f"no connection within {_CONNECT:g} s") from None
        except OSError as error:
            raise HttpError(f"no connection: {error.strerror or error}") from None
        self.ends = False

    async def _exchange(self, method: str, target: str) -> Answer:
        assert self._reader is not None
        assert self._writer is not None
        length = "Content-Length: 0\r\n" if method == "POST" else ""
        request = f"{method} {target} HTTP/1.1\r\nHost: {self._site.host}\r\nUser-Agent: visitor\r\n{length}\r\n"
        began = False
        try:
            self._writer.write(request.encode())
            await self._writer.drain()
            head = await self._reader.readuntil(b"\r\n\r\n")
            began = True
            status, headers = _head(head)
            body = await _body(self._reader, status, headers)
        except asyncio.IncompleteReadError as error:
            part = "in the middle of its answer" if began or error.partial else "without an answer"
            raise HttpError(f"{method} {target}: closed {part}") from None
        except (ConnectionError, ssl.SSLError) as error:
            part = "in the middle of its answer" if began else "without an answer"
            raise HttpError(f"{method} {target}: {type(error).__name__} {part}") from None
        except asyncio.LimitOverrunError:
            raise HttpError(f"{method} {target}: more than {_LIMIT} bytes of headers") from None
        self._used = time.monotonic()
        self.ends = headers.get("connection", "").lower() == "close"
        return Answer(status, headers, body)

    async def close(self) -> None:
        """Close it, if there is one. Never raises."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await writer.wait_closed()


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise HttpError(f"not an answer: {first[:80]!r}")
    pairs = (line.partition(":") for line in lines if line)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _body(reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]) -> bytes:
    if status in (204, 304):
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readuntil(b"\r\n")
        return b"".join(parts)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    if headers.get("connection", "").lower() != "close":
        raise HttpError("an answer without a length on a connection that is to be kept")
    return await reader.read()
