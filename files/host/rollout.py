"""Making the host run a release: files, containers, reloads, health. Forward, back, and after a reboot alike."""

from __future__ import annotations

from host import certificate, compose, health, live, loaded
from host.config import Config
from host.errors import Failure, Status
from host.events import Journal, Step
from host.health import Watch
from host.manifest import Manifest
from host.releases import Release

_COMPOSE_EXTRA = 240.0  # seconds beyond the health timeout: stopping old containers within their grace periods
_LOOK = 20  # ticks (0.1 s each) between two looks at the containers while Compose works


def sync(config: Config, release: Release, step: Step) -> None:
    """Make live/ equal to the release, forgetting first that anybody has read what is going to change."""
    tls = certificate.installed(config)
    changes = live.compare(config.live, release.manifest, tls)
    loaded.forget(config, changes.services)
    live.sync(config.live, release, tls)
    if changes:
        count, readers = len(changes.write) + len(changes.remove), sorted(changes.services)
        step.done(f"{count} files changed, read by {', '.join(readers)}", services=readers)
    else:
        step.skip("files are as they should be")


def roll(config: Config, release: Release, journal: Journal, *, recreate: bool = True) -> None:
    """Bring files and containers to `release` and wait until all is well. Raises Failure; safe to repeat.

    Without `recreate` containers stay as they were made, whatever their definition says now.
    """
    manifest = release.manifest
    if mended := compose.mend(config):
        journal.emit(
            "output", "containers", "running", f"{mended} half-made containers of an earlier attempt tidied up"
        )
    with journal.step("live", "writing the configuration") as step:
        sync(config, release, step)
    found = compose.containers(config)  # after the files: whatever starts from here on has read them
    with journal.step("restart", "restarting what reads changed files") as step:
        behind = loaded.stale(config, manifest, found, certificate.installed(config))
        hashes = compose.hashes(config, release) if recreate and behind else {}
        restarted = loaded.restart(config, manifest, found, hashes, step)
    before = compose.containers(config)
    with journal.step("containers", "starting the containers") as step:
        _containers(config, release, before, step, recreate)
    after = compose.containers(config)
    lives = {item.life for item in before}
    fresh = {item.id for item in after if item.life not in lives}
    with journal.step("reload", "reloading what reads changed files") as step:
        fresh |= restarted | loaded.refresh(config, manifest, before, after, step)
    # A start begins the container's count of restarts anew.
    baseline = {item.id: item.restarts for item in after if item.id not in fresh}
    with journal.step("health", "waiting until every service is well") as step:
        health.wait(config, manifest, Watch(frozenset(fresh), baseline), step)


def _containers(config: Config, release: Release, before: list[compose.Container], step: Step, recreate: bool) -> None:
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

    said = compose.bring_up(
        config, release, recreate=recreate, deadline=manifest.settings.health_timeout + _COMPOSE_EXTRA,
        on_line=lambda line: step.output(line.strip()) if line.strip() else None, tick=look,
    )  # fmt: skip
    after = compose.containers(config)
    if said:
        fresh = [item for item in after if item.life not in lives]
        _dying(fresh, manifest, baseline)
        _depended_on(after, manifest, said)
        if "no space left on device" in said:
            raise Failure("the containers do not start: no space left on the disk", hint="free some: docker system df")
        raise Failure(
            f"the containers do not start: {said}",
            hint="look at: docker ps -a",
            status=Status.UNHEALTHY,
            data={"log": [said]},
        )
    started = sorted({item.service for item in after if item.life not in lives})
    if started:
        step.done(f"started: {', '.join(started)}", services=started)
    else:
        step.skip("every container runs as defined")


def _dying(fresh: list[compose.Container], manifest: Manifest, baseline: dict[str, int]) -> None:
    """Raise Failure for a container just started that is not going to live."""
    known = {name: service for name, service in manifest.services.items() if any(c.service == name for c in fresh)}
    watch = Watch(frozenset(item.id for item in fresh), baseline)
    for name, service in known.items():
        container = health.of_service(fresh, name)
        verdict = health.judge(container, service, watch, 0.0, 0.0)
        if verdict.state == "failed":
            raise health.unhealthy(container, name, verdict.reason)


def _depended_on(found: list[compose.Container], manifest: Manifest, said: str) -> None:
    """Raise Failure for the container Compose names in its last words, if it names one."""
    for item in found:
        if item.service in manifest.services and item.name and item.name in said:
            raise health.unhealthy(item, item.service, f"does not start ({said})")
