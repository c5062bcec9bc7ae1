"""What of a host can be reached from outside, and bringing that to what the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core import settings
from tasks.core.errors import ExitStatus, Refused
from tasks.core.observe import observe
from tasks.core.output import coloured
from tasks.core.task import Report
from tasks.model import firewall as model
from tasks.operations import hint, hostprogram, setup

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings
    from tasks.model.facts import Facts

STEPS = ("firewall", "published-ports")


def status(s: Session) -> Report:
    """Ask the host and judge; UNHEALTHY when something is open that is not meant to be. Raises Refused before setup."""
    chosen = settings.load(s.settings_file)
    facts = observe(s, chosen)
    if facts.status is None:
        raise Refused("this host is not set up yet", host=s.name, hint=hint.fab(s, "setup"))
    ports, found = _look(s, chosen, facts)
    data = {"ok": not found, "faults": found, "ports": [port.to_json() for port in ports]}
    text = model.table(ports, colour=coloured(s.out.console.stdout))
    ending = "what is open from outside is meant to be"
    if found:
        ending = f"not as it should be: {'; '.join(found)}; next: {hint.fab(s, 'firewall.apply')}"
    return Report(data, f"{text}\n{s.name}: {ending}", status=ExitStatus.UNHEALTHY if found else ExitStatus.OK)


def faults(s: Session, chosen: Settings, facts: Facts) -> list[str]:
    """What is wrong with the firewall, one line each. Raises as `hostprogram.ask`."""
    return _look(s, chosen, facts)[1]


def _look(s: Session, chosen: Settings, facts: Facts) -> tuple[list[model.Port], list[str]]:
    exposure = hostprogram.ask(s, chosen.app_name, "exposure")
    wanted = [("tcp", port) for port in (*facts.sshd_ports, chosen.http_port, chosen.https_port)]
    wanted += [("udp", chosen.https_port)] if chosen.http3 else []
    ports = model.ports(exposure, facts.ufw, wanted)
    surprising = [port for port in ports if port.reach == "open" and not port.wanted]
    found = []
    if facts.ufw is None or not facts.ufw.active:
        found.append("UFW is not active")
    if exposure["rules"] != "ok":
        found.append(f"the rules for Docker's ports: {exposure['rules']}")
    if surprising:
        found.append("open: " + ", ".join(f"{port.port}/{port.protocol} ({port.who})" for port in surprising))
    return ports, found


def apply(s: Session, *, yes: bool, dry_run: bool, wait: float, revert_after: int) -> Report:
    """The steps of setup that are about the firewall. Raises as `setup.setup`."""
    return setup.setup(s, yes=yes, dry_run=dry_run, wait=wait, only=STEPS, revert_after=revert_after)
