"""The firewall: SSH where it really listens, the ports of the site, everything else closed; Docker's ports as well.

Never a step that could lock the user out, or close what another application on the host has open.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from tasks.core.command import Command
from tasks.core.errors import Refused
from tasks.model.facts import Entry, Facts, Firewall, Rule
from tasks.model.provision.step import ARMED, Step, body, source

_ALLOWS = ("allow", "limit")
_DIRECTORIES = "install -d -m 0755 /etc/published-ports /etc/systemd/system/docker.service.d\n"
_LOAD = """systemctl daemon-reload
systemctl --quiet enable published-ports.service
systemctl restart published-ports.service
/usr/local/sbin/published-ports check
"""


def steps(facts: Facts, app: str, http_port: int, https_port: int, http3: bool = False) -> Iterator[Step]:
    """What the firewall lacks: UFW for the host's own ports, and the rules for those that Docker publishes.

    Raises Refused when a rule of the user's would shut this very login out.
    """
    yield from _ufw(facts, app, http_port, https_port, http3)
    yield from _published(facts, app, http_port, https_port, http3)


def _published(facts: Facts, app: str, http_port: int, https_port: int, http3: bool) -> Iterator[Step]:
    ports = [f"tcp {http_port}", f"tcp {https_port}", *([f"udp {https_port}"] if http3 else [])]
    files = {
        "/usr/local/sbin/published-ports": ("755", source("published-ports")),
        f"/etc/published-ports/{app}": ("644", "".join(f"{line}\n" for line in ports)),
        "/etc/systemd/system/published-ports.service": ("644", source("published-ports.service")),
        "/etc/systemd/system/docker.service.d/60-published-ports.conf": ("644", source("published-ports.conf")),
    }
    wrong = [path for path, (mode, text) in files.items() if not _is(facts, path, mode, text)]
    unit = facts.units.get("published-ports.service")
    lacks = [f"{path} is missing or another" for path in wrong]
    if not lacks and facts.published_ports != "ok":
        lacks.append(facts.published_ports or "the rules are not loaded")
    if unit is None or unit.enabled != "enabled" or unit.active != "active":
        lacks.append("the unit is not enabled or not running")
    if lacks:
        puts = "".join(f"put {path} 0{mode} {shlex.quote(text)}\n" for path, (mode, text) in files.items())
        variables = {"ARMED": ARMED.format(app=app), "APP": app}
        yield Step(
            "published-ports",
            f"ports that Docker publishes pass UFW: {'; '.join(lacks)}",
            body("file.sh", variables=variables) + _DIRECTORIES + puts + _LOAD,
            undo=body("published-ports-undo.sh", variables=variables),
        )


def _is(facts: Facts, path: str, mode: str, text: str) -> bool:
    right = facts.files.get(path) == hashlib.sha256(text.encode()).hexdigest()
    return right and facts.entries.get(path) == Entry("regular file", mode, "root", "root")


def _ufw(facts: Facts, app: str, http_port: int, https_port: int, http3: bool) -> Iterator[Step]:
    """What UFW lacks, in an order in which SSH is allowed before anything is closed. Rules that are there are kept.

    Raises Refused when a rule of the user's would shut this very login out.
    """
    firewall = facts.ufw or Firewall(active=False, default="accept", ipv6=False, rules=())
    lines, lacks = [], []
    if not firewall.ipv6:  # before the first rule: a rule made while IPv6 is off covers IPv4 only
        lines.append(Command("sed", "-i", "s/^IPV6=.*/IPV6=yes/", "/etc/default/ufw"))
        lacks.append("IPv6 covered")
        if firewall.active:  # rules for IPv6 need its chains
            lines.append(Command("ufw", "reload"))
    for port in (port for port in facts.sshd_ports if not _lets_in(firewall, facts, port)):
        lines.append(_allow(port, "SSH"))
        lacks.append(f"{port} (SSH) open")
    web = {http_port: "HTTP", https_port: "HTTPS"}
    for port in (port for port in web if not _decided(firewall.rules, port)):
        lines.append(_allow(port, web[port]))
        lacks.append(f"{port} open")
    if http3 and not _decided(firewall.rules, https_port, "udp"):
        lines.append(_allow(https_port, "HTTP/3", "udp"))
        lacks.append(f"{https_port}/udp open")
    if firewall.default == "accept":
        lines.append(Command("ufw", "default", "deny", "incoming"))
        lacks.append("everything else closed")
    if not firewall.active:
        lines.append(Command("ufw", "--force", "enable"))
        lacks.append("active")
    unit = facts.units.get("ufw.service")
    if unit is None or unit.enabled != "enabled":
        lines.append(Command("systemctl", "--quiet", "enable", "ufw.service"))
        lacks.append("started at boot")
    if lines:
        variables = {"ARMED": ARMED.format(app=app)}
        script = body("ufw-keep.sh", variables=variables) + "".join(f"{line.render()}\n" for line in lines)
        undo = body("ufw-undo.sh", variables=variables)
        yield Step("firewall", f"not yet: {', '.join(lacks)}", script, undo=undo)


def _allow(port: int, comment: str, protocol: str = "tcp") -> Command:
    return Command("ufw", "allow", f"{port}/{protocol}", "comment", comment)


def _lets_in(firewall: Firewall, facts: Facts, port: int) -> bool:
    """Whether SSH on this port will still be open to the present login once the firewall is active."""
    if not _decided(firewall.rules, port):
        return False
    if firewall.active and firewall.default != "accept":  # we came in through these very rules
        return True
    verdict = _verdict(firewall.rules, port, facts.client_address)
    if verdict not in ("deny", "reject"):
        return verdict is not None
    if port == facts.sshd_port:
        raise Refused(
            f"a rule of the firewall closes port {port}, where SSH listens, to the address you come from",
            hint="find and delete it: sudo ufw show added",
        )
    return True


def _decided(rules: tuple[Rule, ...], port: int, protocol: str = "tcp") -> bool:
    """Whether the user's rules answer for this port: any that is not simply for everybody does, whatever it says."""
    named = [rule for rule in rules if rule.port != "any" and _applies(rule, port, protocol)]
    special = any(rule.action not in _ALLOWS or not _everybody(rule) for rule in named)
    return special or {rule.family for rule in named} == {"v4", "v6"}


