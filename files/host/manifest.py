"""The manifest of a release: what files it has, what services it runs. Checked before it is believed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from host.errors import Failure

NAME = "manifest.json"
SIZE_LIMIT = 4 * 1024 * 1024  # bytes of manifest.json
FILES_LIMIT = 5000
TOTAL_LIMIT = 256 * 1024 * 1024  # bytes of all files together
_ID = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
_PIN = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NUMERIC_USER = re.compile(r"(\d{1,9})(?::(\d{1,9}))?")
_SERVICE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@dataclass(frozen=True)
class Entry:
    """One file of the release."""

    sha256: str
    size: int  # bytes
    mode: int
    secret: bool


@dataclass(frozen=True)
class Pin:
    """What a tag stood for when the release was made: a digest in a registry, or the id of an image that was loaded."""

    digest: str | None
    id: str | None


@dataclass(frozen=True)
class Switch:
    """A service that is replaced by starting the new container beside the old one and pointing nginx at it."""

    port: int
    probe: str  # path asked through nginx after the switch


@dataclass(frozen=True)
class Service:
    """One service of the compose file, as far as the host has to know it."""

    image: str
    user: str
    config: tuple[str, ...]
    secrets: tuple[str, ...]
    check: tuple[str, ...]
    reload: tuple[str, ...]
    healthcheck: bool
    pin: Pin | None = None
    switch: Switch | None = None
    marker: tuple[str, ...] = ()

    @property
    def owner(self) -> tuple[int, int] | None:
        """(uid, gid) of the service's user, None unless it is numeric (names are known only inside the image)."""
        match = _NUMERIC_USER.fullmatch(self.user)
        return (int(match[1]), int(match[2] or match[1])) if match else None


@dataclass(frozen=True)
class Settings:
    """What the host needs of the user's settings; never a secret."""

    keep: int
    health_timeout: float  # seconds
    acme_server: str
    acme_email: str
    domains: tuple[str, ...]
    registry: str
    registry_user: str
    drain_time: float = 30.0  # seconds
    migration: tuple[str, ...] = ()
    postgres_user: str = ""
    postgres_db: str = ""


@dataclass(frozen=True)
class Manifest:
    """A checked manifest; `raw` is the JSON it came from."""

    release: str
    version: str
    files: Mapping[str, Entry]
    services: Mapping[str, Service]
    settings: Settings
    raw: Mapping[str, Any]
    plan: str | None = None
    accepted: tuple[str, ...] = ()

    @property
    def switched(self) -> dict[str, Switch]:
        """The services that nginx is pointed at, by name."""
        return {name: service.switch for name, service in sorted(self.services.items()) if service.switch}

    def below(self, prefix: str) -> list[str]:
        """The paths of the release below directory `prefix`, sorted."""
        return sorted(path for path in self.files if path.startswith(prefix + "/"))


def is_release_id(text: str) -> bool:
    return bool(_ID.fullmatch(text)) and ".." not in text


def bad_path(path: str) -> str:
    """Why `path` cannot be a file of a release, or "" when it can."""
    if not path or len(path) > 1000 or not path.isprintable():
        return "empty, too long or unprintable"
    parts = path.split("/")
    if path.startswith("/") or any(part in ("", ".", "..") or len(part) > 200 for part in parts) or "\\" in path:
        return "not a plain relative path"
    if any(part.startswith(".~") for part in parts) or path == NAME:
        return "reserved"
    return ""


