"""The bundle: every file of a release, rendered from the sources in files/ and the settings."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.command import Secret
from tasks.model import compose, dotenv, images, notation

if TYPE_CHECKING:
    from tasks.core.settings import Settings

COMPOSE_FILE = "docker-compose.prod.yml"
PUBLIC, PRIVATE = 0o644, 0o600
_BLOCKS: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True}
_TWO_YEARS = "max-age=63072000; includeSubDomains"
_HSTS = {"trial": "max-age=300", "week": "max-age=604800", "full": _TWO_YEARS, "preload": f"{_TWO_YEARS}; preload"}
_PLACEHOLDER = re.compile(
    r"(change[-_ ]?(me|this|it)|placeholder|your[-_ ]\S*|\S*[-_]here|replace[-_ ]?(me|this)|todo|x{3,}|<[^<>\s]*>)\d*",
    re.IGNORECASE,
)


class BundleError(ValueError):
    """The sources and the settings do not make a bundle."""


@dataclass(frozen=True)
class File:
    """One file of a release. Its content is never part of its repr.

    Attributes:
        data: the content.
        mode: permission bits it is created with.
        secret: neither shown in a plan nor readable by anyone but root.
    """

    data: bytes = field(repr=False)
    mode: int = PUBLIC
    secret: bool = False

    @property
    def sha256(self) -> str:
        """The content's digest, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Bundle:
    """What a release consists of.

    Attributes:
        app: the application's name.
        version: of the application: the tag of the backend's image.
        files: by path inside the release.
        services: the stack, as the Compose file has it.
        environment: a fingerprint of each variable by service and name, to tell which changed without telling a value.
        pins: what each image reference stands for, by reference.
        references: the image reference of each service, as the settings have it.
        placeholders: the variables whose value looks like one that was never filled in, as "service: NAME".
    """

    app: str
    version: str
    files: Mapping[str, File]
    services: Mapping[str, compose.Service]
    environment: Mapping[str, Mapping[str, str]]
    pins: Mapping[str, images.Pin] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    placeholders: tuple[str, ...] = ()


def render(sources: Mapping[str, bytes], settings: Settings, pins: Mapping[str, images.Pin]) -> Bundle:
    """Make the bundle.

    Args:
        sources: the tree of files/, by path.
        settings: validated settings.
        pins: what image references stand for; one that is not there stays a tag.
    Returns:
        The bundle; the same arguments give the same bytes.
    Raises:
        BundleError: a template names what no setting provides, or the Compose file cannot be used.
    """
    rendered = {name: _content(name, data, settings) for name, data in sources.items()}
    # a unit of which the settings leave nothing is none
    files = {
        _path(name, settings.app_name): File(data)
        for name, data in rendered.items()
        if data.strip() or not name.startswith("systemd/")
    }
    unpinned = _plain(settings.compose_environment()) | _derived(settings)
    environments = {
        "": unpinned | {name: images.pinned(value, pins.get(value)) for name, value in _images(unpinned).items()},
        "backend": _plain(settings.backend_environment()),
        "frontend": _plain(settings.frontend_environment()),
    }
    for name, variables in environments.items():
        files[f"{name}.env".removeprefix(".")] = File(dotenv.encode(variables), PRIVATE, secret=True)
    for path, value in _secrets(settings).items():
        files[f"secrets/{path}"] = File(value.encode(), PRIVATE, secret=True)
    try:
        live = f"/opt/{settings.app_name}/live"
        services = compose.parse(files[COMPOSE_FILE].data, environments[""], live)
        references = {
            name: item.image for name, item in compose.parse(files[COMPOSE_FILE].data, unpinned, live).items()
        }
        backups = compose.backups(files[COMPOSE_FILE].data, environments[""])
    except KeyError:
        raise BundleError(f"{COMPOSE_FILE} is missing from files/") from None
    except compose.ComposeError as error:
        raise BundleError(str(error)) from None
    _require_mounts(services, files)
    policy = {**_backups(settings), "volumes": sorted(name for name, word in backups.items() if word == "files")}
    files["backup/policy.json"] = File(json.dumps(policy, indent=1, sort_keys=True).encode() + b"\n")
    fingerprints = {
        service: {key: _fingerprint(settings.app_name, key, value) for key, value in variables.items()}
        for service, variables in environments.items()
        if service
    }
    return Bundle(
        settings.app_name,
        settings.version,
        dict(sorted(files.items())),
        services,
        fingerprints,
        {name: pins[name] for name in sorted(set(references.values())) if name in pins},
        references,
        tuple(sorted(f"{service}: {name}" for service, items in environments.items() if service
                     for name, value in items.items() if is_placeholder(value))),
    )  # fmt: skip


def _images(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.endswith("_IMAGE")}


def is_placeholder(value: str) -> bool:
    """Whether a value looks like one that somebody was to replace: CHANGE_ME, your-key-here, <token>, xxxx."""
    return bool(_PLACEHOLDER.fullmatch(value.strip()))


