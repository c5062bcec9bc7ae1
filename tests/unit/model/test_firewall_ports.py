"""Which ports can be reached from outside."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.model import firewall
from tasks.model.facts import Firewall, Rule

ANY4, ANY6 = "0.0.0.0/0", "::/0"


def allow(port: str, source: str = ANY4, family: str = "v4", action: str = "allow", protocol: str = "tcp") -> Rule:
    return Rule(family, action, protocol, port, ANY4 if family == "v4" else ANY6, source, "in")


UFW = Firewall(True, "drop", True, (allow("22"), allow("22", ANY6, "v6"), allow("9000:9010", "192.0.2.0/24")))
EXPOSURE: dict[str, Any] = {
    "listeners": [
        {"protocol": "tcp", "address": "0.0.0.0", "port": 22, "program": "sshd"},
        {"protocol": "tcp", "address": "*", "port": 25, "program": "master"},
        {"protocol": "tcp", "address": "127.0.0.1", "port": 631, "program": "cupsd"},
        {"protocol": "tcp", "address": "0.0.0.0", "port": 443, "program": "docker-proxy"},
    ],
    "published": [
        {"protocol": "tcp", "address": "0.0.0.0", "port": 443, "container": "shop-nginx-1"},
        {"protocol": "tcp", "address": "::", "port": 443, "container": "shop-nginx-1"},
        {"protocol": "tcp", "address": "0.0.0.0", "port": 6379, "container": "cache"},
        {"protocol": "tcp", "address": "127.0.0.1", "port": 3000, "container": "grafana"},
    ],
    "allowed": ["tcp 443", "tcp 80"], "rules": "ok", "backend": "iptables",
}  # fmt: skip


def reach(exposure: dict[str, Any] = EXPOSURE, ufw: Firewall | None = UFW) -> dict[tuple[int, str], str]:
    return {(port.port, port.who): port.reach for port in firewall.ports(exposure, ufw, [("tcp", 22), ("tcp", 443)])}


def test_each_port_is_open_closed_or_local_with_the_one_who_listens() -> None:
    assert reach() == {
        (22, "sshd"): "open", (25, "master"): "closed", (443, "shop-nginx-1"): "open", (631, "cupsd"): "local",
        (3000, "grafana"): "local", (6379, "cache"): "closed",
    }  # fmt: skip


@pytest.mark.parametrize("change", [{"rules": "not loaded"}, {"backend": "nftables"}])
def test_without_the_rules_what_docker_publishes_is_open_whatever_ufw_says(change: dict[str, str]) -> None:
    assert reach(EXPOSURE | change)[6379, "cache"] == "open"


def test_without_ufw_everything_that_listens_is_open() -> None:
    assert reach(ufw=None)[25, "master"] == "open"


def test_an_address_of_many_that_is_open_counts() -> None:
    listeners = [
        {"protocol": "tcp", "address": address, "port": 9001, "program": "app"} for address in ("127.0.0.1", "0.0.0.0")
    ]
    assert reach(EXPOSURE | {"listeners": listeners})[9001, "app"] == "open", "some may come: 192.0.2.0/24"


def test_a_rule_before_it_that_denies_everybody_closes_a_port() -> None:
    rules = (allow("22", action="deny"), allow("22"), allow("22", ANY6, "v6", "deny"), allow("22", ANY6, "v6"))
    assert reach(ufw=Firewall(True, "drop", True, rules))[22, "sshd"] == "closed"


def test_the_table_points_at_what_is_open_and_not_meant_to_be() -> None:
    ports = firewall.ports(EXPOSURE | {"rules": "not loaded"}, UFW, [("tcp", 22), ("tcp", 443)])
    [line] = [line for line in firewall.table(ports, colour=False).splitlines() if " 6379/tcp" in line]
    assert line.endswith("<- not one of the application's")
