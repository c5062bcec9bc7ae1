"""Requests made all through a switch, as visitors make them: the proof that none was lost, or that some were."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from host import compose, health
from host.certificate import EDGE, installed
from host.config import Config
from host.errors import Failure, Status
from host.events import Step
from host.manifest import Manifest

_PACE = 0.05  # seconds from one request to the next
_TIMEOUT = 5.0  # seconds for one
_ENOUGH = 3  # good answers in a row for each path
_PATIENCE = 15.0  # seconds to get them
_BODY = 4096  # bytes kept of an answer
_DOORS = (8443, 443)  # the door for checks, which is never closed nor limited; releases from before it have the other


@dataclass
class Tally:
    """What became of the requests so far."""

    requests: int = 0
    failed: int = 0
    slowest: float = 0.0  # seconds
    first_failure: str = ""
    in_a_row: dict[str, int] = field(default_factory=dict)  # path -> good answers since the last bad one
    last: dict[str, str] = field(default_factory=dict)  # path -> what the last bad one was

    def public(self) -> dict[str, Any]:
        """As the last event carries it."""
        return {
            "requests": self.requests, "failed": self.failed, "slowest_ms": round(self.slowest * 1000),
            "first_failure": self.first_failure,
        }  # fmt: skip


class Probe:
    """Asks nginx for `paths` in turn, twenty times a second, until the block ends. Without paths it does nothing."""

    def __init__(self, address: str, name: str, paths: Sequence[str], port: int = 443) -> None:
        self._address, self._port, self._name, self._paths = address, port, name, list(paths)
        self._lock, self._end = threading.Lock(), threading.Event()
        self._tally = Tally()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._tls = _context()

    def __enter__(self) -> Probe:
        if self._paths:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._paths:
            self._thread.join(2 * _TIMEOUT)

    @property
    def active(self) -> bool:
        """Is there anything to ask for?"""
        return bool(self._paths)

    def tally(self) -> Tally:
        """A copy of the counts."""
        with self._lock:
            t = self._tally
            return Tally(t.requests, t.failed, t.slowest, t.first_failure, dict(t.in_a_row), dict(t.last))

    def begin_again(self) -> None:
        """From now on only answers that are still to come count as good ones in a row."""
        with self._lock:
            self._tally.in_a_row.clear()

    def _run(self) -> None:
        turn = 0
        while not self._end.is_set():
            path = self._paths[turn % len(self._paths)]
            turn += 1
            began = time.monotonic()
            wrong = self._ask(path)
            took = time.monotonic() - began
            with self._lock:
                self._count(path, wrong, took)
            self._end.wait(max(0.0, _PACE - took))

    def _count(self, path: str, wrong: str, took: float) -> None:
        tally = self._tally
        tally.requests += 1
        tally.slowest = max(tally.slowest, took)
        if wrong:
            tally.failed += 1
            tally.first_failure = tally.first_failure or f"{path}: {wrong}"
            tally.last[path] = wrong
            tally.in_a_row[path] = 0
        else:
            tally.in_a_row[path] = tally.in_a_row.get(path, 0) + 1

    def _ask(self, path: str) -> str:
        """One request on a connection of its own; "" when it was answered, else what went wrong."""
        connection = _Connection(self._address, self._port, self._name, self._tls)
        try:
            connection.request("GET", path, headers={"Host": self._name, "User-Agent": "switch-probe"})
            answer = connection.getresponse()
            answer.read()
            return f"status {answer.status}" if answer.status >= 500 else ""
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()

    def satisfied(self, step: Step) -> None:
        """Return when every path was answered well a few times in a row from now on.

        Raises Failure (UNHEALTHY) naming the path that is not, after a while.
        """
        self.begin_again()
        ends = time.monotonic() + _PATIENCE
        while True:
            tally = self.tally()
            behind = [path for path in self._paths if tally.in_a_row.get(path, 0) < _ENOUGH]
            if not behind:
                break
            if time.monotonic() > ends:
                raise Failure(
                    f"through nginx {behind[0]} is not answered well: {tally.last.get(behind[0], 'no answer')}",
                    hint="read the logs: docker logs nginx",
                    status=Status.UNHEALTHY,
                    data={"probe": tally.public()},
                )
            time.sleep(_PACE)
        step.done(f"{', '.join(self._paths)} answered through nginx")


class _Connection(http.client.HTTPSConnection):
    """To an address, in the name of a site."""

    def __init__(self, address: str, port: int, name: str, context: ssl.SSLContext) -> None:
        super().__init__(address, port, timeout=_TIMEOUT, context=context)
        self._name, self._tls = name, context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def _context() -> ssl.SSLContext:
    # These are looks from inside at who answers; that the certificate is trusted is seen from outside.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _edge(config: Config, manifest: Manifest) -> tuple[str, int]:
    """Address and port at which the host itself reaches nginx over TLS; ("", 0) when that cannot be."""
    nginx = health.of_service(compose.containers(config), EDGE)
    address = next(iter(nginx.addresses.values()), "") if nginx and nginx.state == "running" else ""
    if not address or not manifest.settings.domains or not installed(config):
        return "", 0
    for port in _DOORS:
        try:
            with socket.create_connection((address, port), _TIMEOUT):
                return address, port
        except OSError:
            continue
    return address, _DOORS[-1]


def of(config: Config, manifest: Manifest) -> Probe:
    """The probe for a release: nginx on its own network, over TLS; without a certificate there is nothing to ask."""
    address, port = _edge(config, manifest)
    if not address:
        return Probe("", "", [])
    domain = manifest.settings.domains[0]
    return Probe(address, domain, sorted({switch.probe for switch in manifest.switched.values()}), port)


def deep(config: Config, manifest: Manifest, path: str = "/health/deep") -> dict[str, Any] | None:
    """{"status": HTTP status, 0 without an answer, "body": its beginning} of the application's deep health.

    None when there is nobody to ask: nginx does not run, or has no certificate yet.
    """
    address, port = _edge(config, manifest)
    if not address:
        return None
    connection = _Connection(address, port, manifest.settings.domains[0], _context())
    try:
        connection.request("GET", path, headers={"Host": manifest.settings.domains[0], "User-Agent": "health-check"})
        answer = connection.getresponse()
        return {"status": answer.status, "body": answer.read(_BODY).decode("utf-8", "replace")}
    except (OSError, http.client.HTTPException) as error:
        return {"status": 0, "body": str(error) or type(error).__name__}
    finally:
        connection.close()
