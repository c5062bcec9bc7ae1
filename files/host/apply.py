"""Applying a release: one transaction. Either it serves at the end, or the one before does."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from host import (
    certificate,
    compose,
    edge,
    images,
    live,
    loaded,
    migration,
    probe,
    releases,
    retention,
    rollout,
    state,
    stopping,
    switch,
    systemd,
    tls,
    trial,
)
from host.certificate import EDGE
from host.config import Config
from host.errors import Failure, Status, Terminated, as_failure
from host.events import Journal
from host.health import of_service
from host.probe import Probe
from host.releases import Release
from host.switch import Handover


@dataclass
class _Progress:
    """How far the transaction has come: decides whether a failure has something to undo."""

    touched: bool = False  # live/, containers or nginx may differ from the current release
    facts: dict[str, Any] = field(default_factory=dict)  # what the result of the release is to remember


def apply(config: Config, name: str, journal: Journal, *, kind: str = "deploy", by: str = "") -> dict[str, object]:
    """Apply release `name`; the lock is held by the caller. Returns the data of the done event.

    `kind` "rollback" takes only a release that has served before, and runs no migration.

    Raises Failure. Its data tells what serves now: {"serving": release or null, "applied": bool, "reverted": bool}.
    A missing certificate is a Failure too, but of a release that stays applied: the site answers over http, and
    applying the same release again tries again.
    """
    before = releases.current_id(config)
    progress = _Progress(facts={"kind": kind, "by": by})
    try:
        if kind == "rollback":
            _has_served(config, name)
        release = releases.load(config, name)
        progress.facts["plan"] = release.manifest.plan
        refusal = _forward(config, release, kind, journal, progress)
    except Exception as error:
        failure = as_failure(error, f"applying release {name}")
        with stopping.deferred():
            if failure.status != Status.REFUSED:
                _record(config, name, "failed", failure.cause, progress)
            reverted = progress.touched and _back(config, name, before, journal)
        failure.data.update({"serving": before, "applied": False, "reverted": reverted})
        if not progress.touched and before:
            journal.emit("output", "revert", "skipped", f"nothing was changed: release {before} serves on")
        if progress.facts.get("migrated"):
            journal.warn(
                f"the migration of {name} has run and stays; the database as it was before is backup "
                f"{progress.facts['backup']}"
            )
        raise failure from error
    if refusal is not None:
        _record(config, name, "incomplete", refusal.cause, progress)
        refusal.data.update({"serving": release.id, "applied": True, "reverted": False})
        raise refusal
    _record(config, name, "healthy", "", progress)
    previous = before if before != release.id else None
    return {"release": release.id, "serving": release.id, "previous": previous, "switch": progress.facts.get("switch")}


def still_after(config: Config, expected: str) -> None:
    """Raise Failure (REFUSED) when another release serves than the plan was made for ("" asks nothing)."""
    now = releases.current_id(config) or "none"
    if expected and now != expected:
        raise Failure(
            f"the host has moved since the plan was made: release {now} serves, not {expected}",
            hint="look at the new plan: fab plan", status=Status.REFUSED,
        )  # fmt: skip


def accepted(config: Config, name: str) -> list[str]:
    """The rules that were accepted when release `name` was made; [] when it cannot be read."""
    try:
        return list(releases.load(config, name).manifest.accepted)
    except Failure:
        return []


def _has_served(config: Config, name: str) -> None:
    if name not in releases.ids(config):
        raise Failure(f"release {name[:100]} is not on this host", hint="see which are: fab releases",
                      status=Status.REFUSED)  # fmt: skip
    if not releases.served(config, name):
        raise Failure(
            f"release {name} has never served on this host: it is nothing to go back to",
            hint="see which have: fab releases", status=Status.REFUSED,
        )  # fmt: skip


def _record(config: Config, name: str, result: str, cause: str, progress: _Progress) -> None:
    try:
        releases.note(config, name, result, cause, **progress.facts)
        state.finish(config, name, "done" if result == "healthy" else result, cause)
    except OSError:
        pass  # a full disk must not hide the true cause; the events tell the same


def _forward(config: Config, release: Release, kind: str, journal: Journal, progress: _Progress) -> Failure | None:
    """Everything up to the new release serving; returns why it has no certificate, if so."""
    manifest = release.manifest
    with journal.step("verify", f"verifying release {release.id}") as step:
        releases.verify(release)
        step.done(f"release {release.id} is complete ({len(manifest.files)} files)")
    if manifest.settings.domains and manifest.settings.acme_server:
        with journal.step("renewal", "looking at certbot's timer") as step:
            tls.watch_timer(step)
    with journal.step("images", "looking for images") as step:
        images.ensure(config, release, step)
    with journal.step("check", "checking changed configuration") as step:
        trial.check(config, release, _changed(config, release), certificate.installed(config), step)
    due = kind == "deploy" and migration.due(config, release)
    state.mark(config, release.id)
    progress.touched = True
    if due:
        # a backend that is not switched is not made anew before its database is migrated
        rollout.base(config, release, journal, without=(migration.SERVICE,))
        progress.facts.update(migration.run(config, release, journal))
    if not due or migration.SERVICE not in manifest.switched:
        rollout.base(config, release, journal)
    with probe.of(config, manifest) as watching:
        handover = rollout.switch_over(config, release, journal)
        refusal = _certificate(config, release, journal)
        _satisfied(watching, journal)
        with journal.step("units", "installing systemd units") as step:
            systemd.install(config, release, step)
        with stopping.deferred(), journal.step("current", "making it the current release") as step:
            _current(config, release.id)
            progress.touched = False
            _record(config, release.id, "healthy" if refusal is None else "incomplete", "", progress)
            step.done(f"release {release.id} serves")
        _retire(config, release, handover, journal)
        tally = watching.tally()
    if tally.requests:
        progress.facts["switch"] = tally.public()
        if tally.failed:
            journal.warn(
                f"{tally.failed} of {tally.requests} requests failed meanwhile: {tally.first_failure}", "probe"
            )
    _afterwards(config, release, journal)
    return refusal


def _changed(config: Config, release: Release) -> list[str]:
    """The services whose configuration is going to change, or whose container may not have read the present one."""
    tls = certificate.installed(config)
    changes = live.compare(config.live, release.manifest, tls)
    behind = loaded.stale(config, release.manifest, compose.containers(config), tls)
    return sorted(changes.services | set(behind))


def _satisfied(watching: Probe, journal: Journal) -> None:
    """The new containers must be seen to answer through nginx before anything is given up for them."""
    with journal.step("probe", "asking the site through nginx") as step:
        if watching.active:
            watching.satisfied(step)
        else:
            step.skip("there is no certificate yet")


def _current(config: Config, name: str) -> None:
    if releases.current_id(config) != name:
        releases.switch(config, name)
    releases.remember(config, name, time.time())


def _retire(config: Config, release: Release, handover: Handover, journal: Journal) -> None:
    """End what the release replaces; the release serves whatever becomes of that."""
    try:
        switch.retire(config, release, handover, journal)
        state.unmark(config)
    except Exception as error:
        # the mark stays: the next start or deploy sees it, and tidies up
        journal.warn(f"the old containers are not all gone: {as_failure(error, 'removing them').cause}", "drain")


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
                certificate.confirm_served(config, release.manifest)
            except Failure as failure:
                if isinstance(failure, Terminated):
                    raise
                refusal = failure
                step.state, step.message = "failed", failure.cause
        elif certificate.lineage(config).is_dir() and certificate.exchange(
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
    manifest = release.manifest
    with journal.step("tls", "serving TLS") as step:
        changes = live.compare(config.live, manifest, True)
        trial.check(config, release, sorted(changes.services), True, step)
        found = compose.containers(config)
        rollout.sync(config, release, step)
        loaded.refresh(config, manifest, found, found, step, later=edge.pointed(manifest))
        nginx = of_service(found, EDGE)
        if edge.pointed(manifest) and nginx:
            edge.point(config, release, edge.expected(config, manifest), step, lambda _text: None)
            loaded.note(config, manifest, EDGE, nginx)
        step.done("TLS is served")


def _afterwards(config: Config, release: Release, journal: Journal) -> None:
    """Tidying up; nothing here can make a deploy fail that already serves."""
    try:
        with journal.step("retention", "removing what is no longer needed") as step:
            live.prune(config.live, release.manifest, certificate.installed(config))
            removed = retention.tidy(config, release, step)
            if removed:
                step.done(f"removed {len(removed)} old releases", removed=removed)
            else:
                step.skip("nothing to remove")
        systemd.hand_over(config, release)
    except Exception as error:
        journal.warn(f"tidying up failed: {error}", "retention")


def _back(config: Config, failed: str, before: str | None, journal: Journal) -> bool:
    """Let the current release serve again; True when it does. Never raises: the first cause is what counts."""
    if before is None:
        journal.warn("there is no earlier release to go back to: the containers stay as they are, for a look", "revert")
        return False
    if before == failed:
        journal.warn("this release is the current one already: there is nothing to go back to", "revert")
        return False
    try:
        repair(config, journal)
        return True
    except Exception as error:
        journal.warn(f"going back to release {before} failed as well: {error}", "revert")
        return False


def repair(config: Config, journal: Journal, *, recreate: bool = True) -> str:
    """Have the current release serve, and nothing else run; returns its id. The caller holds the lock.

    It undoes a deploy that failed or was cut off before its release was made the current one, and ends one that was
    cut off afterwards. Raises Failure, UNHEALTHY when all was done but a service is not well.
    """
    release = releases.load(config, "current")
    with journal.step("images", "looking for images") as step:
        images.ensure(config, release, step)
    with journal.step("revert", f"back to release {release.id}") as step:
        handover = rollout.roll(config, release, journal, recreate=recreate)
        systemd.install(config, release, step)
        switch.retire(config, release, handover, journal)
        state.unmark(config)
        step.done(f"release {release.id} serves")
    return release.id
