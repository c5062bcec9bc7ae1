"""Is the site well, seen from outside and from inside?"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tasks.core import settings
from tasks.core.errors import ExitStatus, Refused
from tasks.core.observe import observe
from tasks.core.output import coloured
from tasks.core.task import Report
from tasks.core.visit import Answer, Visitor
from tasks.model import health as model
from tasks.model import urls
from tasks.operations import hint

if TYPE_CHECKING:
    from tasks.core.session import Session


def health(s: Session) -> Report:
    """Observe the host and its site, and judge; the report's status is UNHEALTHY when a check fails.

    Raises Refused when the host is not set up.
    """
    chosen = settings.load(s.settings_file)
    found = observe(s, chosen)
    now = time.time()
    if found.status is None:
        raise Refused("this host is not set up yet", host=s.name, hint=hint.fab(s, "setup"))
    closed = bool(found.status.get("maintenance"))
    checks = [*outside(s, chosen, closed=closed), *model.inside(found.status, now=now)]
    failed = [check.name for check in checks if not check.ok]
    data = {"ok": not failed, "failed": failed, "checks": [check.to_json() for check in checks]}
    text = model.table(checks, colour=coloured(s.out.console.stdout))
    text += f"\n{s.name}: " + (f"NOT healthy: {', '.join(failed)}" if failed else "healthy")
    return Report(data=data, text=text, status=ExitStatus.UNHEALTHY if failed else ExitStatus.OK)


def address(s: Session, chosen: settings.Settings) -> str:
    """Where looks from outside connect to; "" asks DNS, which does not know the names of the lab."""
    return s.address if s.target.in_lab else chosen.public_address or ""


def outside(s: Session, chosen: settings.Settings, *, closed: bool = False, at: str = "") -> list[model.Check]:
    """Look at the site as a visitor of it does.

    Args:
        s: the host, which the requests go to when it is one of the lab's.
        chosen: the settings, for the names and for the authorities to trust.
        closed: visitors are to get 503, the site is under maintenance.
        at: the address the requests go to, whatever its names lead to.
    Returns:
        A check for each address, whatever came back.
    """
    visitor = Visitor(at or address(s, chosen), chosen.trusted_ca_file)
    site, grafana = chosen.site_url, chosen.grafana_url
    http = urls.http_url(chosen.site_domain, chosen.http_port)
    looks: list[Callable[[], model.Check]] = [
        lambda: _redirect(visitor.get(f"{http}/"), site),
        lambda: _front(visitor.get(f"{site}/"), closed),
        lambda: _served("https /health", visitor.get(f"{site}/health")),
        lambda: _deep(visitor.get(f"{site}/health/deep"), chosen.deep_health_public),
        lambda: _hidden(visitor.get(f"{site}/metrics")),
        lambda: _served("https grafana", visitor.get(f"{grafana}/health")),
        lambda: _certificate(visitor, chosen.site_domain, chosen.https_port),
    ]
    with ThreadPoolExecutor(len(looks)) as pool:  # far away each of them takes some round trips
        return [done.result() for done in [pool.submit(look) for look in looks]]


def _redirect(answer: Answer, site: str) -> model.Check:
    location = answer.headers.get("location", "")
    ok = answer.status in (301, 308) and location.startswith(f"{site}/")
    return model.Check("http redirect", ok, answer.error or f"{answer.status} to {location or 'nowhere'}")


def _served(name: str, answer: Answer) -> model.Check:
    detail = answer.error or str(answer.status)
    if answer.status >= 500 and (reason := _reason(answer.body)):
        detail += f": {reason}"
    if version := answer.headers.get("x-app-version"):
        detail += f", version {version}"
    return model.Check(name, answer.status == 200, detail)


def _front(answer: Answer, closed: bool) -> model.Check:
    if closed and answer.status == 503:
        return model.Check("https /", True, "503: under maintenance")
    return _served("https /", answer)


def _deep(answer: Answer, public: bool) -> model.Check:
    if public:
        return _served("https /health/deep", answer)
    return model.Check("https /health/deep hidden", answer.status == 404, answer.error or str(answer.status))


def _reason(body: str) -> str:
    """What the body of an error says, in one line; a page of HTML says nothing."""
    return "" if body.lstrip().startswith("<") else " ".join(body.split())[:160]


def _hidden(answer: Answer) -> model.Check:
    return model.Check("https /metrics hidden", answer.status == 404, answer.error or str(answer.status))


def _certificate(visitor: Visitor, name: str, port: int) -> model.Check:
    served = visitor.certificate(name, port)
    if served.error:
        return model.Check("certificate", False, served.error)
    return model.certificate(served.not_after, served.not_before, served.issuer, now=time.time())
