"""The certificate over its life: what is stored and served, issuing it, renewing it, and that certbot's timer lives."""

from __future__ import annotations

import calendar
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from host import acme, certificate, reach, releases, systemd
from host.config import Config
from host.errors import Failure, Status
from host.events import Journal, Step
from host.process import run

TIMER = "certbot.timer"
_DAY = 86400
_AGAIN = "try again"
_HOOKED = (5, 3)  # from this certbot on hooks of the directory run at the first issuance too
_ASKING = (4, 1)  # from this certbot on the authority is asked when to renew (ARI)


def status(config: Config) -> dict[str, Any]:
    """What is stored, what the host's own nginx serves, and how it is renewed. Reads only."""
    release = releases.current(config)
    domains = list(release.manifest.settings.domains) if release else []
    lineage = certificate.lineage(config) / "fullchain.pem"
    installed = config.tls / "fullchain.pem"
    certbot, kept, how = version(), certificate.facts(lineage), renewal(config)
    return {
        "domains": domains,
        "installed": certificate.facts(installed),
        "lineage": kept,
        "same": _same(installed, lineage),
        "pair": certificate.is_pair(config.tls) if certificate.installed(config) else None,
        "served_is_installed": certificate.serves(config, release.manifest) if release and domains else None,
        "authority": certificate.authority(config),
        "renewal": how,
        "certbot": certbot,
        "asks_authority": _numbers(certbot) >= _ASKING,
        "hooks_at_issuance": _numbers(certbot) >= _HOOKED,
        "renews": renews(certbot, kept, how["before"] if how else ""),
        "timer": timer(),
    }


def renewal(config: Config) -> dict[str, Any] | None:
    """What certbot has noted for renewals: {"on": bool, "hook": is it ours, "before": its `renew_before_expiry` or ""}.

    None without a note, which is without a certificate.
    """
    try:
        text = (config.letsencrypt / "renewal" / f"{config.app}.conf").read_text()
    except OSError:
        return None
    noted = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", text, re.M))
    return {
        "on": noted.get("autorenew", "True").lower() not in ("false", "no", "off", "0"),
        "hook": acme.hook(config) in (noted.get("renew_hook"), noted.get("deploy_hook")),
        "before": noted.get("renew_before_expiry", ""),
    }


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)


def _same(one: Path, other: Path) -> bool | None:
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return None


def version() -> str:
    """certbot's version, "" without certbot."""
    try:
        done = run(["certbot", "--version"], deadline=60, check=False)
    except Failure:
        return ""
    found = re.search(r"certbot (\d+(?:\.\d+)*)", done.text + done.stderr)
    return found[1] if found else ""


def renews(certbot: str, found: dict[str, Any] | None, before: str = "") -> float | None:
    """From when on (unix) this certbot renews the certificate by its own rule; None when that cannot be said.

    4.0 renews when a third of the life is left (half, when that is shorter than ten days), older ones 30 days before
    its end. `before` is the user's own `renew_before_expiry` ("20 days"): older ones go by it instead, 4.0 by whichever
    is earlier. From 4.1 on the authority may ask for an earlier time.
    """
    if not certbot or found is None or found["not_before"] is None:
        return None
    life = float(found["not_after"] - found["not_before"])
    own = re.fullmatch(r"(\d+) days?", before)
    if before and own is None:
        return None
    asked = int(own[1]) * float(_DAY) if own else 0.0
    ruled = life / (2 if life < 10 * _DAY else 3)
    left = max(asked, ruled) if _numbers(certbot) >= (4,) else asked or 30.0 * _DAY
    return float(found["not_after"]) - left


def timer() -> dict[str, Any]:
    """{"state", "active", "last", "next" (unix or None), "result"} of certbot's timer and of its last run."""
    found = systemd.states([TIMER]).get(TIMER, {})
    missing = found.get("LoadState") in (None, "not-found")
    moments = _properties(TIMER, "LastTriggerUSec", "NextElapseUSecRealtime")
    outcome = _properties("certbot.service", "Result")
    return {
        "state": "missing" if missing else found.get("UnitFileState") or found["LoadState"],
        "active": found.get("ActiveState") == "active",
        "last": _moment(moments.get("LastTriggerUSec", "")),
        "next": _moment(moments.get("NextElapseUSecRealtime", "")),
        "result": outcome.get("Result", ""),
    }


def _properties(unit: str, *names: str) -> dict[str, str]:
    try:
        words = [f"-p{name}" for name in names]
        done = run(["systemctl", "show", *words, "--", unit], deadline=20, check=False, env={"TZ": "UTC"})
    except Failure:
        return {}
    return dict(line.partition("=")[::2] for line in done.text.splitlines())


def _moment(text: str) -> float | None:
    """A time as systemd prints it, in UTC ("Tue 2026-11-24 23:43:26 UTC")."""
    found = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", text)
    return float(calendar.timegm(time.strptime(found[1], "%Y-%m-%d %H:%M:%S"))) if found else None


