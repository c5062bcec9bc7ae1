"""The certificate over its life: what is stored and served, issuing it, renewing it, and that certbot's timer lives."""

from __future__ import annotations

import calendar
import http.client
import re
import secrets
import socket
import time
from pathlib import Path
from typing import Any

from host import acme, certificate, durable, releases, systemd
from host.config import Config
from host.errors import Failure, Status, from_os_error
from host.events import Journal, Step
from host.manifest import Manifest
from host.process import run

TIMER = "certbot.timer"
_DAY = 86400
_REACH = 5.0  # seconds for one look at our own port 80


def status(config: Config) -> dict[str, Any]:
    """What is stored, what the host's own nginx serves, and how it is renewed. Reads only."""
    release = releases.current(config)
    domains = list(release.manifest.settings.domains) if release else []
    lineage = certificate.lineage(config) / "fullchain.pem"
    installed = config.tls / "fullchain.pem"
    return {
        "domains": domains,
        "installed": certificate.facts(installed),
        "lineage": certificate.facts(lineage),
        "same": _same(installed, lineage),
        "pair": certificate.is_pair(config.tls) if certificate.installed(config) else None,
        "served_is_installed": certificate.serves(config, release.manifest) if release and domains else None,
        "authority": certificate.authority(config),
        "certbot": version(),
        "renews": renews(version(), certificate.facts(lineage)),
        "timer": timer(),
    }


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


def renews(certbot: str, found: dict[str, Any] | None) -> float | None:
    """From when on (unix) this certbot renews the certificate; None when that cannot be said.

    4.0 renews when a third of the life is left (half, when that is shorter than ten days), older ones 30 days before
    its end. From 4.1 on the authority may ask for an earlier time.
    """
    if not certbot or found is None or found["not_before"] is None:
        return None
    life = float(found["not_after"] - found["not_before"])
    left = life / (2 if life < 10 * _DAY else 3) if int(certbot.partition(".")[0]) >= 4 else 30.0 * _DAY
    return float(found["not_after"]) - left


def timer() -> dict[str, Any]:
    """{"state", "active", "last", "next" (unix or None), "result"} of certbot's timer and of its last run."""
    found = systemd.states([TIMER]).get(TIMER, {})
    missing = found.get("LoadState") in (None, "not-found")
    moments = _properties(TIMER, "LastTriggerUSec", "NextElapseUSecRealtime")
    outcome = _properties("certbot.service", "Result", "ExecMainStatus")
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
    else:
        step.skip(f"{TIMER} is enabled" + (" and has run" if now["last"] else ", its first run is still to come"))


def issue(config: Config, journal: Journal, *, check: bool, force: bool) -> dict[str, object]:
    """Get a certificate for all names and serve it; "nothing to do" when there is a good one and not `force`.

    With `check` it is tried first whether the authority will find us at all. Raises Failure when not, or as `obtain`.
    """
    release = _current(config)
    why = certificate.needed(config, release.manifest, time.time())
    if not why and not force:
        with journal.step("certificate", "looking at the certificate") as step:
            step.skip("it covers every name")
        with journal.step("serve", "looking at what is served") as step:
            certificate.put_to_use(config, release.manifest, step)
        return {"message": "nothing to do: the certificate covers every name", "changed": False}
    with journal.step("reach", "asking for every name at port 80, as the authority will") as step:
        if check:
            reach(config, release.manifest, step)
        else:
            step.skip("left out (--skip-check)")
    with journal.step("certificate", "asking the certificate authority") as step:
        step.output(f"{why or 'it was asked for'}: asking {release.manifest.settings.acme_server}")
        certificate.obtain(config, release.manifest, step, force=force)
    with journal.step("serve", "serving it") as step:
        certificate.put_to_use(config, release.manifest, step)
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
        done = run(words, deadline=acme.DEADLINE, check=False)
        if done.status != 0:
            raise acme.explain(done.text + done.stderr, release.manifest.settings.domains)
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


def reach(config: Config, manifest: Manifest, step: Step) -> None:
    """See that every name leads to this host's port 80: one file, fetched by each name.

    That is the authority's own question, asked before it counts a failure against us. A router that does not let a host
    reach itself by its public address makes it fail here and not there: where no answer comes at all from an address
    that the name has, it is a remark. Raises Failure for a name that nobody knows, or that somebody else answers.
    """
    token = secrets.token_hex(16)
    folder = config.webroot / ".well-known" / "acme-challenge"
    try:
        for path in (config.webroot / ".well-known", folder):
            if not path.is_dir():
                path.mkdir(mode=0o755)
                path.chmod(0o755)
        durable.write(folder / token, token.encode(), 0o644)
    except OSError as error:
        raise from_os_error(error, "writing into the directory for challenges") from error
    try:
        for name in manifest.settings.domains:
            _reach(name, token, step)
    finally:
        (folder / token).unlink(missing_ok=True)
    step.done(f"asked for {', '.join(manifest.settings.domains)}")


def _reach(name: str, token: str, step: Step) -> None:
    try:
        addresses = sorted({str(item[4][0]) for item in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)})
    except OSError:
        raise Failure(
            f"{name} does not resolve",
            hint="make an A or AAAA record for it that points to this server, wait, try again",
        ) from None
    for address in addresses:
        try:
            answer, body = _get(address, name, f"/.well-known/acme-challenge/{token}")
        except ConnectionRefusedError:
            raise Failure(
                f"port 80 of {name} ({address}) is closed", hint="fab firewall; does nginx run? fab health"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            step.output(f"{name} ({address}) cannot be asked from here: {error or type(error).__name__}")
            continue
        if body != token:
            raise Failure(
                f"{name} ({address}) is answered by something other than this server (status {answer})",
                hint="check its A and AAAA records and any proxy before this server",
            )


def _get(address: str, name: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, 80, timeout=_REACH)
    try:
        connection.request("GET", path, headers={"Host": name})
        answer = connection.getresponse()
        return answer.status, answer.read(1024).decode("utf-8", "replace")
    finally:
        connection.close()
