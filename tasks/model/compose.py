"""Reading the Compose file: which services there are, what each one mounts, and how it takes a changed file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_VARIABLE = re.compile(
    r"""\$(?: (?P<escaped>\$)
          | \{ (?P<name>[A-Za-z_]\w*) (?: (?P<op>:?[-?+]) (?P<word>[^}]*) )? \}
          | (?P<bare>[A-Za-z_]\w*) )""",
    re.VERBOSE | re.ASCII,
)


class ComposeError(ValueError):
    """The Compose file is not one that can be deployed."""


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
    return {name: _service(name, body, live_root) for name, body in resolved["services"].items()}


def _service(name: str, body: dict[str, Any], live_root: str) -> Service:
    if not isinstance(body, dict) or not body.get("image"):
        raise ComposeError(f"service {name} has no image")
    extensions = {key for key in body if key.startswith("x-")}
    plain = {key: item for key, item in body.items() if key not in extensions and key != "image"}
    env_files = body.get("env_file") or []
    return Service(
        name=name,
        image=body["image"],
        user=str(body.get("user", "")),
        definition=hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest(),
        mounts=tuple(sorted(_live_mounts(body.get("volumes") or [], live_root.rstrip("/") + "/"))),
        env_files=tuple([env_files] if isinstance(env_files, str) else env_files),
        check=_words(name, body, "x-check"),
        reload=_words(name, body, "x-reload"),
        has_healthcheck="healthcheck" in body and not body["healthcheck"].get("disable"),
    )


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