def watch_timer(step: Step) -> None:
    """Have certbot's timer enabled and running. Raises Failure when it is masked or not there."""
    now = timer()
    if now["state"] == "missing":
        raise Failure("certbot's timer is not there: nothing would renew the certificate", hint="fab setup")
    if now["state"].startswith("masked"):
        raise Failure(
            "certbot's timer is masked: nothing would renew the certificate",
            hint=f"sudo systemctl unmask {TIMER}, or fab setup, which does that",
        )
    if now["state"] != "enabled" or not now["active"]:
        done = run(["systemctl", "enable", "--now", TIMER], deadline=60, check=False)
        if done.status != 0:
            raise Failure(f"certbot's timer cannot be enabled: {done.last_line}", hint=f"systemctl status {TIMER}")
        step.done(f"{TIMER} was {now['state']}, and is enabled now")
    elif now["result"] not in ("", "success"):
        step.output(f"the last renewal by {TIMER} failed ({now['result']}): journalctl -u certbot")
        step.done(f"{TIMER} is enabled")
    elif trouble := _late(now, time.time()):
        step.output(f"{TIMER} {trouble}: systemctl list-timers {TIMER}")
        step.done(f"{TIMER} is enabled")
    else:
        step.skip(f"{TIMER} is enabled" + (" and has run" if now["last"] else ", its first run is still to come"))


def _late(now: dict[str, Any], at: float) -> str:
    """Why an enabled timer is nothing to rely on: it has not run for two days, or is not to run within one."""
    if now["next"] and now["next"] > at + 1.5 * _DAY:
        return "is to run only in " + f"{(now['next'] - at) / _DAY:.0f} days"
    if now["last"] and now["last"] < at - 2 * _DAY:
        return f"has not run for {(at - now['last']) / _DAY:.0f} days"
    return ""


def issue(
    config: Config, journal: Journal, *, check: bool, force: bool, names: tuple[str, ...] = ()
) -> dict[str, object]:
    """Get a certificate for all names and serve it; "nothing to do" when there is a good one and not `force`.

    `names` may be more than the current release has: those are in it before they are deployed. One that the release
    has stays in it, wanted or not, for it is still served. With `check` it is tried first whether the authority will
    find us at all. Raises Failure when not, or as `obtain`.
    """
    manifest = _current(config).manifest
    domains = tuple(dict.fromkeys((*manifest.settings.domains, *names)))
    manifest = replace(manifest, settings=replace(manifest.settings, domains=domains))
    why = certificate.needed(config, manifest, time.time())
    if not why and not force:
        with journal.step("certificate", "looking at the certificate") as step:
            step.skip("it covers every name")
        with journal.step("serve", "looking at what is served") as step:
            certificate.put_to_use(config, manifest, step)
        return {"message": "nothing to do: the certificate covers every name", "changed": False}
    with journal.step("reach", "asking for every name at port 80, as the authority will") as step:
        if check:
            reach.every(config, manifest, step)
        else:
            step.skip("left out (--skip-check)")
    with journal.step("certificate", "asking the certificate authority") as step:
        step.output(f"{why or 'it was asked for'}: asking {manifest.settings.acme_server}")
        certificate.obtain(config, manifest, step, force=force, again=_AGAIN)
    with journal.step("serve", "serving it") as step:
        certificate.put_to_use(config, manifest, step)
    return {"message": "the new certificate is served", "changed": True}


def renew(config: Config, journal: Journal, *, force: bool, dry_run: bool) -> dict[str, object]:
    """Have certbot renew it when it is time, with `force` in any case; with `dry_run` only try, hook included."""
    release = _current(config)
    before = certificate.facts(certificate.lineage(config) / "fullchain.pem")
    if before is None:
        raise Failure("certbot has no certificate for this application", hint="fab ssl.issue")
    words = ["certbot", "renew", "--cert-name", config.app, "--non-interactive", "--no-random-sleep-on-renew"]
    words += ["--force-renewal"] if force else []
    # Let's Encrypt has a second server to try things with, which certbot knows; for others it has to be told
    authority = certificate.authority(config) or ""
    words += (
        ["--dry-run", *(["--server", authority] if "api.letsencrypt.org" not in authority else [])] if dry_run else []
    )
    with journal.step("renew", "asking certbot" + (" to try" if dry_run else "")) as step:
        acme.certbot(words, release.manifest.settings.domains, again=_AGAIN)
        after = certificate.facts(certificate.lineage(config) / "fullchain.pem") or before
        renewed = after["serial"] != before["serial"]
        step.done("the authority would renew it" if dry_run else "renewed" if renewed else "not due yet")
    # a dry run leaves the hook out, and a hook that failed is only in certbot's log: so it is done here in any case
    with journal.step("serve", "the deploy hook: installing, checking, reloading") as step:
        certificate.put_to_use(config, release.manifest, step, reload=dry_run)
    if dry_run:
        return {"message": "a renewal would succeed, and its hook works", "changed": False}
    text = "the renewed certificate is served" if renewed else "nothing to do: it is not due yet"
    return {"message": text, "changed": renewed}


def _current(config: Config) -> releases.Release:
    release = releases.current(config)
    if release is None:
        raise Failure("nothing is deployed here", hint="fab deploy", status=Status.REFUSED)
    if not release.manifest.settings.domains or not release.manifest.settings.acme_server:
        raise Failure("no domain or no certificate authority is set", hint="ACME_SERVER", status=Status.REFUSED)
    return release
