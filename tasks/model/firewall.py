"""Which ports of a host can be reached from outside, from what it says of itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any

from tasks.model.facts import Firewall
from tasks.model.provision.firewall import is_open


@dataclass(frozen=True)
class Port:
    """A port that somebody answers on.

    Attributes:
        port: its number.
        protocol: "tcp" or "udp".
        who: the program or container.
        reach: "open", "closed" (by the firewall), or "local" (only the host itself can ask).
        by: which rule says so.
        wanted: whether one of the application's or SSH's ports: what is open and not wanted is worth a look.
    """

    port: int
    protocol: str
    who: str
    reach: str
    by: str
    wanted: bool

    def to_json(self) -> dict[str, Any]:
        """The port as a JSON-able document."""
        return asdict(self)


def ports(exposure: Mapping[str, Any], ufw: Firewall | None, wanted: Iterable[tuple[str, int]]) -> list[Port]:
    """Judge every port.

    Args:
        exposure: what the host program says.
        ufw: UFW's own rules, None without UFW.
        wanted: protocol and number of each port that is meant to be open.
    Returns:
        One entry for each port and program, those of Docker by their container; the lowest first.
    """
    wanted = set(wanted)
    containers = {(item["protocol"], item["port"]): item for item in exposure["published"]}
    found: dict[tuple[int, str, str], Port] = {}
    for item in [*exposure["published"], *exposure["listeners"]]:
        key = (item["protocol"], int(item["port"]))
        if "program" in item and key in containers:
            continue  # docker-proxy, for a port that is in the list already
        by_docker = "container" in item
        who = item["container"] if by_docker else item["program"] or "?"
        reach, by = _docker(item, exposure) if by_docker else _own(item, ufw)
        place = (key[1], key[0], who)
        if place not in found or found[place].reach == "local":  # several addresses: the most open one counts
            found[place] = Port(key[1], key[0], who, reach, by, key in wanted)
    return [found[place] for place in sorted(found)]


def _local(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False  # "*"


def _docker(item: Mapping[str, Any], exposure: Mapping[str, Any]) -> tuple[str, str]:
    if _local(item["address"]):
        return "local", f"published at {item['address']}"
    if exposure["backend"] != "iptables":
        return "open", "Docker's nftables rules pass by UFW and DOCKER-USER"
    if exposure["rules"] != "ok":
        return "open", f"Docker's rules pass by UFW; published-ports: {exposure['rules']}"
    named = f"{item['protocol']} {item['port']}" in exposure["allowed"]
    return ("open", "named in /etc/published-ports") if named else ("closed", "not in /etc/published-ports")


def _own(item: Mapping[str, Any], ufw: Firewall | None) -> tuple[str, str]:
    if _local(item["address"]):
        return "local", f"listens at {item['address']}"
    if ufw is None or not ufw.active:
        return "open", "UFW is not active"
    return ("open", "a rule of UFW") if is_open(ufw, item["port"], item["protocol"]) else ("closed", "UFW's default")


def table(found: Iterable[Port], *, colour: bool) -> str:
    """The ports for a person."""
    paint = {"open": "\033[33m", "closed": "\033[32m", "local": ""} if colour else {}
    lines = []
    for item in found:
        state = f"{paint.get(item.reach, '')}{item.reach:6}{chr(27) + '[0m' if paint.get(item.reach) else ''}"
        note = "" if item.wanted or item.reach != "open" else "  <- not one of the application's"
        lines.append(f"{state}  {item.port:5}/{item.protocol}  {item.who:28}  {item.by}{note}")
    return "\n".join(lines)
