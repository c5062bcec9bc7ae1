"""New containers beside the old ones: which is to serve, making it, waiting for it, and ending what it replaces."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from host import certificate, compose, durable, edge, health, live, loaded, starting, trial
from host.certificate import EDGE
from host.compose import Container
from host.config import Config
from host.errors import Failure
from host.events import Journal, Step
from host.health import Watch
from host.manifest import Service
from host.releases import Release

_MADE = "made.json"
_IGNORED = ("env_file", "depends_on", "scale", "deploy")  # say nothing about the container itself
_STOP = 600.0  # seconds: a container gets the grace period of its own definition
_MARGIN = 5.0  # seconds nginx gets beyond the drain time to end its old workers


@dataclass
class Handover:
    """What a switch leaves to be ended: containers that serve no more, and nginx's workers that still use them."""

    targets: dict[str, Container] = field(default_factory=dict)
    old: list[Container] = field(default_factory=list)
    workers: edge.Workers = edge.NOBODY
    began: float = 0.0  # monotonic


def definitions(config: Config, release: Release) -> dict[str, str]:
    """A digest of what each switched service's container is made from, environment included.

    Compose's own hash will not do: it is another one when there is more than one container.
    """
    services = compose.definition(config, release).get("services") or {}
    files = live.files(release.manifest, certificate.installed(config))
    return {
        name: _digest(services.get(name) or {}, service, live.digest(service, files))
        for name, service in release.manifest.services.items()
        if service.switch
    }


def _digest(definition: Mapping[str, Any], service: Service, files: str) -> str:
    """`files` is the digest of what it reads from live/: a change there makes a new container, too."""
    plain = {k: v for k, v in definition.items() if k not in _IGNORED and not k.startswith("x-")}
    facts = [plain, service.pin.id if service.pin else None, files]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _made(config: Config) -> dict[str, str]:
    value = durable.read_json(config.state / _MADE)
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _note(config: Config, made: Mapping[str, str], there: Sequence[Container]) -> None:
    kept = {item.id for item in there}
    durable.write_json(config.state / _MADE, {key: value for key, value in made.items() if key in kept})


def choose(
    found: Sequence[Container], service: str, serving: str, wanted: str | None, made: Mapping[str, str]
) -> Container | None:
    """The container of `service` that may serve the release: made from the `wanted` definition (None: any will do).

    Of several the one nginx is pointed at (`serving`, a name), then one that runs.
    """
    fitting = [item for item in found if item.service == service and (wanted is None or made.get(item.id) == wanted)]
    return min(fitting, key=lambda c: (c.name != serving, c.state != "running", c.health != "healthy"), default=None)


def beside(config: Config, release: Release, journal: Journal, *, recreate: bool) -> dict[str, Container]:
    """Have a healthy container of the release for each switched service; those that serve now go on.

    Without `recreate` what serves is taken as it is. Raises Failure naming the first that does not become healthy.
    """
    manifest = release.manifest
    if not manifest.switched:
        return {}
    with journal.step("beside", "starting new containers beside the old ones") as step:
        wanted = definitions(config, release) if recreate else dict.fromkeys(manifest.switched)
        chosen, fresh = _provide(config, release, wanted, step)
        ids = frozenset(item.id for item in chosen.values())
        services = {name: manifest.services[name] for name in chosen}
        # A start begins the container's count of restarts anew.
        baseline = {item.id: item.restarts for item in chosen.values() if item.id not in fresh}
        watch = Watch(frozenset(fresh), baseline)
        health.wait(config, services, manifest.settings.health_timeout, watch, step, only=ids)
        if fresh:
            names = [item.name for item in chosen.values() if item.id in fresh]
            step.done(f"healthy: {', '.join(names)}", started=names)
        else:
            step.skip("the containers that serve are those of the release")
    now = {item.id: item for item in compose.containers(config)}  # with the addresses they have got meanwhile
    return {name: now.get(item.id, item) for name, item in chosen.items()}


