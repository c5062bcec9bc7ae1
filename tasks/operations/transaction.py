"""Carrying out what was agreed to: hooks, push, apply on the host, a look from outside, and back if that is worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.core import events, project
from tasks.core.errors import ExitStatus, HostFailed, InfraError, Unhealthy
from tasks.core.hooks import Hooks
from tasks.core.target import project_root
from tasks.core.task import Report
from tasks.operations import health, hint, hostprogram, outside
from tasks.operations.prepare import Options, Prepared

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.model.health import Check


def carry_out(s: Session, prepared: Prepared, options: Options, push: Callable[[], None]) -> Report:
    """Do it and verify it; the host is told to go back when a deploy makes the site worse.

    `push` brings to the host what it does not have. Raises Refused when the hook before it declines; else what became
    of it on the host. The report's status is UNHEALTHY when the site is not well afterwards.
    """
    hooks = hooks_of(s, prepared, options)
    hooks.before()
    try:
        before = health.outside(s, prepared.settings, closed=_closed(prepared)) if prepared.plan.previous else []
        push()
        done = apply(s, prepared, options)
        report = verify(s, prepared, options, before, done)
    except Exception as error:
        known = error if isinstance(error, InfraError) else InfraError(f"a bug: {type(error).__name__}")
        hooks.failed(known.cause, known.status)
        raise
    if report.status == ExitStatus.OK:
        hooks.after()
    else:
        hooks.failed(str(_data(report).get("cause", "")), report.status)
    return report


def apply(s: Session, prepared: Prepared, options: Options, back_to: str = "") -> dict[str, Any]:
    """Have the host apply the release, or go back to `back_to`; returns the data of its last event."""
    kind = "rollback" if back_to else prepared.kind
    release = back_to or prepared.release
    # what was planned and agreed to holds only on top of this release
    after = (prepared.release if back_to else prepared.plan.previous) or "none"
    words = ["--by", project.operator(), "--wait", f"{options.wait or 0:g}", "--kind", kind, "--plan", prepared.plan.id]
    words += ["--after", after]
    return events.follow(
        s,
        hostprogram.command(prepared.settings.app_name, "apply", release, *words),
        secrets=prepared.settings.secrets,
        again=hint.fab(s, f"rollback --to {release}" if kind == "rollback" else "deploy"),
    )


def hooks_of(s: Session, prepared: Prepared, options: Options) -> Hooks:
    """The hooks of this change, with the facts they are told."""
    manifest = prepared.manifest
    facts = {
        "COMMAND": prepared.kind,
        "HOST": s.name,
        "ADDRESS": s.address,
        "APP": prepared.settings.app_name,
        "ENVIRONMENT": s.target.environment,
        "VERSION": str(manifest.get("version") or ""),
        "RELEASE": prepared.release,
        "PREVIOUS": prepared.plan.previous or "",
        "PLAN": prepared.plan.id,
        "BY": project.operator(),
        "REVISION": str(manifest.get("revision") or ""),
        "DOMAIN": prepared.settings.site_domain,
    }
    return Hooks(s.out, project_root(), facts, options.skip_hooks, lambda: s.cancelled)


def verify(
    s: Session, prepared: Prepared, options: Options, before: Sequence[Check], done: Mapping[str, Any]
) -> Report:
    """Look at the site as a visitor does; that every container is well, the host has seen to itself.

    `before` are the checks from before, `done` is what the host said at the end.
    """
    release, previous = done.get("release") or prepared.release, done.get("previous")
    if switch := done.get("switch"):
        s.out.info(
            f"    {switch['requests']} requests during the switch, {switch['failed']} failed, "
            f"slowest {switch['slowest_ms']} ms"
        )
    s.out.step("verify: looking at the site from outside")
    seen = outside.after(s, prepared.settings, before, closed=_closed(prepared))
    data: dict[str, Any] = {
        "release": release,
        "previous": previous,
        "plan": prepared.plan.to_json(),
        "switch": switch,
        "checks": [check.to_json() for check in seen.checks],
        "rolled_back": False,
    }
    if not seen.failed:
        return Report(data, f"{s.name}: release {release} serves {prepared.settings.site_url}")
    if seen.worse and previous and prepared.kind == "deploy":
        error = _go_back(s, prepared, options, seen, str(previous))
        data |= {"rolled_back": not isinstance(error, HostFailed), "checks_before": [c.to_json() for c in before]}
    else:
        told = seen.told(seen.failed)
        error = Unhealthy(
            f"release {release} runs, but from outside not all is well: {told} ({_why(seen, before)})",
            host=s.name,
            hint=hint.fab(s, "health"),
        )
    s.out.report(error)
    return Report(data | {"cause": error.cause}, "", ExitStatus.UNHEALTHY)


def _closed(prepared: Prepared) -> bool:
    """Whether visitors get the page of `fab maintenance.on`, and not the site."""
    return bool((prepared.facts.status or {}).get("maintenance"))


def _why(seen: outside.View, before: Sequence[Check]) -> str:
    """Why the host was not told to go back."""
    if not before:
        return "there is nothing to compare with: nothing served before"
    if seen.worse:
        return "this was well before; a rollback is not taken back by itself"
    return "it was not well before either, so nothing was rolled back"


def _go_back(s: Session, prepared: Prepared, options: Options, seen: outside.View, previous: str) -> InfraError:
    """Have the release before serve again; returns what to tell, HostFailed when that did not succeed."""
    told = f"well before release {prepared.release} and not any more: {seen.told(seen.worse)}"
    s.out.warn(f"{told}; rolling back to {previous}")
    if prepared.plan.migration:
        s.out.warn(
            f"the migration of {prepared.release} stays; {hint.fab(s, 'releases')} names the backup made before it"
        )
    try:
        apply(s, prepared, options, back_to=previous)
    except InfraError as error:
        return HostFailed(
            f"{told}; and rolling back to {previous} failed: {error.cause}",
            host=s.name,
            hint=f"{hint.fab(s, 'health')}; {hint.fab(s, 'rollback')}",
        )
    s.out.step("verify: looking at the site from outside again")
    left = outside.after(s, prepared.settings, [], closed=_closed(prepared))
    still = [check for check in left.failed if check.name in {each.name for each in seen.worse}]
    but = f", but it is not well either: {left.told(still)}" if still else ""
    return Unhealthy(f"{told}; release {previous} serves again{but}", host=s.name, hint=hint.fab(s, "health"))


def _data(report: Report) -> Mapping[str, Any]:
    return report.data if isinstance(report.data, dict) else {}
