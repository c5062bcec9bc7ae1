"""Starting containers with Compose, and telling at once and precisely which one does not start."""

from __future__ import annotations

from collections.abc import Sequence

from host import compose, health
from host.compose import Container
from host.config import Config
from host.errors import Failure, Status
from host.events import Step
from host.health import Watch
from host.manifest import Manifest
from host.process import run
from host.releases import Release

_EXTRA = 240.0  # seconds beyond the health timeout: stopping old containers within their grace periods
_START = 60.0  # seconds for one `docker start`
_LOOK = 20  # ticks (0.1 s each) between two looks at the containers while Compose works


def again(container: Container) -> None:
    """Start a container that was stopped. Raises Failure with what the engine says."""
    done = run(["docker", "start", container.id], deadline=_START, check=False)
    if done.status != 0:
        raise health.unhealthy(container, container.service, f"does not start ({done.last_line})")


def bring_up(
    config: Config, release: Release, command: Sequence[str], before: Sequence[Container], step: Step
) -> list[Container]:
    """Run a Compose command that starts containers; returns all there are then. `before` are those there were.

    Raises Failure for a container just started that is not going to live, or with Compose's own last words.
    """
    manifest = release.manifest
    lives = {item.life for item in before}
    baseline = {item.id: item.restarts for item in before}
    ticks = [0]

    def look() -> None:
        """Compose waits for dependencies to become healthy; do not wait with it for one that never will."""
        ticks[0] += 1
        if ticks[0] % _LOOK == 0:
            found = [item for item in compose.containers(config) if item.life not in lives]
            _dying(found, manifest, baseline)

    done = run(
        command, deadline=manifest.settings.health_timeout + _EXTRA, check=False, tick=look,
        on_line=lambda line: step.output(line.strip()) if line.strip() else None,
    )  # fmt: skip
    after = compose.containers(config)
    if done.status != 0:
        said = done.last_line
        _dying([item for item in after if item.life not in lives], manifest, baseline)
        _depended_on(after, manifest, said)
        if "no space left on device" in said:
            raise Failure("the containers do not start: no space left on the disk", hint="free some: docker system df")
        raise Failure(
            f"the containers do not start: {said}",
            hint="look at: docker ps -a",
            status=Status.UNHEALTHY,
            data={"log": [said]},
        )
    return after


def _dying(fresh: Sequence[Container], manifest: Manifest, baseline: dict[str, int]) -> None:
    """Raise Failure for a container just started that is not going to live."""
    watch = Watch(frozenset(item.id for item in fresh), baseline)
    for item in fresh:
        service = manifest.services.get(item.service)
        if service and (verdict := health.judge(item, service, watch, 0.0, 0.0)).state == "failed":
            raise health.unhealthy(item, item.service, verdict.reason)


def _depended_on(found: Sequence[Container], manifest: Manifest, said: str) -> None:
    """Raise Failure for the container Compose names in its last words, if it names one."""
    for item in found:
        if item.service in manifest.services and item.name and item.name in said:
            raise health.unhealthy(item, item.service, f"does not start ({said})")
