"""Docker Compose and the containers of the project: argument lists, and what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from host.config import Config
from host.errors import Failure
from host.process import run
from host.releases import Release

_SERVICE = "com.docker.compose.service"
_HASH = "com.docker.compose.config-hash"
_HALF_MADE = re.compile(r"[0-9a-f]{12}_(?P<name>.+)")  # the name a container has until its predecessor is gone
_ONEOFF = "label=com.docker.compose.oneoff=False"
_QUERY = 60.0  # seconds: a loaded host is slow, a dead engine never answers


@dataclass(frozen=True)
class Container:
    """One container of the project, as Docker sees it."""

    service: str
    name: str
    image: str
    state: str  # created running paused restarting removing exited dead
    health: str  # "" without healthcheck, else starting healthy unhealthy
    exit_code: int
    restarts: int
    oom_killed: bool
    started: str  # RFC 3339, as Docker writes it
    id: str
    error: str = ""  # why Docker could not start it
    probe: str = ""  # what the last healthcheck said
    hash: str = ""  # of the definition it was made from
    image_id: str = ""
    addresses: dict[str, str] = field(default_factory=dict)  # network -> IPv4 address

    @property
    def life(self) -> tuple[str, str]:
        """Changes when the container is made anew or started again: then it has read its files again."""
        return self.id, self.started

    def public(self) -> dict[str, Any]:
        """As `status` shows it."""
        return {key: value for key, value in asdict(self).items() if key not in ("error", "probe", "hash", "addresses")}


def base(config: Config, release: Release) -> list[str]:
    """The beginning of every compose command line for a release."""
    return [
        "docker", "compose", "-p", config.app, "--project-directory", str(release.path),
        "-f", str(release.path / "docker-compose.prod.yml"), "--env-file", str(release.path / "env"),
    ]  # fmt: skip


_UP = ("up", "-d", "--no-build", "--pull", "never")  # never `down`: what did not change keeps running


def up(config: Config, release: Release, services: Sequence[str], *, recreate: bool) -> list[str]:
    """Make the containers of `services` those of the release; no other is started, stopped or made anew."""
    extra = [] if recreate else ["--no-recreate"]
    return [*base(config, release), *_UP, "--no-deps", *extra, *services]


def beside(config: Config, release: Release, counts: Mapping[str, int]) -> list[str]:
    """Have `counts` containers of each service: new ones are made of the release, those there stay as they are."""
    scales = [word for name, count in counts.items() for word in ("--scale", f"{name}={count}")]
    return [*base(config, release), *_UP, "--no-deps", "--no-recreate", *scales, *counts]


def stop(config: Config, release: Release) -> list[str]:
    """Stop the containers, each within its own grace period; nothing is removed."""
    return [*base(config, release), "stop"]


def definition(config: Config, release: Release) -> dict[str, Any]:
    """The compose file of the release as Compose resolves it. Holds secrets: never show it."""
    done = run([*base(config, release), "config", "--format", "json"], deadline=_QUERY, check=False)
    if done.status != 0:
        raise Failure(f"the compose file is not valid: {done.last_line}", hint="check files/docker-compose.prod.yml")
    value = json.loads(done.stdout)
    if not isinstance(value, dict):
        raise Failure("docker compose config did not answer with an object", hint="update the Compose plugin")
    return value


def hashes(config: Config, release: Release) -> dict[str, str]:
    """Compose's hash of each service's definition; a container that carries another one is going to be made anew."""
    done = run([*base(config, release), "config", "--hash", "*"], deadline=_QUERY, check=False)
    if done.status != 0:
        raise Failure(f"the compose file is not valid: {done.last_line}", hint="check files/docker-compose.prod.yml")
    return {words[0]: words[1] for line in done.text.splitlines() if len(words := line.split()) == 2}


def containers(config: Config) -> list[Container]:
    """The containers of the project, sorted by service; one `docker inspect` for all."""
    project = f"label=com.docker.compose.project={config.app}"
    listing = ["docker", "ps", "-aq", "--no-trunc", "--filter", project, "--filter", _ONEOFF]
    for _ in range(3):  # one may be removed between the two commands
        ids = run(listing, deadline=_QUERY).text.split()
        if not ids:
            return []
        done = run(["docker", "inspect", "--type", "container", *ids], deadline=_QUERY, check=False)
        if done.status == 0:
            return sorted((_container(raw) for raw in json.loads(done.stdout)), key=lambda c: (c.service, c.name))
    raise Failure(f"docker inspect failed: {done.last_line}", hint="look at: docker ps -a")


def volumes(config: Config) -> list[str]:
    """The names of the Docker volumes of the project."""
    project = f"label=com.docker.compose.project={config.app}"
    return sorted(run(["docker", "volume", "ls", "-q", "--filter", project], deadline=_QUERY).text.split())


def mending(found: list[Container]) -> list[list[str]]:
    """The commands that tidy up after a Compose that was killed while it replaced a container.

    It makes the new one under the old one's id and name, removes the old one, and renames the new one. What stands
    in its way the next time is taken away while the old one is there, and gets its name when that is gone.
    """
    names = {item.name for item in found}
    commands = []
    for item in found:
        match = _HALF_MADE.fullmatch(item.name)
        if match:
            there = match["name"] in names
            commands.append(["docker", "rm", "-f", item.id] if there else ["docker", "rename", item.id, match["name"]])
            names.add(match["name"])
    return commands


def mend(config: Config) -> int:
    """Tidy up after a Compose that was killed; returns how many containers that concerned."""
    commands = mending(containers(config))
    for command in commands:
        run(command, deadline=_QUERY)
    return len(commands)


def _container(raw: dict[str, Any]) -> Container:
    state = raw.get("State") or {}
    health = state.get("Health") or {}
    probes = health.get("Log") or [{}]
    status = str(health.get("Status", ""))
    return Container(
        service=str(raw["Config"].get("Labels", {}).get(_SERVICE, "")),
        name=str(raw.get("Name", "")).lstrip("/"),
        image=str(raw["Config"].get("Image", "")),
        state=str(state.get("Status", "")),
        health="" if status == "none" else status,
        exit_code=int(state.get("ExitCode", 0)),
        restarts=int(raw.get("RestartCount", 0)),
        oom_killed=bool(state.get("OOMKilled", False)),
        started=str(state.get("StartedAt", "")),
        id=str(raw["Id"]),
        error=str(state.get("Error", "")),
        hash=str(raw["Config"].get("Labels", {}).get(_HASH, "")),
        probe=str((probes[-1] or {}).get("Output", "")).strip(),
        image_id=str(raw.get("Image", "")),
        addresses={
            str(name): str(network["IPAddress"])
            for name, network in sorted(((raw.get("NetworkSettings") or {}).get("Networks") or {}).items())
            if (network or {}).get("IPAddress")
        },
    )


def log_tail(container: Container, lines: int = 20) -> list[str]:
    """The last lines the container wrote; [] when there is no telling."""
    try:
        done = run(["docker", "logs", "--tail", str(lines), container.id], deadline=20, check=False)
    except Failure:
        return []
    text = done.text + done.stderr  # an application may write to either
    return [line[:500] for line in text.splitlines() if line.strip()][-lines:]


def remove(container: Container, *, deadline: float = _QUERY) -> None:
    """Stop a container (SIGTERM, then its own grace period) and remove it. Gone already is as good."""
    run(["docker", "stop", container.id], deadline=deadline, check=False)
    done = run(["docker", "rm", "-f", container.id], deadline=_QUERY, check=False)
    if done.status != 0 and "No such container" not in done.stderr:
        raise Failure(f"{container.name} cannot be removed: {done.last_line}", hint="look at: docker ps -a")
