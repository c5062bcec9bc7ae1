"""Applying a release: one transaction. Either it serves at the end, or the one before does."""

from __future__ import annotations

import time
from dataclasses import dataclass

from host import certificate, compose, images, live, loaded, releases, rollout, state, stopping, systemd, trial
from host.config import Config
from host.errors import Failure, Terminated, as_failure
from host.events import Journal
from host.releases import Release


@dataclass
class _Progress:
    """How far the transaction has come: decides whether a failure has something to undo."""

    touched: bool = False  # live/ or containers may differ from the current release


def apply(config: Config, name: str, journal: Journal) -> dict[str, object]:
    """Apply release `name`; the lock is held by the caller. Returns the data of the done event.

    Raises Failure. Its data tells what serves now: {"serving": release or null, "applied": bool, "reverted": bool}.
    A missing certificate is a Failure too, but of a release that stays applied: the site answers over http, and
    applying the same release again tries again.
    """
    before = releases.current_id(config)
    progress = _Progress()
    try:
        release = releases.load(config, name)
        refusal = _forward(config, release, journal, progress)
    except Exception as error:
        failure = as_failure(error, f"applying release {name}")
        with stopping.deferred():
            _record(config, name, "failed", failure.cause)
            reverted = progress.touched and _back(config, name, before, journal)
        failure.data.update({"serving": before, "applied": False, "reverted": reverted})
        if not progress.touched and before:
            journal.emit("output", "revert", "skipped", f"nothing was changed: release {before} serves on")
        raise failure from error
    if refusal is not None:
        _record(config, name, "incomplete", refusal.cause)
        refusal.data.update({"serving": release.id, "applied": True, "reverted": False})
        raise refusal
    _record(config, name, "done", "")
    return {"release": release.id, "serving": release.id, "previous": before if before != release.id else None}


def _record(config: Config, name: str, result: str, cause: str) -> None:
    try:
        state.finish(config, name, result, cause)
    except OSError:
        pass  # a full disk must not hide the true cause; the events tell the same


def _forward(config: Config, release: Release, journal: Journal, progress: _Progress) -> Failure | None:
    """Everything up to the new release serving; returns why it has no certificate, if so."""
    manifest = release.manifest
    with journal.step("verify", f"verifying release {release.id}") as step:
        releases.verify(release)
        step.done(f"release {release.id} is complete ({len(manifest.files)} files)")
    with journal.step("images", "looking for images") as step:
        images.ensure(config, release, step)
    with journal.step("check", "checking changed configuration") as step:
        trial.check(config, release, _changed(config, release), certificate.installed(config), step)
    state.mark(config, release.id)
    progress.touched = True
    rollout.roll(config, release, journal)
    refusal = _certificate(config, release, journal)
    with journal.step("units", "installing systemd units") as step:
        systemd.install(config, release, step)
    with stopping.deferred(), journal.step("switch", "switching to the release") as step:
        _switch(config, release.id)
        progress.touched = False
        step.done(f"release {release.id} serves")
    _afterwards(config, release, journal)
    return refusal


def _changed(config: Config, release: Release) -> list[str]:
    """The services whose configuration is going to change, or whose container may not have read the present one."""
    tls = certificate.installed(config)
    changes = live.compare(config.live, release.manifest, tls)
    behind = loaded.stale(config, release.manifest, compose.containers(config), tls)
    return sorted(changes.services | set(behind))


def _switch(config: Config, name: str) -> None:
    if releases.current_id(config) != name:
        releases.switch(config, name)
    releases.remember(config, name, time.time())
    state.unmark(config)


def _certificate(config: Config, release: Release, journal: Journal) -> Failure | None:
    """Have a certificate that covers the domains, and nginx serving it; returns why there is none."""
    refusal = None
    with journal.step("certificate", "looking at the certificate") as step:
        why = certificate.needed(config, release.manifest, time.time())
        if not release.manifest.settings.domains or not release.manifest.settings.acme_server:
            step.skip("no domain or no certificate authority is set")
        elif why:
            step.output(f"{why}: asking {release.manifest.settings.acme_server}")
            try:
                certificate.obtain(config, release.manifest, step)
                certificate.reload_edge(config, release.manifest)
            except Failure as failure:
                if isinstance(failure, Terminated):
                    raise
                refusal = failure
                step.state, step.message = "failed", failure.cause
        elif certificate.lineage(config).is_dir() and certificate.install(
            config, release.manifest, certificate.lineage(config)
        ):
            step.done(
                f"the renewed certificate was not in use yet: {certificate.reload_edge(config, release.manifest)}"
            )
        else:
            step.skip("the certificate covers the domains")
    if refusal is not None:
        journal.warn(f"{refusal.cause}; the site goes on without it", "certificate", **refusal.data)
    if certificate.installed(config) and live.compare(config.live, release.manifest, True):
        _serve_tls(config, release, journal)
    return refusal


def _serve_tls(config: Config, release: Release, journal: Journal) -> None:
    """The files that need a certificate go live, checked first like any others."""
    with journal.step("tls", "serving TLS") as step:
        changes = live.compare(config.live, release.manifest, True)
        trial.check(config, release, sorted(changes.services), True, step)
        found = compose.containers(config)
        rollout.sync(config, release, step)
        loaded.refresh(config, release.manifest, found, found, step)
        step.done("TLS is served")


def _afterwards(config: Config, release: Release, journal: Journal) -> None:
    """Tidying up; nothing here can make a deploy fail that already serves."""
    try:
        with journal.step("retention", "removing what is no longer needed") as step:
            live.prune(config.live, release.manifest, certificate.installed(config))
            removed = _retain(config, release)
            if removed:
                step.done(f"removed {len(removed)} old releases", removed=removed)
            else:
                step.skip("nothing to remove")
        systemd.hand_over(config, release)
    except Exception as error:
        journal.warn(f"tidying up failed: {error}", "retention")


def _retain(config: Config, release: Release) -> list[str]:
    releases.sweep(config)
    applied = [str(item.get("release")) for item in releases.history(config)]
    here = releases.ids(config)
    doomed = releases.expendable(here, applied, release.id, release.manifest.settings.keep)
    gone = set().union(*(_images(config, name) for name in doomed))
    for name in doomed:
        releases.remove(config, name)
    images.remove(gone - set().union(*(_images(config, name) for name in here if name not in doomed)))
    return doomed


def _images(config: Config, name: str) -> set[str]:
    try:
        return {service.image for service in releases.load(config, name).manifest.services.values()}
    except Failure:
        return set()


def _back(config: Config, failed: str, before: str | None, journal: Journal) -> bool:
    """Let the current release serve again; True when it does. Never raises: the first cause is what counts."""
    if before is None:
        journal.warn("there is no earlier release to go back to: the containers stay as they are, for a look", "revert")
        return False
    if before == failed:
        journal.warn("this release is the current one already: there is nothing to go back to", "revert")
        return False
    try:
        with journal.step("revert", f"going back to release {before}") as step:
            old = releases.load(config, before)
            rollout.roll(config, old, journal)
            systemd.install(config, old, step)
            state.unmark(config)
            step.done(f"release {before} serves again")
        return True
    except Exception as error:
        journal.warn(f"going back to release {before} failed as well: {error}", "revert")
        return False