def is_open(firewall: Firewall, port: int, protocol: str) -> bool:
    """Whether somebody outside may reach this port of the host itself: any address, in any family, counts."""
    for family in ("v4", "v6"):
        for rule in (rule for rule in firewall.rules if rule.family == family and _applies(rule, port, protocol)):
            if rule.action in _ALLOWS:
                return True
            if _everybody(rule):
                break
        else:
            if firewall.default == "accept":
                return True
    return False


def _verdict(rules: tuple[Rule, ...], port: int, client: str | None) -> str | None:
    """What the first rule that fits a new connection from `client` says; None when none fits.

    Without a client address only rules for everybody count. Through which interface it will come is not known: what an
    interface allows is not relied on, what one denies is feared.
    """
    for rule in rules:
        bound = rule.direction != "in" and rule.action in _ALLOWS
        if _applies(rule, port) and not bound and _from(rule, client):
            return rule.action
    return None


def _applies(rule: Rule, port: int, protocol: str = "tcp") -> bool:
    """Whether the rule is about incoming connections to this port of the host itself."""
    if rule.action.startswith("route:") or rule.direction.startswith("out") or rule.protocol not in (protocol, "any"):
        return False
    bounds = (part.partition(":")[::2] for part in rule.port.split(","))
    return rule.port == "any" or any(int(first) <= port <= int(last or first) for first, last in bounds)


def _everybody(rule: Rule) -> bool:
    return ip_network(rule.source, strict=False).prefixlen == 0 and rule.direction == "in"


def _from(rule: Rule, client: str | None) -> bool:
    network = ip_network(rule.source, strict=False)
    if client is None:
        return network.prefixlen == 0
    address = ip_address(re.sub(r"^::ffff:(?=\d+\.)|%.*$", "", client))
    return address.version == network.version and address in network
