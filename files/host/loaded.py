"""What every running container has read of live/, so that a kill between writing files and reloading is repaired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from host import certificate, durable, live
from host.compose import Container
from host.config import Config
from host.errors import Failure, Status
from host.events import Step
from host.health import of_service
from host.manifest import Manifest
from host.process import run

_FILE = "loaded.json"
_DEADLINE = 180.0  # seconds for one reload or restart: a restart may use the whole grace period


def _read(config: Config) -> dict[str, Any]:
    value = durable.read_json(config.state / _FILE)
    return value if isinstance(value, dict) else {}


def forget(config: Config, services: Iterable[str]) -> None:
    """Before files of these services are touched: from now on nobody knows what they have read."""
    known = _read(config)
    if any(known.pop(name, None) is not None for name in services):
        durable.write_json(config.state / _FILE, known)


def _note(config: Config, name: str, container: Container, digest: str) -> None:
    known = _read(config)
    entry = {"id": container.id, "digest": digest}
    if known.get(name) != entry:
        durable.write_json(config.state / _FILE, {**known, name: entry})


def stale(config: Config, manifest: Manifest, found: Sequence[Container], tls: bool) -> list[str]:
    """The services whose running container may not have read what is in live/ now."""
    known, wanted = _read(config), live.files(manifest, tls)
    names = []
    for name, service in sorted(manifest.services.items()):
        container = of_service(found, name)
        if container is None or not live.prefixes(service):
            continue
        if known.get(name) != {"id": container.id, "digest": live.digest(service, wanted)}:
            names.append(name)
    return names


def refresh(
    config: Config, manifest: Manifest, before: Sequence[Container], after: Sequence[Container], step: Step
) -> set[str]:
    """Reload or restart the services that have not read live/ yet; returns the ids of the restarted containers.

    Containers that started between `before` and `after` have read it. Raises Failure when a service refuses.
    """
    tls = certificate.installed(config)
    lives = {item.life for item in before}
    wanted = live.files(manifest, tls)
    restarted, did = set(), []
    for name in stale(config, manifest, after, tls):
        service, container = manifest.services[name], of_service(after, name)
        if container is None:
            continue
        if container.life in lives and container.state == "running":
            if service.reload:
                _run(["docker", "exec", container.id, *service.reload], name, "reloaded")
                did.append(f"{name} reloaded")
            else:
                _run(["docker", "restart", container.id], name, "restarted")
                restarted.add(container.id)
                did.append(f"{name} restarted")
            step.output(did[-1], service=name)
        _note(config, name, container, live.digest(service, wanted))
    if did:
        step.done(", ".join(did), changed=did)
    else:
        step.skip("nothing to reload")
    return restarted


def _run(argv: list[str], name: str, what: str) -> None:
    done = run(argv, deadline=_DEADLINE, check=False)
    if done.status != 0:
        raise Failure(
            f"{name} could not be {what}: {done.last_line}", hint=f"read its log: docker logs {name}",
            status=Status.UNHEALTHY, data={"service": name, "log": done.stderr.splitlines()[-20:]},
        )  # fmt: skip
