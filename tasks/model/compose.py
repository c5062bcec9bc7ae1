"""Reading the Compose file: which services there are, what each one mounts, and how it takes a changed file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.model.images import image_major, image_name
from tasks.model.notation import Port, mounted, published, seconds, size_in_bytes

_VARIABLE = re.compile(
    r"""\$(?: (?P<escaped>\$)
          | \{ (?P<name>[A-Za-z_]\w*) (?: (?P<op>:?[-?+]) (?P<word>[^}]*) )? \}
          | (?P<bare>[A-Za-z_]\w*) )""",
    re.VERBOSE | re.ASCII,
)


class ComposeError(ValueError):
    """The Compose file is not one that can be deployed."""


@dataclass(frozen=True)
class Switch:
    """How nginx reaches a service that is replaced without an outage.

    Attributes:
        port: where it listens.
        probe: the path that is asked through nginx.
    """

    port: int
    probe: str


@dataclass(frozen=True)
class Service:
    """One service of the stack, resolved.

    Attributes:
        name: as in the Compose file.
        image: the full reference.
        user: numeric "uid:gid", "" when the file names none.
        definition: sha256 of everything that makes Compose create the container anew, its name aside.
        mounts: the release directories it sees, e.g. ("nginx",) or ("secrets/postgres",).
        env_files: the release files its environment comes from.
        check: run in a throwaway container before a changed file is used.
        reload: run in the container to take a changed file; None: restart it.
        has_healthcheck: whether Docker can say that it is healthy.
        switch: None for a service that is recreated in place.
        marker: prints which configuration it has loaded.
        volumes: target by the name of each named volume.
        external: those of them that somebody else makes, so that they do not carry the project's label.
        binds: target by source of each directory of the host it mounts.
        anonymous: targets of volumes that have no name.
        tmpfs: what it keeps in memory.
        ports: what it publishes.
        memory: its limit in bytes, 0 for none.
        data_directory: where a database keeps its data, None for other services.
        grace: seconds it gets between SIGTERM and SIGKILL.
    """

    name: str
    image: str
    user: str
    definition: str
    mounts: tuple[str, ...]
    env_files: tuple[str, ...]
    check: tuple[str, ...] | None
    reload: tuple[str, ...] | None
    has_healthcheck: bool
    switch: Switch | None = None
    marker: tuple[str, ...] | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)
    external: tuple[str, ...] = ()
    binds: Mapping[str, str] = field(default_factory=dict)
    anonymous: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    memory: int = 0
    data_directory: str | None = None
    grace: float = 10.0


def interpolate(value: Any, environment: Mapping[str, str]) -> Any:
    """Fill in ${NAME}, ${NAME:-word}, ${NAME:?message} and $$ as Compose does, everywhere below `value`.

    Raises:
        ComposeError: a variable without a value and without a default.
    """
    if isinstance(value, dict):
        return {key: interpolate(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, environment) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name, operator, word = match["name"] or match["bare"], match["op"] or "", match["word"] or ""
        found = environment.get(name)
        present = found is not None and (found != "" or not operator.startswith(":"))
        if operator.endswith("+"):
            return word if present else ""
        if present:
            return found or ""
        if operator.endswith("-"):
            return word
        raise ComposeError(f"the Compose file names ${{{name}}}, which no setting provides")

    return _VARIABLE.sub(replace, value)


def parse(text: bytes, environment: Mapping[str, str], live_root: str) -> dict[str, Service]:
    """Read a Compose file.

    Args:
        text: the file.
        environment: what its variables stand for.
        live_root: the directory on the host whose sub-directories are mirrors of the release's.
    Returns:
        The services by name.
    Raises:
        ComposeError: not YAML, no services, an unknown variable, a service without an image, or a mounted single file's
            directory outside what the release can provide.
    """
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ComposeError(f"the Compose file is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        raise ComposeError("the Compose file has no services")
    resolved = interpolate(document, environment)
    declared = {str(key): item or {} for key, item in (resolved.get("volumes") or {}).items()}
    named = {key: _volume(str(resolved.get("name") or ""), key, item) for key, item in declared.items()}
    external = {named[key] for key, item in declared.items() if item.get("external")}
    return {name: _service(name, body, live_root, named, external) for name, body in resolved["services"].items()}


BACKUPS = ("postgres", "redis", "grafana", "files", "none")
"""What may back a volume up, as x-backup says it."""


def backups(text: bytes, environment: Mapping[str, str]) -> dict[str, str]:
    """What backs up each named volume of a Compose file that can be parsed, by the name it has on the host.

    Returns a word of BACKUPS, or "" for a volume that says nothing. Raises ComposeError for another word.
    """
    import yaml

    document = yaml.safe_load(text)
    project = str(interpolate(document.get("name") or "", environment))
    found = {}
    for key, item in interpolate(document.get("volumes") or {}, environment).items():
        word = str((item or {}).get("x-backup") or "")
        if word and word not in BACKUPS:
            raise ComposeError(f"volume {key}: x-backup is one of {', '.join(BACKUPS)}, not {word}")
        found[_volume(project, str(key), item or {})] = word
    return found


def _volume(project: str, key: str, item: Mapping[str, Any]) -> str:
    """The name a volume has on the host: its own, or the one that Compose gives it."""
    if item.get("name"):
        return str(item["name"])
    return key if item.get("external") or not project else f"{project}_{key}"


def _service(
    name: str, body: dict[str, Any], live_root: str, named: Mapping[str, str], external: Collection[str]
) -> Service:
    if not isinstance(body, dict) or not body.get("image"):
        raise ComposeError(f"service {name} has no image")
    extensions = {key for key in body if key.startswith("x-")}
    plain = {key: item for key, item in body.items() if key not in extensions and key != "image"}
    env_files = body.get("env_file") or []
    mounts = [mounted(item) for item in body.get("volumes") or []]
    try:
        ports = tuple(port for item in body.get("ports") or [] for port in published(item))
        memory = _memory(body)
        grace = seconds(body.get("stop_grace_period", "10s"))
    except (ValueError, KeyError, TypeError) as error:
        raise ComposeError(f"service {name}: {error}") from None
    return Service(
        name=name,
        image=body["image"],
        user=str(body.get("user", "")),
        definition=hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest(),
        mounts=tuple(sorted(_live_mounts(body.get("volumes") or [], live_root.rstrip("/") + "/"))),
        env_files=tuple([env_files] if isinstance(env_files, str) else env_files),
        check=_words(name, body, "x-check"),
        reload=_words(name, body, "x-reload"),
        has_healthcheck=_is_checked(body.get("healthcheck") or {}),
        switch=_switch(name, body),
        marker=_words(name, body, "x-marker"),
        volumes={named.get(m.source, m.source): m.target for m in mounts if m.kind == "volume" and m.source},
        external=tuple(sorted({named.get(m.source, "") for m in mounts if m.kind == "volume"} & set(external))),
        binds={m.source: m.target for m in mounts if m.kind == "bind"},
        anonymous=tuple(sorted(m.target for m in mounts if m.kind == "volume" and not m.source)),
        tmpfs=tuple(
            [m.target for m in mounts if m.kind == "tmpfs"]
            + [str(item).split(":")[0] for item in _list(body.get("tmpfs"))]
        ),
        ports=ports,
        memory=memory,
        data_directory=data_directory(str(body["image"]), body),
        grace=grace,
    )


def _memory(body: Mapping[str, Any]) -> int:
    limits = ((body.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    value = body.get("mem_limit") or limits.get("memory")
    return size_in_bytes(str(value)) if value else 0


def _is_checked(healthcheck: Mapping[str, Any]) -> bool:
    return bool(healthcheck) and not healthcheck.get("disable") and healthcheck.get("test") not in ("NONE", ["NONE"])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _switch(name: str, body: Mapping[str, Any]) -> Switch | None:
    value = body.get("x-switch")
    if value is None:
        return None
    for key in ("ports", "container_name"):
        if body.get(key):
            raise ComposeError(f"service {name} has x-switch and {key}: a second container could not run beside it")
    try:
        return Switch(int(value["port"]), str(value.get("probe", "/")))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ComposeError(f"service {name}: x-switch must be {{port: NUMBER, probe: /path}}") from None


def data_directory(image: str, body: Mapping[str, Any]) -> str | None:
    """Where a database of this image keeps its data; None for what is no database."""
    kind = image_name(image)
    if kind == "postgres":
        environment = body.get("environment") or {}
        pairs = environment if isinstance(environment, dict) else dict(str(x).partition("=")[::2] for x in environment)
        if pairs.get("PGDATA"):
            return str(pairs["PGDATA"])
        major = image_major(image)
        return (
            f"/var/lib/postgresql/{major}/docker" if major is not None and major >= 18 else "/var/lib/postgresql/data"
        )
    if kind in ("redis", "valkey"):
        command = body.get("command") or []
        words = command.split() if isinstance(command, str) else [str(word) for word in command]
        return words[words.index("--dir") + 1] if "--dir" in words[:-1] else "/data"
    return None


def _live_mounts(volumes: list[Any], prefix: str) -> list[str]:
    sources = [str(item.get("source", "")) if isinstance(item, dict) else str(item).split(":")[0] for item in volumes]
    return [source.removeprefix(prefix) for source in sources if source.startswith(prefix)]


def _words(name: str, body: dict[str, Any], key: str) -> tuple[str, ...] | None:
    words = body.get(key)
    if words is None:
        return None
    if not isinstance(words, list) or not words:
        raise ComposeError(f"service {name}: {key} must be a list of words")
    return tuple(str(word) for word in words)