def _provide(
    config: Config, release: Release, wanted: Mapping[str, str | None], step: Step
) -> tuple[dict[str, Container], set[str]]:
    """The container of each service, made or started if need be, and the ids of those that just began."""
    serving = edge.serving(config)
    found, made = compose.containers(config), _made(config)
    chosen = {name: choose(found, name, serving.get(name, ""), wanted[name], made) for name in wanted}
    keep = {item.id for item in chosen.values() if item} | {c.id for c in found if c.name == serving.get(c.service)}
    for item in found:
        if item.service in wanted and item.id not in keep:
            step.output(f"removing {item.name}, which is left over from an earlier attempt")
            compose.remove(item)
    fresh: set[str] = set()
    for stopped in [item for item in chosen.values() if item and item.state != "running"]:
        starting.again(stopped)
        fresh.add(stopped.id)
    there = [item for item in found if item.id in keep]
    counts = {
        name: 1 + sum(item.service == name for item in there) for name, container in chosen.items() if not container
    }
    if counts:
        before = {item.id for item in there}
        starting.bring_up(config, release, compose.beside(config, release, counts), found, step)
        for new in compose.containers(config):
            if new.service in counts and new.id not in before:
                chosen[new.service] = new
                fresh.add(new.id)
                made[new.id] = wanted[new.service] or ""
        _note(config, made, compose.containers(config))
    missing = sorted(name for name, item in chosen.items() if item is None)
    if missing:
        raise Failure(f"Compose made no new container of {missing[0]}", hint="look at: docker ps -a")
    return {name: item for name, item in chosen.items() if item}, fresh


def over(config: Config, release: Release, targets: dict[str, Container], journal: Journal) -> Handover:
    """Point nginx at `targets`. From here on the old ones get no new requests, and finish what they have."""
    manifest = release.manifest
    if not edge.pointed(manifest):
        return Handover(targets)
    with journal.step("switch", "pointing nginx at them") as step:
        nginx = health.of_service(compose.containers(config), EDGE)
        places = {
            name: edge.Target(item.name, manifest.switched[name].port, _address(item, nginx))
            for name, item in targets.items()
        }
        workers = edge.point(config, release, places, step, lambda text: trial.check_edge(config, release, text))
        if nginx:
            loaded.note(config, manifest, EDGE, nginx)
    ids = {item.id for item in targets.values()}
    old = [item for item in compose.containers(config) if item.service in targets and item.id not in ids]
    return Handover(targets, old, workers, time.monotonic())


def _address(container: Container, nginx: Container | None) -> str:
    """Its address on a network that nginx is on as well."""
    shared = [name for name in container.addresses if nginx is None or name in nginx.addresses]
    if not shared:
        raise Failure(
            f"nginx and {container.name} have no network in common", hint="check files/docker-compose.prod.yml"
        )
    return container.addresses[shared[0]]


def retire(config: Config, release: Release, handover: Handover, journal: Journal) -> None:
    """Let the old containers finish, within the drain time; then stop and remove them, and those of no service."""
    orphans = [item for item in compose.containers(config) if item.service not in release.manifest.services]
    if not handover.old and not orphans:
        return
    drain = release.manifest.settings.drain_time
    with journal.step("drain", f"letting running requests finish (at most {drain:.0f} s)") as step:
        ends, told = handover.began + drain + _MARGIN, 0
        while left := edge.remaining(handover.workers):
            if time.monotonic() > ends:
                step.output(f"{left} nginx workers were not done after {drain:.0f} s")
                break
            if left != told:
                step.output(f"{left} nginx workers still have open requests or WebSockets")
                told = left
            time.sleep(0.2)
        for item in [*handover.old, *orphans]:
            compose.remove(item, deadline=_STOP)
        names = [item.name for item in [*handover.old, *orphans]]
        step.done(f"stopped and removed {', '.join(names)}", removed=names)
    _note(config, _made(config), compose.containers(config))