def _path(name: str, app: str) -> str:
    return re.sub(r"^systemd/app(?=[.-])", f"systemd/{app}", name.removesuffix(".j2"))


def _content(name: str, data: bytes, settings: Settings) -> bytes:
    if not name.endswith(".j2"):
        return data
    import jinja2

    # what is made is for nginx and systemd, and the values are validated: HTML's escapes have no place there
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, **_BLOCKS)  # noqa: S701
    environment.filters["quoted"] = _quoted
    try:
        return environment.from_string(data.decode()).render(_variables(settings)).encode()
    except (jinja2.TemplateError, UnicodeDecodeError) as error:
        raise BundleError(f"files/{name}: {error}") from None


def _variables(settings: Settings) -> dict[str, Any]:
    """What templates may name: every setting that is no secret, and what follows from them."""
    plain = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    hidden = {name for name, value in plain.items() if isinstance(value, Secret | Mapping | Path)}
    return {name: value for name, value in plain.items() if name not in hidden} | {
        "site_url": settings.site_url,
        "grafana_url": settings.grafana_url,
        "hsts_header": _HSTS.get(settings.hsts, ""),
        # until so many requests have been worked off as the burst allows
        "api_retry": max(1, settings.api_burst * 60 // settings.api_rate),
        "page_retry": max(1, settings.page_burst * 60 // settings.page_rate),
        "dashboard_token": dashboard_token(settings.app_name, settings.grafana_domain),
    }


def dashboard_token(app: str, domain: str) -> str:
    """The access token of the shared dashboard: 32 hexadecimal digits, part of its public address and no secret."""
    return hashlib.sha256(f"{app}\0{domain}\0shared dashboard".encode()).hexdigest()[:32]


def _quoted(value: str) -> str:
    """A string as nginx reads it back. The settings refuse $, for which nginx knows no escape."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(variables: Mapping[str, str | Secret]) -> dict[str, str]:
    return {key: value.reveal() if isinstance(value, Secret) else value for key, value in variables.items()}


def _derived(settings: Settings) -> dict[str, str]:
    # three quarters for the data: the rest is for buffers and for the fork that writes a snapshot
    return {
        "APP_ROOT": f"/opt/{settings.app_name}",
        "REDIS_MAXMEMORY": str(notation.size_in_bytes(settings.redis_memory) * 3 // 4),
        "HTTP_PORT": str(settings.http_port),
        "HTTPS_PORT": str(settings.https_port),
        # without HTTP/3 its port is there for the host alone: nobody answers
        "QUIC_PUBLISH": f"{'' if settings.http3 else '127.0.0.1:'}{settings.https_port}",
        "IPV6": "true" if settings.ipv6 else "false",
        "EDGE_NETWORK6": _network6(settings.app_name),
    }


def _network6(app: str) -> str:
    """An IPv6 network for this application alone, from the addresses that are for private use."""
    digits = hashlib.sha256(f"{app}\0edge".encode()).hexdigest()
    return f"fd{digits[:2]}:{digits[2:6]}:{digits[6:10]}:{digits[10:14]}::/64"


def _backups(settings: Settings) -> dict[str, Any]:
    """What the host needs to know to make and keep backups; nothing secret."""
    return {
        "postgres_days": settings.postgres_backup_days,
        "redis_days": settings.redis_backup_days,
        "weeks": settings.backup_weeks,
        "months": settings.backup_months,
        "keep_last": settings.backup_keep_last,
        "undo_hours": settings.restore_undo_hours,
        "point_in_time_days": settings.point_in_time_days,
        "remotes": list(settings.backup_remotes),
        "host_keys": list(settings.backup_sftp_host_keys),
    }


def _secrets(settings: Settings) -> dict[str, str]:
    redis_password = settings.redis_password.reveal()
    files = {
        "postgres/password": settings.postgres_password.reveal(),
        "redis/password": redis_password,
        # the server itself needs the hash alone
        "redis/users.acl": f"user default on #{hashlib.sha256(redis_password.encode()).hexdigest()} ~* &* +@all\n",
        "grafana/admin_password": settings.grafana_admin_password.reveal(),
    }
    if settings.registry_password is not None:
        files["registry/password"] = settings.registry_password.reveal()
    copies = {
        "password": settings.backup_password,
        "s3_access_key": settings.backup_s3_access_key,
        "s3_secret_key": settings.backup_s3_secret_key,
    }
    if settings.backup_remotes:
        files |= {f"backup/{name}": value.reveal() for name, value in copies.items() if value is not None}
    return files


def _fingerprint(app: str, key: str, value: str) -> str:
    return hashlib.sha256(f"{app}\0{key}\0{value}".encode()).hexdigest()[:16]


def _require_mounts(services: Mapping[str, compose.Service], files: Mapping[str, File]) -> None:
    for service in services.values():
        for name in service.env_files:
            if name not in files:
                raise BundleError(f"service {service.name} reads {name}, which is not in the bundle")
        for mount in service.mounts:
            if not any(path.startswith(f"{mount}/") for path in files):
                raise BundleError(f"service {service.name} mounts live/{mount}, which the bundle leaves empty")
