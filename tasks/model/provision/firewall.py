"""UFW: SSH where it really listens, the ports of the site, everything else closed.

Never a step that could lock the user out, or close what another application on the host has open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from tasks.core.command import Command
from tasks.core.errors import Refused
from tasks.model.facts import Facts, Firewall, Rule
from tasks.model.provision.step import Step, commands

_ALLOWS = ("allow", "limit")


def steps(facts: Facts, http_port: int, https_port: int) -> Iterator[Step]:
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
        yield Step("firewall", f"not yet: {', '.join(lacks)}", commands(*lines))


def _allow(port: int, comment: str) -> Command:
    return Command("ufw", "allow", f"{port}/tcp", "comment", comment)


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


def _decided(rules: tuple[Rule, ...], port: int) -> bool:
    """Whether the user's rules answer for this port: any that is not simply for everybody does, whatever it says."""
    named = [rule for rule in rules if rule.port != "any" and _applies(rule, port)]
    special = any(rule.action not in _ALLOWS or not _everybody(rule) for rule in named)
    return special or {rule.family for rule in named} == {"v4", "v6"}


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


def _applies(rule: Rule, port: int) -> bool:
    """Whether the rule is about incoming TCP connections to this port of the host itself."""
    if rule.action.startswith("route:") or rule.direction.startswith("out") or rule.protocol not in ("tcp", "any"):
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
