"""The status: one JSON object with all the workstation wants to know. Read only, and never a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from host import certificate, compose, durable, edge, facts, live, lock, maintenance, probe, releases, state, systemd
from host import config as configuration
from host.config import Config
from host.errors import Failure
from host.releases import Release


def status(config: Config) -> dict[str, Any]:
    """The status as the contract describes it; what could not be found out is named in "problems"."""
    problems: list[str] = []
    release: Release | None = None
    try:
        release = releases.current(config)
    except Failure as failure:
        problems.append(failure.cause)
    found: list[compose.Container] = []
    try:
        found = compose.containers(config)
    except Failure as failure:
        problems.append(failure.cause)
    archive = configuration.archive()
    engine: facts.Engine | None = None
    volumes: list[str] = []
    try:
        engine, volumes = facts.engine(), compose.volumes(config)
    except Failure as failure:
        problems.append(failure.cause)
    places = {
        "releases": config.releases,
        "images": engine.root if engine else Path("/var/lib/docker"),
        "backups": config.root / "shared" / "backups",
    }
    return {
        "app": config.app,
        "program": releases.digest(archive),
        "release": releases.current_id(config),
        "manifest": dict(release.manifest.raw) if release else None,
        "drift": drift(config, release) if release else [],
        "busy": lock.holder(config.lock),
        "containers": [item.public() for item in found],
        "upstreams": edge.serving(config),
        "volumes": volumes,
        "docker": {"store": engine.store, "arch": engine.architecture} if engine else None,
        "space": facts.space(places),
        "neighbours": neighbours(config),
        "results": releases.results(config),
        "releases": releases.ids(config),
        "history": releases.history(config),
        "last": state.last(config),
        "interrupted": state.marked(config) if lock.holder(config.lock) is None else None,
        "certificate": _certificate(config),
        "deep_health": _deep_health(config, release),
        "maintenance": maintenance.state(config),
        "unit": systemd.summary(config),
        "problems": list(dict.fromkeys(problems)),
        **facts.host(config.root),
    }


def neighbours(config: Config) -> list[dict[str, Any]]:
    """The other applications of this host: [{"app", "domains", "release", "memory": sum of its limits in bytes}]."""
    found = []
    for path in sorted(config.root.parent.glob("*/current/manifest.json")):
        raw = durable.read_json(path)
        if not isinstance(raw, dict) or raw.get("app") in (None, config.app):
            continue
        try:
            services = (raw.get("services") or {}).values()
            found.append({
                "app": raw["app"], "domains": (raw.get("settings") or {}).get("domains") or [],
                "release": raw.get("release"), "memory": sum(int(item.get("memory") or 0) for item in services),
            })  # fmt: skip
        except (AttributeError, TypeError, ValueError):
            continue  # something else that happens to lie at such a place
    return found


def drift(config: Config, release: Release) -> list[dict[str, str]]:
    """What of the current release and of live/ (paths begin with live/) is not as the manifest says."""
    outside = live.drift(config.live, release.manifest, certificate.installed(config))
    return releases.differences(release) + [{**item, "path": f"live/{item['path']}"} for item in outside]


def _certificate(config: Config) -> dict[str, Any] | None:
    try:
        return certificate.facts(config.tls / "fullchain.pem")
    except Failure:  # no openssl on a host that has not been set up
        return None


def _deep_health(config: Config, release: Release | None) -> dict[str, Any] | None:
    try:
        return probe.deep(config, release.manifest) if release else None
    except Failure:  # the engine does not answer, which "problems" says
        return None
