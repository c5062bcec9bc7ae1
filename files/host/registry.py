"""Asking a Docker registry what a tag stands for, without pulling it: the HTTP API, read only."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any

_HUB = "docker.io"
_HUB_API = "registry-1.docker.io"
_TIMEOUT = 20.0  # seconds for one answer
_LIMIT = 8 << 20  # bytes of one answer: manifests and image configurations are small
_ACCEPT = ", ".join((
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
))  # fmt: skip
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<host>[^/@]*[.:][^/@]*|localhost)/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>\w[\w.-]*))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_CERTIFICATES = Path("/etc/docker/certs.d")


class NotAvailable(Exception):
    """What the registry said instead of an answer, in words that `images.explain` knows."""


@dataclass(frozen=True)
class Reference:
    """An image reference, taken apart: host ("docker.io" for Docker Hub), repository, tag and digest ("" without)."""

    host: str
    path: str
    tag: str
    digest: str


@dataclass(frozen=True)
class Access:
    """How registries are reached: mirrors of Docker Hub (URLs), hosts spoken to in plain HTTP, and one login."""

    mirrors: tuple[str, ...] = ()
    plain: frozenset[str] = frozenset()
    login_host: str = ""
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Found:
    """What a tag stands for: the digest as the registry serves it, and of this platform's image the layers (compressed
    bytes, in order), their digests once unpacked, and the volumes it declares."""

    digest: str
    sizes: tuple[int, ...]
    diff_ids: tuple[str, ...]
    volumes: tuple[str, ...]


def parse(reference: str) -> Reference:
    """Take a reference apart. Raises NotAvailable when it is none."""
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise NotAvailable("invalid reference format")
    host, path, digest = match["host"] or _HUB, match["path"], match["digest"] or ""
    if host in ("index.docker.io", _HUB_API):
        host = _HUB
    if host == _HUB and "/" not in path:
        path = f"library/{path}"
    return Reference(host, path, match["tag"] or ("" if digest else "latest"), digest)


def access(info: Mapping[str, Any], registry: str, user: str, password: str) -> Access:
    """How to reach registries, from the engine's own RegistryConfig (`docker info`) and the login of the settings."""
    plain = {name for name, item in (info.get("IndexConfigs") or {}).items() if not (item or {}).get("Secure", True)}
    mirrors = tuple(str(item).rstrip("/") for item in info.get("Mirrors") or ())
    host = registry.partition("/")[0] or _HUB
    return Access(mirrors, frozenset(plain), _HUB if host in ("index.docker.io", _HUB_API) else host, user, password)


def look_up(reference: str, access: Access, architecture: str) -> Found:
    """Find out what `reference` stands for. Raises NotAvailable with the registry's words."""
    wanted = parse(reference)
    said = NotAvailable("no answer")
    for base in _bases(wanted, access):
        try:
            return _Repository(base, wanted, access).find(architecture)
        except NotAvailable as error:
            said = error
        except UnicodeError:
            said = NotAvailable("no such host")  # nothing that could be the name of one
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            said = NotAvailable(f"the answer is not one of a registry ({type(error).__name__})")
    raise said


