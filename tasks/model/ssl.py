"""How a certificate is, from what is stored on the host and what is served. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.core.presented import Presented

DAY = 86400


@dataclass(frozen=True)
class Finding:
    """Something to know. `grade` is "error" or "warning", `fix` what to do."""

    grade: str
    what: str
    fix: str

    def to_json(self) -> dict[str, Any]:
        """The finding as a JSON-able document."""
        return asdict(self)


def judge(
    stored: Mapping[str, Any],
    served: Mapping[str, Presented],
    untrusted: str,
    *,
    wanted: Sequence[str],
    now: float,
    proxied: bool = False,
) -> list[Finding]:
    """What is wrong with the certificate.

    Args:
        stored: what the host program says.
        served: what was presented, by name.
        untrusted: why a browser would not trust it, "" when it would.
        wanted: the names of the settings.
        now: seconds since the epoch.
        proxied: whether visitors are meant to come by a proxy (TRUSTED_PROXIES), with a certificate of its own.
    Returns:
        The findings, the gravest first; none when all is well.
    """
    trust = "put the real ACME_SERVER back, then fab deploy" if _staging(stored) else "fab ssl.issue"
    found = [
        *_served(served, untrusted, wanted, now, trust),
        *_stored(stored, wanted),
        *_between(stored, served[wanted[0]], proxied),
        *_renewal(stored, now),
    ]
    return sorted(dict.fromkeys(found), key=lambda finding: finding.grade != "error")


def _staging(stored: Mapping[str, Any]) -> bool:
    return "staging" in (stored["authority"] or "")


def _served(
    served: Mapping[str, Presented], untrusted: str, wanted: Sequence[str], now: float, trust: str
) -> Iterator[Finding]:
    first = served[wanted[0]]
    if first.error:
        yield Finding("error", f"{wanted[0]}: {first.error}", "fab ssl.issue")
        return
    if first.not_after < now:
        yield Finding(
            "error", f"the certificate served has expired {_days(now - first.not_after)} ago", "fab ssl.renew"
        )
    elif first.not_before > now:
        yield Finding(
            "error", f"the certificate served counts from {_day(first.not_before)} on", "check the clocks: fab doctor"
        )
    elif first.not_after - now < (first.not_after - first.not_before) / 4:
        left = _days(first.not_after - now)
        yield Finding("error", f"less than a quarter of its life is left ({left}): it should have been renewed",
                      "fab ssl.renew")  # fmt: skip
    if first.revoked:
        yield Finding("error", "the certificate served has been revoked by its issuer", "fab ssl.issue --force")
    if first.self_signed:
        yield Finding("error", "the certificate served signed itself: no browser trusts it", "fab ssl.issue")
    elif untrusted and first.not_after >= now >= first.not_before:
        yield Finding("error", f"browsers would not trust it: {untrusted}", trust)
    for name in wanted:
        if served[name].error:
            yield Finding("error", f"{name}: {served[name].error}", "fab deploy, then fab ssl.issue")
        elif name not in served[name].names:
            yield Finding("error", f"the certificate served does not cover {name}", "fab deploy, then fab ssl.issue")


def _stored(stored: Mapping[str, Any], wanted: Sequence[str]) -> Iterator[Finding]:
    if stored["installed"] is None:
        yield Finding("error", "no certificate is installed for nginx", "fab ssl.issue")
    else:
        if stored["pair"] is False:
            yield Finding(
                "error", "the installed certificate and its key do not belong together", "fab ssl.issue --force"
            )
        if stored["served_is_installed"] is False:
            yield Finding("error", "nginx does not serve the installed certificate: it was not reloaded since",
                          "fab ssl.renew")  # fmt: skip
    if stored["lineage"] is None:
        yield Finding("error", "certbot has no certificate: nothing will be renewed", "fab ssl.issue")
    elif stored["same"] is False:
        yield Finding("error", "certbot's certificate is not the one installed: the hook has failed", "fab ssl.renew")
    if surplus := sorted(set((stored["installed"] or {}).get("names", ())) - set(wanted)):
        yield Finding("warning", f"it still covers {', '.join(surplus)}", "fab deploy, then fab ssl.issue")


def _between(stored: Mapping[str, Any], first: Presented, proxied: bool) -> Iterator[Finding]:
    """What nginx serves is what is installed, and visitors get something else."""
    serial = (stored["installed"] or {}).get("serial", "")
    seen = serial and stored["served_is_installed"] and not first.error
    if seen and serial.lstrip("0").upper() != first.serial.lstrip("0"):
        yield Finding(
            "warning" if proxied else "error",
            f"visitors get another certificate (of {first.issuer}) than this host serves: somebody answers before it",
            "check the DNS records: fab doctor; TRUSTED_PROXIES when a proxy is meant to",
        )


def _renewal(stored: Mapping[str, Any], now: float) -> Iterator[Finding]:
    timer, noted = stored["timer"], stored["renewal"]
    if noted and not noted["on"]:
        yield Finding("error", "certbot is told not to renew it (autorenew = False)",
                      "take that line out of its file in /etc/letsencrypt/renewal")  # fmt: skip
    if noted and not noted["hook"]:
        yield Finding("error", "certbot would renew it and tell nobody: its note has no hook of ours",
                      "fab ssl.issue --force")  # fmt: skip
    if not stored["certbot"]:
        yield Finding("error", "certbot is not installed", "fab setup")
    if timer["state"] != "enabled" or not timer["active"]:
        state = timer["state"] if timer["state"] != "enabled" else "not running"
        yield Finding("error", f"certbot's timer is {state}: nothing renews the certificate", "fab setup")
    elif timer["result"] not in ("", "success"):
        yield Finding("error", f"the last run of certbot's timer failed ({timer['result']})", "journalctl -u certbot")
    elif timer["last"] and timer["last"] < now - 2 * DAY:
        yield Finding("error", f"certbot's timer has not run for {_days(now - timer['last'])}",
                      "systemctl list-timers certbot.timer; was the host off?")  # fmt: skip
    if stored["renews"] is not None and stored["renews"] < now - 2 * DAY:
        yield Finding("error", f"it was to be renewed on {_day(stored['renews'])}, and was not", "fab ssl.renew")


def facts(stored: Mapping[str, Any], served: Presented, *, now: float) -> dict[str, Any]:
    """What there is to know, for a table and as a document; times are seconds since the epoch."""
    return {
        "names": list(served.names),
        "issuer": served.issuer,
        "key": served.key,
        "serial": served.serial,
        "not_before": served.not_before or None,
        "not_after": served.not_after or None,
        "days_left": round((served.not_after - now) / DAY, 1) if served.not_after else None,
        "revoked": served.revoked,
        "installed": stored["installed"],
        "lineage": stored["lineage"],
        **{name: stored[name] for name in ("authority", "renewal", "renews", "asks_authority", "timer", "certbot")},
    }


def describe(known: Mapping[str, Any], findings: Iterable[Finding], *, colour: bool) -> str:
    """The same for a person."""
    lines = []
    if known["names"]:
        revoked = {True: "yes", False: "no", None: "cannot be known: it names no list of revoked ones"}
        lines = [
            f"names    {', '.join(known['names'])}",
            f"issuer   {known['issuer']} ({known['key']}, number {known['serial']})",
            f"life     {_day(known['not_before'])} to {_day(known['not_after'])}, {known['days_left']:.0f} days left",
            f"revoked  {revoked[known['revoked']]}",
        ]
    renews = f"from {_day(known['renews'])} on" if known["renews"] else "unknown"
    renews += " at the latest, earlier when the authority asks" if known["asks_authority"] and known["renews"] else ""
    timer = known["timer"]
    last = _moment(timer["last"]) if timer["last"] else "not yet"
    following = _moment(timer["next"]) if timer["next"] else "unknown"
    certbot, authority = known["certbot"] or "(missing)", known["authority"] or "nowhere"
    lines.append(f"renewal  {renews}, by the schedule of certbot {certbot}, from {authority}")
    lines.append(f"timer    {timer['state']}, last run {last}, next {following}")
    marks = {"error": "\033[31mERROR\033[0m" if colour else "ERROR", "warning": "warn "}
    lines += [f"{marks[finding.grade]}  {finding.what}; fix: {finding.fix}" for finding in findings]
    return "\n".join(lines)


def _days(seconds: float) -> str:
    return f"{seconds / DAY:.1f} days"


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def _moment(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
