"""Trying a service's new configuration in a throwaway container, before the running one can see it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from host import compose, live
from host.config import Config
from host.errors import Failure
from host.events import Step
from host.manifest import Service
from host.process import run
from host.releases import Release

_DEADLINE = 120.0  # seconds for one check


def argv(image: str, service: Service, definition: dict[str, Any], live_root: Path, staged: Path) -> list[str]:
    """The command line that runs the check of a service with its mounts, those of live/ taken from `staged`.

    Everything is mounted read-only, named volumes are left out: a trial must not be able to touch data.
    """
    mounts: list[str] = []
    for volume in definition.get("volumes") or []:
        if volume.get("type") == "bind":
            source = Path(volume["source"])
            if source.is_relative_to(live_root):
                source = staged / source.relative_to(live_root)
            mounts += ["--mount", f"type=bind,source={source},target={volume['target']},readonly"]
        elif volume.get("type") == "tmpfs":
            mounts += ["--tmpfs", str(volume["target"])]
    places = [str(item) for item in definition.get("tmpfs") or []]
    if not any(place.split(":")[0] == "/tmp" for place in places):  # noqa: S108  (inside the container)
        places.append("/tmp")  # noqa: S108
    for place in places:
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
    shutil.rmtree(config.staging, ignore_errors=True)  # of an apply that was killed
    try:
        config.staging.mkdir(mode=0o700)
        live.sync(config.staging, release, tls)
        for name in candidates:
            service = release.manifest.services[name]
            definition = services.get(name) or {}
            command = argv(service.image, service, definition, config.live, config.staging)
            done = run(command, deadline=_DEADLINE, check=False)
            if done.status != 0:
                said = [
                    line for line in (done.stdout.decode("utf-8", "replace") + done.stderr).splitlines() if line.strip()
                ]
                raise Failure(
                    f"{name} does not accept its new configuration: {_telling(said)}",
                    hint="correct it and deploy again",
                    data={"service": name, "log": said[-20:], "check": list(service.check)},
                )
            step.output(f"{name} accepts its configuration", service=name)
    finally:
        shutil.rmtree(config.staging, ignore_errors=True)
    step.done(f"configuration of {', '.join(candidates)} checked")


def _telling(said: list[str]) -> str:
    """The line that names the mistake: nginx writes "[emerg] ..." before its summary, others end with it."""
    for line in said:
        if any(sign in line for sign in ("[emerg]", "FAILED", "error", "Error", "level=error")):
            return line
    return said[-1] if said else json.dumps("no reason given")
