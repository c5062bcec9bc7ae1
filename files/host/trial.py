"""Trying a service's new configuration in a throwaway container, before the running one can see it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host import compose, durable, edge, live
from host.certificate import EDGE
from host.config import Config
from host.errors import Failure
from host.events import Step
from host.manifest import Service
from host.process import run
from host.releases import Release

_DEADLINE = 120.0  # seconds for one check


def argv(image: str, service: Service, definition: dict[str, Any], staged: Mapping[Path, Path]) -> list[str]:
    """The command line that runs the check of a service with its mounts; `staged` says what is taken from where.

    Everything is mounted read-only, named volumes are left out: a trial must not be able to touch data.
    """
    mounts: list[str] = []
    for volume in definition.get("volumes") or []:
        if volume.get("type") == "bind":
            source = Path(volume["source"])
            for root, copy in staged.items():
                if source.is_relative_to(root):
                    source = copy / source.relative_to(root)
            mounts += ["--mount", f"type=bind,source={source},target={volume['target']},readonly"]
        elif volume.get("type") == "tmpfs":
            mounts += ["--tmpfs", str(volume["target"])]
    temporary = [str(item) for item in definition.get("tmpfs") or []]
    if not any(place.split(":")[0] == "/tmp" for place in temporary):  # noqa: S108  (inside the container)
        temporary.append("/tmp")  # noqa: S108
    for place in temporary:
        mounts += ["--tmpfs", place]
    user = ["--user", service.user] if service.user else []
    return [
        "docker", "run", "--rm", "--pull", "never", "--network", "none", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--log-driver", "none", *user, *mounts,
        "--entrypoint", service.check[0], image, *service.check[1:],
    ]  # fmt: skip


def check(config: Config, release: Release, names: list[str], tls: bool, step: Step) -> None:
    """Run the checks of the services `names` against the release. Raises Failure with what the check said."""
    candidates = [name for name in names if release.manifest.services[name].check]
    if not candidates:
        step.skip("no configuration changed")
        return
    services = compose.definition(config, release).get("services") or {}
    with _staged(config, edge.text_for(config, release.manifest)) as staged:
        live.sync(staged[config.live], release, tls)
        for name in candidates:
            _run(release, name, services.get(name) or {}, staged)
            step.output(f"{name} accepts its configuration", service=name)
    step.done(f"configuration of {', '.join(candidates)} checked")


def check_edge(config: Config, release: Release, upstreams: bytes) -> None:
    """Run nginx's check on live/ as it is and the upstreams file `upstreams`. Raises Failure with what it said."""
    if release.manifest.services[EDGE].check:
        services = compose.definition(config, release).get("services") or {}
        with _staged(config, upstreams) as staged:
            _run(release, EDGE, services.get(EDGE) or {}, {config.upstreams: staged[config.upstreams]})


@contextmanager
def _staged(config: Config, upstreams: bytes) -> Iterator[dict[Path, Path]]:
    """Copies to try things on: {place: its copy}. Gone afterwards."""
    shutil.rmtree(config.staging, ignore_errors=True)  # of an apply that was killed
    try:
        config.staging.mkdir(mode=0o700)
        staged = {config.live: config.staging / "live", config.upstreams: config.staging / "upstreams"}
        for path in staged.values():
            path.mkdir()
            path.chmod(0o755)
        durable.write(staged[config.upstreams] / edge.FILE, upstreams, 0o644)
        yield staged
    finally:
        shutil.rmtree(config.staging, ignore_errors=True)


def _run(release: Release, name: str, definition: dict[str, Any], staged: Mapping[Path, Path]) -> None:
    service = release.manifest.services[name]
    done = run(argv(service.image, service, definition, staged), deadline=_DEADLINE, check=False)
    if done.status != 0:
        said = [line for line in (done.text + done.stderr).splitlines() if line.strip()]
        raise Failure(
            f"{name} does not accept its new configuration: {_telling(said)}",
            hint="correct it and deploy again",
            data={"service": name, "log": said[-20:], "check": list(service.check)},
        )


def _telling(said: list[str]) -> str:
    """The line that names the mistake: nginx writes "[emerg] ..." before its summary, others end with it."""
    for line in said:
        if any(sign in line for sign in ("[emerg]", "FAILED", "error", "Error", "level=error")):
            return line
    return said[-1] if said else json.dumps("no reason given")
