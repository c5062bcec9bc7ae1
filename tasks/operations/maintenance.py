"""Closing the site for visitors, and opening it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core import project, settings
from tasks.core.errors import HostFailed
from tasks.core.task import Report
from tasks.core.visit import Visitor
from tasks.operations import health, hint, hostprogram

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings

_SECONDS = 30.0


def close(s: Session, message: str) -> Report:
    """Have visitors get a page with `message` ("" for a general one), and see from outside that they do.

    Raises Refused when nothing is deployed, HostFailed when visitors still see the site.
    """
    chosen = settings.load(s.settings_file)
    told = _tell(s, chosen, "on", message)
    answer = _visit(s, chosen)
    if answer != 503 and not chosen.maintenance_allow:  # we may be among those who are let in
        raise HostFailed(
            f"the site was closed, but a visitor gets {answer or 'no answer'}", host=s.name, hint=hint.fab(s, "health")
        )
    seen = "visitors get 503" if answer == 503 else "seen from here it is open: MAINTENANCE_ALLOW may name this address"
    return Report(told, f"{s.name}: the site is closed, {seen}; open it with: {hint.fab(s, 'maintenance.off')}")


def open_again(s: Session) -> Report:
    """Open the site. Raises Refused when nothing is deployed."""
    chosen = settings.load(s.settings_file)
    told = _tell(s, chosen, "off", "")
    return Report(told, f"{s.name}: the site is open" + ("" if told["changed"] else " already"))


def _tell(s: Session, chosen: Settings, state: str, message: str) -> dict[str, object]:
    words = ("maintenance", state, "--by", project.operator())
    told: dict[str, object] = hostprogram.tell(s, chosen.app_name, *words, text=message)
    return told


def _visit(s: Session, chosen: Settings) -> int:
    return Visitor(health.address(s, chosen), chosen.trusted_ca_file).get(f"{chosen.site_url}/").status