def _bases(wanted: Reference, access: Access) -> list[str]:
    if wanted.host == _HUB:
        return [*access.mirrors, f"https://{_HUB_API}"]
    name = wanted.host.rsplit(":", 1)[0]
    plain = wanted.host in access.plain or name == "localhost" or name.startswith("127.")
    return [f"{'http' if plain else 'https'}://{wanted.host}"]


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to where blobs are stored; what was said to the registry alone does not go there."""

    def redirect_request(  # noqa: PLR0917  (the base class's own)
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and urllib.parse.urlsplit(newurl)[:2] != urllib.parse.urlsplit(req.full_url)[:2]:
            made.remove_header("Authorization")
        return made


class _Repository:
    """One repository at one registry."""

    def __init__(self, base: str, wanted: Reference, access: Access) -> None:
        self._base, self._wanted, self._access = base, wanted, access
        self._own = _bases(wanted, access)[-1]  # the registry itself, after its mirrors
        self._authorization = ""
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_context(base)), _Redirects()
        )

    def find(self, architecture: str) -> Found:
        data, digest = self._get(f"manifests/{self._wanted.digest or self._wanted.tag}")
        document = _json(data)
        if "manifests" in document:
            document = _json(self._get(f"manifests/{_platform(document['manifests'], architecture)}")[0])
        config = _json(self._get(f"blobs/{document['config']['digest']}")[0])
        declared = ((config.get("config") or {}).get("Volumes")) or {}
        return Found(
            digest,
            tuple(int(layer["size"]) for layer in document["layers"]),
            tuple(str(item) for item in config["rootfs"]["diff_ids"]),
            tuple(sorted(str(path) for path in declared)),
        )

    def _get(self, what: str) -> tuple[bytes, str]:
        """The answer, and the digest of its bytes as they are: nobody's word is taken for it."""
        url = f"{self._base}/v2/{self._wanted.path}/{what}"
        try:
            data = self._open(url)
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise NotAvailable(_said(error)) from None
            self._authorization = self._log_in(error.headers.get("WWW-Authenticate") or "")
            try:
                data = self._open(url)
            except urllib.error.HTTPError as again:
                raise NotAvailable(_said(again)) from None
            except (OSError, HTTPException) as failed:
                raise NotAvailable(_reason(failed)) from None
        except (OSError, HTTPException) as error:
            raise NotAvailable(_reason(error)) from None
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        asked = what.partition("/")[2]
        if asked.startswith("sha256:") and asked != digest:
            raise NotAvailable("the answer does not have the digest that was asked for")
        return data, digest

    def _open(self, url: str, headers: Mapping[str, str] = {}) -> bytes:
        request = urllib.request.Request(url, headers={"Accept": _ACCEPT, **headers})  # noqa: S310  (bases are http)
        if self._authorization and not headers:
            request.add_unredirected_header("Authorization", self._authorization)
        ends, data = time.monotonic() + _TIMEOUT, b""
        with self._opener.open(request, timeout=_TIMEOUT) as answer:
            while len(data) <= _LIMIT and (part := answer.read1(_LIMIT + 1 - len(data))):
                data += part
                if time.monotonic() > ends:  # the limit of the connection is one for each piece
                    raise TimeoutError
        if len(data) > _LIMIT:
            raise NotAvailable(f"the answer has more than {_LIMIT} bytes")
        return data

    def _log_in(self, challenge: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        # a mirror of Docker Hub is not Docker Hub: the login is not for it
        mine = self._access.user and self._wanted.host == self._access.login_host and self._base == self._own
        basic = ""
        if mine:
            pair = f"{self._access.user}:{self._access.password}".encode()
            basic = f"Basic {base64.b64encode(pair).decode()}"
        if scheme.lower() == "basic":
            if not basic:
                raise NotAvailable("no basic auth credentials")
            return basic
        if scheme.lower() != "bearer" or not fields.get("realm", "").startswith(("https://", "http://")):
            raise NotAvailable("unauthorized")
        if basic and self._base.startswith("https:") and not fields["realm"].startswith("https:"):
            raise NotAvailable("the registry wants the password sent in plain http, which is not done")
        query = {"service": fields.get("service", ""), "scope": f"repository:{self._wanted.path}:pull"}
        url = f"{fields['realm']}?{urllib.parse.urlencode(query)}"
        try:
            answer = _json(self._open(url, {"Authorization": basic} if basic else {"User-Agent": "docker"}))
        except urllib.error.HTTPError as error:
            raise NotAvailable("unauthorized" if error.code in (401, 403) else _said(error)) from None
        except (OSError, HTTPException) as error:
            raise NotAvailable(_reason(error)) from None
        return f"Bearer {answer.get('token') or answer.get('access_token') or ''}"


def _context(base: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    host = base.partition("://")[2]
    for path in sorted((_CERTIFICATES / host).glob("*.crt")):
        context.load_verify_locations(path)
    return context


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise NotAvailable("the answer is not JSON: is this a registry?")
    return value


def _platform(manifests: list[dict[str, Any]], architecture: str) -> str:
    for item in manifests:
        platform = item.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == ("linux", architecture):
            return str(item["digest"])
    raise NotAvailable(f"no matching manifest for linux/{architecture}")


def _said(error: urllib.error.HTTPError) -> str:
    """The registry's own words for an error status, or what the status means."""
    codes: list[str] = []
    try:
        errors = json.loads(error.read(1 << 16)).get("errors") or []
        codes = [f"{item.get('code', '')} {item.get('message', '')}".replace("_", " ").lower() for item in errors]
    except (OSError, ValueError, AttributeError, HTTPException):
        codes = []
    meaning = {401: "unauthorized", 403: "denied", 404: "manifest unknown", 429: "toomanyrequests"}
    return "; ".join([*codes, meaning.get(error.code, f"status {error.code}")])


def _reason(error: BaseException) -> str:
    seen = getattr(error, "reason", error)
    if isinstance(seen, ssl.SSLCertVerificationError):
        return f"certificate signed by unknown authority ({seen.verify_message})"
    if isinstance(seen, TimeoutError):
        return "timeout"
    if isinstance(seen, OSError) and seen.errno is not None and seen.errno < 0:
        return "no such host"
    return str(getattr(seen, "strerror", None) or seen).lower() or type(seen).__name__
