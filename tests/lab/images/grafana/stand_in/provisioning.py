"""The provisioning files, held against the rules that make Grafana refuse or ignore them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REMOVED_PANELS = {"graph", "singlestat", "table-old", "grafana-worldmap-panel"}


@dataclass
class Provisioned:
    """What was found, and everything wrong with it."""

    datasources: list[dict[str, Any]] = field(default_factory=list)
    dashboards: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def load(root: Path) -> Provisioned:
    """Read datasources/ and dashboards/ below `root`."""
    found = Provisioned()
    for path in _yaml_files(root / "datasources"):
        _datasources(path, found)
    for path in _yaml_files(root / "dashboards"):
        _providers(path, found)
    _references(found)
    return found


def _yaml_files(directory: Path) -> list[Path]:
    return sorted(p for p in directory.glob("*") if p.suffix in {".yml", ".yaml"}) if directory.is_dir() else []


def _expand(value: Any) -> Any:
    """$NAME, ${NAME} and $__env{NAME}, $__file{/path} in provisioning files; `$$` is a dollar."""
    if isinstance(value, dict):
        return {k: _expand(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v) for v in value]
    if not isinstance(value, str):
        return value
    value = re.sub(r"\$__file\{([^}]*)\}", lambda m: Path(m[1]).read_text("utf-8").strip(), value)
    value = re.sub(r"\$__env\{([^}]*)\}", lambda m: os.environ.get(m[1], ""), value)
    return re.sub(r"\$(\$|\{(\w+)\}|(\w+))", lambda m: "$" if m[1] == "$" else os.environ.get(m[2] or m[3], ""), value)


def _document(path: Path, found: Provisioned) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        found.problems.append(f"{path}: {' '.join(str(error).split())}")
        return {}
    if document is None:
        return {}
    if not isinstance(document, dict):
        found.problems.append(f"{path}: not a mapping")
        return {}
    if document.get("apiVersion") != 1:
        found.problems.append(f"{path}: apiVersion must be 1")
    return document


def _datasources(path: Path, found: Provisioned) -> None:
    for number, entry in enumerate(_document(path, found).get("datasources") or [], 1):
        if not isinstance(entry, dict):
            found.problems.append(f"{path}: data source {number} is not a mapping")
            continue
        try:
            source = _expand(entry)
        except OSError as error:
            found.problems.append(f"{path}: data source {number}: {error}")
            continue
        missing = [key for key in ("name", "type") if not source.get(key)]
        if source.get("access", "proxy") not in {"proxy", "direct"}:
            found.problems.append(f"{path}: data source {number}: access must be proxy or direct")
        if missing:
            found.problems.append(f"{path}: data source {number}: {', '.join(missing)} missing")
        for key in ("name", "uid"):
            if source.get(key) and any(source[key] == other.get(key) for other in found.datasources):
                found.problems.append(f"{path}: data source {number}: {key} {source[key]!r} is used twice")
        found.datasources.append(source)
    if sum(bool(s.get("isDefault")) for s in found.datasources) > 1:
        found.problems.append(f"{path}: only one data source per organization can be marked as default")


def _providers(path: Path, found: Provisioned) -> None:
    for number, provider in enumerate(_document(path, found).get("providers") or [], 1):
        if not isinstance(provider, dict) or not provider.get("name"):
            found.problems.append(f"{path}: provider {number} has no name")
            continue
        if provider.get("type", "file") != "file":
            found.problems.append(f"{path}: provider {provider['name']}: type must be file")
            continue
        options = provider.get("options") or {}
        directory = Path(str(_expand(options.get("path", ""))))
        if not options.get("path"):
            found.problems.append(f"{path}: provider {provider['name']}: options.path missing")
        elif not directory.is_dir():
            found.problems.append(f"{path}: provider {provider['name']}: {directory} is not a directory")
        else:
            folder = str(provider.get("folder") or "")
            for dashboard in sorted(directory.rglob("*.json")):
                _dashboard(dashboard, folder, found)


def _dashboard(path: Path, folder: str, found: Provisioned) -> None:
    try:
        model = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        found.problems.append(f"{path}: {error}")
        return
    problems = list(_faults(model))
    if not problems and any(model["uid"] == other["uid"] for other in found.dashboards):
        problems.append(f"the same UID {model['uid']!r} is used more than once")
    found.problems += [f"{path}: {problem}" for problem in problems]
    if not problems:
        found.dashboards.append({**model, "_folder": folder, "_file": str(path)})


def _faults(model: Any):
    if not isinstance(model, dict):
        yield "not a JSON object"
        return
    if "dashboard" in model and "panels" not in model:
        yield 'Dashboard title cannot be empty (it is wrapped in {"dashboard": ...}, which only the HTTP API takes)'
        return
    for key in ("title", "uid"):
        if not isinstance(model.get(key), str) or not model[key].strip():
            yield f"Dashboard {key} cannot be empty"
    if isinstance(model.get("uid"), str) and not re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", model["uid"]):
        yield f"uid {model['uid']!r} contains illegal characters or is longer than 40"
    if not isinstance(model.get("panels"), list) or not model["panels"]:
        yield "panels must be a list with at least one panel"
        return
    if model.get("id") is not None:
        yield "id must be null: ids belong to one database"
    if model.get("__inputs"):
        yield "__inputs: exported for sharing, provisioning does not fill them in"
    for panel in _panels(model["panels"]):
        name = panel.get("title") or panel.get("id")
        if panel.get("type") in REMOVED_PANELS:
            yield f"panel {name!r}: type {panel['type']!r} was removed with Angular"
        elif not panel.get("type"):
            yield f"panel {name!r} has no type"


def _panels(panels: list[Any]):
    for panel in panels:
        if isinstance(panel, dict):
            yield panel
            yield from _panels(panel.get("panels") or [])


def _references(found: Provisioned) -> None:
    """A panel that names a data source nobody provisioned shows nothing: said here, silent in Grafana."""
    known = {s.get("uid") for s in found.datasources} | {
        "-- Grafana --",
        "-- Mixed --",
        "-- Dashboard --",
        "grafana",
        None,
    }
    for model in found.dashboards:
        for panel in _panels(model["panels"]):
            source = panel.get("datasource")
            uid = source.get("uid") if isinstance(source, dict) else None
            if isinstance(source, str) and not source.startswith("$"):
                found.problems.append(f"{model['_file']}: panel {panel.get('title')!r}: datasource by name {source!r}")
            elif isinstance(uid, str) and not uid.startswith("$") and uid not in known:
                found.problems.append(f"{model['_file']}: panel {panel.get('title')!r}: no data source has uid {uid!r}")
