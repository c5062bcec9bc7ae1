"""The certificate of a host: how it is, getting one, renewing it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tasks.core import events, project, settings
from tasks.core.errors import ExitStatus, UsageError
from tasks.core.output import coloured
from tasks.core.presented import Presented, presented
from tasks.core.task import Report
from tasks.core.visit import Visitor
from tasks.model import ssl as model
from tasks.operations import health, hint, hostprogram

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings


def status(s: Session) -> Report:
    """Ask the host what it has, look at what it serves, and judge. UNHEALTHY when something is wrong."""
    chosen = settings.load(s.settings_file)
    facts, findings = look(s, chosen)
    failed = [finding for finding in findings if finding.grade == "error"]
    data = {"ok": not failed, "facts": facts, "findings": [finding.to_json() for finding in findings]}
    text = model.describe(facts, findings, colour=coloured(s.out.console.stdout))
    ending = "; ".join(finding.what for finding in failed) or "the certificate is well"
    return Report(data, f"{text}\n{s.name}: {ending}", status=ExitStatus.UNHEALTHY if failed else ExitStatus.OK)


def look(s: Session, chosen: Settings) -> tuple[dict[str, Any], list[model.Finding]]:
    """What there is to know about the certificate, and what is wrong with it. Raises as `hostprogram.ask`."""
    stored = hostprogram.ask(s, chosen.app_name, "certificate", "status")
    served = {name: _served(s, chosen, name) for name in chosen.domains}
    findings = model.judge(
        stored, served, _trust(s, chosen), wanted=chosen.domains, now=time.time(), proxied=bool(chosen.trusted_proxies)
    )
    return model.facts(stored, served[chosen.site_domain], now=time.time()), findings


def _served(s: Session, chosen: Settings, name: str) -> Presented:
    return presented(health.address(s, chosen) or name, chosen.https_port, name)


def _trust(s: Session, chosen: Settings) -> str:
    """Why a browser would not trust what is served, "" when it would."""
    return (
        Visitor(health.address(s, chosen), chosen.trusted_ca_file)
        .certificate(chosen.site_domain, chosen.https_port)
        .error
    )


def issue(s: Session, *, force: bool, check: bool, wait: float) -> Report:
    """Have the host get a certificate and serve it. Raises as the host says why it could not.

    The names of the settings are in it, and those that are still served by the current release.
    """
    return _act(s, "issue", {"force": force, "skip-check": not check}, wait)


def renew(s: Session, *, force: bool, dry_run: bool, wait: float) -> Report:
    """Have the host renew it. Raises UsageError for both flags, else as the host says why it could not."""
    if force and dry_run:
        raise UsageError("--force and --dry-run contradict each other")
    return _act(s, "renew", {"force": force, "dry-run": dry_run}, wait)


def _act(s: Session, action: str, flags: dict[str, bool], wait: float) -> Report:
    chosen = settings.load(s.settings_file)
    words: list[Any] = ["certificate", action, *(f"--{name}" for name, given in flags.items() if given)]
    words += [word for name in chosen.domains if action == "issue" for word in ("--name", name)]
    words += ["--by", project.operator(), "--wait", f"{wait:g}"]
    done = events.follow(s, hostprogram.command(chosen.app_name, *words), again=hint.fab(s, f"ssl.{action}"))
    return Report(
        done, f"{s.name}: {_told(action, changed=bool(done.get('changed')), rehearsal=flags.get('dry-run', False))}"
    )


def _told(action: str, *, changed: bool, rehearsal: bool) -> str:
    if rehearsal:
        return "a renewal would succeed, and its hook works"
    if action == "issue":
        return "the new certificate is served" if changed else "nothing to do: the certificate covers every name"
    return "the renewed certificate is served" if changed else "nothing to do: it is not due yet"
