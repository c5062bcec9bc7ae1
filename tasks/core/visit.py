"""Looking at a site from outside, as a visitor does: HTTP requests and the certificate that is served."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status, 0 when there was no answer.
        headers: names in lower case.
        body: at most 64 KiB of it.
        error: one line, "" when there was an answer.
    """

    status: int
    headers: Mapping[str, str]
    body: str
    error: str = ""


@dataclass(frozen=True)
class Served:
    """The certificate that a server presents, verified.

    Attributes:
        not_before: seconds since the epoch.
        not_after: seconds since the epoch.
        issuer: its common name, or organisation.
        error: one line when there was none, or one that cannot be trusted.
    """

    not_before: float = 0.0
    not_after: float = 0.0
    issuer: str = ""
    error: str = ""


class Visitor:
    """Somebody who looks at a site.

    Args:
        address: connect there instead of where DNS points (before DNS is switched, or in a lab); "" asks DNS.
        ca_file: a further certificate authority to trust, besides the usual ones.
        timeout: seconds for each connection and each answer.
    """

    def __init__(self, address: str = "", ca_file: Path | None = None, timeout: float = 10.0) -> None:
        self.address = address
        self.ca_file = ca_file
        self.timeout = timeout

    def get(self, url: str) -> Answer:
        """Fetch a URL without following redirects; a failure is an `Answer` with an error, not an exception."""
        import requests

        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy or a CA of the environment would test something else
                adapter = _adapter(self.address)
                session.mount("https://", adapter)
                session.mount("http://", adapter)
                verify: bool | str = str(self.ca_file) if self.ca_file else True
                with session.get(
                    url, timeout=self.timeout, allow_redirects=False, verify=verify, stream=True
                ) as response:
                    body = response.raw.read(65536, decode_content=True)
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    return Answer(response.status_code, headers, body.decode("utf-8", "replace"))
        except (requests.RequestException, OSError) as error:
            return Answer(0, {}, "", _reason(error))

    def certificate(self, name: str, port: int = 443) -> Served:
        """Fetch the certificate presented for a name, verified against it and the trusted authorities."""
        context = ssl.create_default_context()
        if self.ca_file:
            context.load_verify_locations(self.ca_file)
        try:
            with (
                socket.create_connection((self.address or name, port), self.timeout) as plain,
                context.wrap_socket(plain, server_hostname=name) as secured,
            ):
                facts: Any = secured.getpeercert()
        except OSError as error:
            return Served(error=_reason(error))
        issuer = {key: value for part in facts["issuer"] for key, value in part}
        return Served(
            ssl.cert_time_to_seconds(facts["notBefore"]),
            ssl.cert_time_to_seconds(facts["notAfter"]),
            issuer.get("commonName") or issuer.get("organizationName", "unknown"),
        )


def _adapter(address: str) -> requests.adapters.HTTPAdapter:
    from requests.adapters import HTTPAdapter

    class Elsewhere(HTTPAdapter):
        """Connects to `address`, and still asks for, and insists on, the name in the URL."""

        def build_connection_pool_key_attributes(
            self, request: requests.PreparedRequest, verify: bool | str, cert: Any = None
        ) -> tuple[Any, Any]:
            found = super().build_connection_pool_key_attributes(request, verify, cert)
            host: dict[str, Any] = dict(found[0])
            pool: dict[str, Any] = dict(found[1])
            if address:
                request.headers["Host"] = host["host"]
                if host["scheme"] == "https":
                    pool |= {"server_hostname": host["host"], "assert_hostname": host["host"]}
                host["host"] = address
            return host, pool

    return Elsewhere()


def _reason(error: BaseException) -> str:
    """Find the one line that says why, below the layers that wrap it."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None) or seen.__cause__ or (seen.args[0] if seen.args else None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    if isinstance(seen, ssl.SSLCertVerificationError):
        return f"certificate refused: {seen.verify_message}"
    if type(seen).__name__ == "CertificateError":  # urllib3's own: the names do not match
        return f"certificate refused: {seen}"
    if isinstance(seen, TimeoutError):
        return "no answer in time"
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return " ".join(str(seen).split()) or type(seen).__name__