def parse(data: bytes, app: str) -> Manifest:
    """The Manifest in `data`, which must be for `app`. Raises Failure naming the first thing that is wrong."""
    try:
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise TypeError("not an object")
        if raw.get("format") != 1:
            raise ValueError(f"format {raw.get('format')!r} is not one this program knows: update it with fab setup")
        if raw.get("app") != app:
            raise ValueError(f"it is for the application {raw.get('app')!r}, this host program serves {app!r}")
        release = str(raw["release"])
        if not is_release_id(release):
            raise ValueError(f"{release[:100]!r} is not a release id")
        files = _files(raw["files"])
        services = {str(name): _service(str(name), spec) for name, spec in raw["services"].items()}
        found = Manifest(
            release, str(raw.get("version", "")), files, services, _settings(raw.get("settings") or {}), raw,
            str(raw["plan"]) if raw.get("plan") else None, _words(raw.get("accepted")),
        )  # fmt: skip
        _cross_check(found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise Failure(f"the manifest is not valid: {what}", hint="deploy again from an up-to-date checkout") from error
    return found


def _files(raw: Mapping[str, Any]) -> dict[str, Entry]:
    if len(raw) > FILES_LIMIT:
        raise ValueError(f"{len(raw)} files, more than {FILES_LIMIT}")
    files = {}
    for path, spec in raw.items():
        if why := bad_path(path):
            raise ValueError(f"path {path[:100]!r} is {why}")
        entry = Entry(str(spec["sha256"]), int(spec["size"]), int(spec["mode"]), bool(spec.get("secret", False)))
        if not _DIGEST.fullmatch(entry.sha256) or entry.size < 0 or entry.mode & ~0o755:
            raise ValueError(f"digest, size or mode of {path} makes no sense")
        files[path] = entry
    for path in files:
        parent = path
        while "/" in parent:
            parent = parent.rsplit("/", 1)[0]
            if parent in files:
                raise ValueError(f"{parent} is both a file and a directory")
    if (total := sum(entry.size for entry in files.values())) > TOTAL_LIMIT:
        raise ValueError(f"{total} bytes, more than {TOTAL_LIMIT}")
    return files


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return tuple(str(word) for word in value)


def _service(name: str, spec: Mapping[str, Any]) -> Service:
    if not _SERVICE.fullmatch(name):
        raise ValueError(f"{name!r} is not a service name")
    image = str(spec["image"])
    if not image or image.startswith("-") or not image.isprintable() or " " in image:
        raise ValueError(f"image of {name} makes no sense")
    return Service(
        image, str(spec.get("user") or ""), _words(spec.get("config")), _words(spec.get("secrets")),
        _words(spec.get("check")), _words(spec.get("reload")), bool(spec.get("healthcheck", False)),
        _pin(name, spec.get("pin")), _switch(name, spec.get("switch")),
        _words(spec.get("marker")),
    )  # fmt: skip


def _pin(name: str, raw: Mapping[str, Any] | None) -> Pin | None:
    if not raw:
        return None
    values = [str(raw[key]) if raw.get(key) else None for key in ("digest", "id")]
    if any(value is not None and not _PIN.fullmatch(value) for value in values):
        raise ValueError(f"pin of {name} is not a digest")
    return Pin(*values)


def _switch(name: str, raw: Mapping[str, Any] | None) -> Switch | None:
    if not raw:
        return None
    port, probe = int(raw["port"]), str(raw.get("probe") or "/")
    if not 0 < port < 65536 or not re.fullmatch(r"/[\w./~-]*", probe):
        raise ValueError(f"port or probe of {name} makes no sense")
    return Switch(port, probe)


def _settings(raw: Mapping[str, Any]) -> Settings:
    domains = _words(raw.get("domains"))
    for value in (*domains, str(raw.get("acme_email") or ""), str(raw.get("acme_server") or "")):
        if value.startswith("-") or " " in value:
            raise ValueError(f"{value!r} is neither a domain nor an address")
    return Settings(
        max(2, int(raw.get("keep", 5))), float(raw.get("health_timeout", 120)), str(raw.get("acme_server") or ""),
        str(raw.get("acme_email") or ""), domains, str(raw.get("registry") or ""), str(raw.get("registry_user") or ""),
        float(raw.get("drain_time", 30)), _words(raw.get("migration")), str(raw.get("postgres_user") or ""),
        str(raw.get("postgres_db") or ""),
    )  # fmt: skip


def _cross_check(found: Manifest) -> None:
    owners: dict[str, tuple[int, int] | None] = {}
    for name, service in found.services.items():
        for prefix in (*service.config, *service.secrets):
            if why := bad_path(prefix):
                raise ValueError(f"directory {prefix[:100]!r} of {name} is {why}")
        for prefix in service.config:
            for path in found.below(prefix):
                if found.files[path].secret:
                    raise ValueError(f"{path} is secret but lies in a configuration directory every container may read")
        for prefix in service.secrets:
            if service.owner is None:
                raise ValueError(f"{name} has secrets, so its user must be numeric (uid:gid), not {service.user!r}")
            if owners.setdefault(prefix, service.owner) != service.owner:
                raise ValueError(f"{prefix} is used by services with different users")
