"""What every running container has read of live/, so that a kill between writing files and reloading is repaired."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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


def note(config: Config, manifest: Manifest, name: str, container: Container) -> None:
    """The running container of service `name` has read what is in live/ now."""
    digest = live.digest(manifest.services[name], live.files(manifest, certificate.installed(config)))
    known = _read(config)
    entry = {"id": container.id, "digest": digest}
    if known.get(name) != entry:
        durable.write_json(config.state / _FILE, {**known, name: entry})


def stale(config: Config, manifest: Manifest, found: Sequence[Container], tls: bool) -> list[str]:
    """The services whose running container may not have read what is in live/ now. Those that are switched get a new
    container instead, and are not among them."""
    known, wanted = _read(config), live.files(manifest, tls)
    names = []
    for name, service in sorted(manifest.services.items()):
        container = of_service(found, name)
        if container is None or service.switch or not live.prefixes(service):
            continue
        if known.get(name) != {"id": container.id, "digest": live.digest(service, wanted)}:
            names.append(name)
    return names


def restart(
    config: Config, manifest: Manifest, found: Sequence[Container], hashes: Mapping[str, str], step: Step
) -> set[str]:
    """Restart the running services that have not read live/ and cannot reload; returns the ids of their containers.

    Done before Compose brings up the rest: a database with a new password file but the old password in memory fails
    its healthcheck, and Compose would wait for it in vain. Those whose definition differs from `hashes` (service ->
    Compose's hash) are left to Compose, which makes them anew.
    """
    restarted = set()
    for name in stale(config, manifest, found, certificate.installed(config)):
        container = of_service(found, name)
        if manifest.services[name].reload or container is None or container.state != "running":
            continue
        if hashes.get(name, container.hash) == container.hash:
            _take(config, manifest, name, container, step)
            restarted.add(container.id)
    _tell(step, [f"{item.service} restarted" for item in found if item.id in restarted], "nothing to restart")
    return restarted


def refresh(
    config: Config, manifest: Manifest, before: Sequence[Container], after: Sequence[Container], step: Step,
    *, later: Collection[str] = (),
) -> set[str]:  # fmt: skip
    """Reload or restart the services that have not read live/ yet; returns the ids of the restarted containers.

    Containers that started between `before` and `after` have read it. The services in `later` are left alone.
    Raises Failure when a service refuses.
    """
    tls, lives = certificate.installed(config), {item.life for item in before}
    restarted, did = set(), []
    for name in stale(config, manifest, after, tls):
        container = of_service(after, name)
        if container is None or name in later:
            continue
        if container.life in lives and container.state == "running":
            did.append(_take(config, manifest, name, container, step))
            if not manifest.services[name].reload:
                restarted.add(container.id)
        else:
            note(config, manifest, name, container)
    _tell(step, did, "nothing to reload")
    return restarted


def _take(config: Config, manifest: Manifest, name: str, container: Container, step: Step) -> str:
    """Have one running service read its files; returns what was done."""
    service = manifest.services[name]
    if service.reload:
        _run(["docker", "exec", container.id, *service.reload], name, "reloaded")
    else:
        _run(["docker", "restart", container.id], name, "restarted")
    note(config, manifest, name, container)
    did = f"{name} {'reloaded' if service.reload else 'restarted'}"
    step.output(did, service=name)
    return did


def _tell(step: Step, did: list[str], nothing: str) -> None:
    if did:
        step.done(", ".join(did), changed=did)
    else:
        step.skip(nothing)


def _run(argv: list[str], name: str, what: str) -> None:
    done = run(argv, deadline=_DEADLINE, check=False)
    if done.status != 0:
        raise Failure(
            f"{name} could not be {what}: {done.last_line}", hint=f"read its log: docker logs {name}",
            status=Status.UNHEALTHY, data={"service": name, "log": done.stderr.splitlines()[-20:]},
        )  # fmt: skip
