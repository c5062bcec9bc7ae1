"""Making the host run a release: files, containers, reloads, health. Forward, back, and after a reboot alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from host import certificate, compose, edge, health, live, loaded, migration, starting, switch
from host.config import Config
from host.events import Journal, Step
from host.health import Watch
from host.manifest import Service
from host.releases import Release
from host.switch import Handover


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


def roll(config: Config, release: Release, journal: Journal, *, recreate: bool = True) -> Handover:
    """Bring files and containers to `release` and wait until all is well. Raises Failure; safe to repeat.

    What is returned is ended by `switch.retire`. Without `recreate` containers stay as they were made, whatever their
    definition says now.
    """
    base(config, release, journal, recreate=recreate)
    return switch_over(config, release, journal, recreate=recreate)


def switch_over(config: Config, release: Release, journal: Journal, *, recreate: bool = True) -> Handover:
    """New containers beside the old ones for the services that nginx is pointed at, and nginx pointed at them."""
    targets = switch.beside(config, release, journal, recreate=recreate)
    return switch.over(config, release, targets, journal)


def base(
    config: Config, release: Release, journal: Journal, *, recreate: bool = True, without: Collection[str] = ()
) -> None:
    """Files, and every service that is not switched (databases, monitoring, nginx itself), save those `without`."""
    if mended := compose.mend(config):
        journal.emit(
            "output", "containers", "running", f"{mended} half-made containers of an earlier attempt tidied up"
        )
    migration.clear(config)
    edge.prepare(config, release.manifest)
    with journal.step("live", "writing the configuration") as step:
        sync(config, release, step)
    skipped = {*without, *release.manifest.switched}
    services = {name: item for name, item in release.manifest.services.items() if name not in skipped}
    _containers(config, release, services, journal, recreate=recreate)


def _containers(
    config: Config, release: Release, services: Mapping[str, Service], journal: Journal, *, recreate: bool
) -> None:
    manifest = release.manifest
    tls = certificate.installed(config)
    found = compose.containers(config)  # after the files: whatever starts from here on has read them
    with journal.step("restart", "restarting what reads changed files") as step:
        behind = loaded.stale(config, manifest, found, tls)
        hashes = compose.hashes(config, release) if recreate and behind else {}
        restarted = loaded.restart(config, manifest, found, hashes, step)
    before = compose.containers(config)
    lives = {item.life for item in before}
    with journal.step("containers", "starting the containers") as step:
        command = compose.up(config, release, sorted(services), recreate=recreate)
        after = starting.bring_up(config, release, command, before, step)
        started = sorted({item.service for item in after if item.life not in lives})
        if started:
            step.done(f"started: {', '.join(started)}", services=started)
        else:
            step.skip("every container runs as defined")
    fresh = {item.id for item in after if item.life not in lives}
    with journal.step("reload", "reloading what reads changed files") as step:
        fresh |= restarted | loaded.refresh(config, manifest, before, after, step, later=edge.pointed(manifest))
    # A start begins the container's count of restarts anew.
    baseline = {item.id: item.restarts for item in after if item.id not in fresh}
    with journal.step("health", "waiting until every service is well") as step:
        health.wait(config, services, manifest.settings.health_timeout, Watch(frozenset(fresh), baseline), step)
