"""Reading who listens and what Docker publishes."""

from __future__ import annotations

import pytest

from host import exposure

SS = """\
udp   UNCONN 0      0         127.0.0.11:48976      0.0.0.0:*
tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=90,fd=6))
tcp   LISTEN 0      4096            [::]:443           [::]:*    users:(("docker-proxy",pid=4452,fd=4))
tcp   LISTEN 0      4096   127.0.0.1%lo:53         0.0.0.0:*    users:(("systemd-resolve",pid=1,fd=4))
tcp   LISTEN 0      4096               *:9100             *:*    users:(("node_exporter",pid=2,fd=3))
"""


def test_listeners_are_read_with_their_program_and_address() -> None:
    assert [tuple(item.values()) for item in exposure.listeners(SS)] == [
        ("udp", "127.0.0.11", 48976, ""),
        ("tcp", "0.0.0.0", 22, "sshd"),
        ("tcp", "::", 443, "docker-proxy"),
        ("tcp", "127.0.0.1", 53, "systemd-resolve"),
        ("tcp", "*", 9100, "node_exporter"),
    ]


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ("0.0.0.0:80->80/tcp, [::]:80->80/tcp", [("tcp", "0.0.0.0", 80), ("tcp", "::", 80)]),
        ("0.0.0.0:80->80/tcp, :::80->80/tcp", [("tcp", "0.0.0.0", 80), ("tcp", "::", 80)]),
        ("127.0.0.1:443->443/udp", [("udp", "127.0.0.1", 443)]),
        ("192.0.2.1:8000-8001->80-81/tcp", [("tcp", "192.0.2.1", 8000), ("tcp", "192.0.2.1", 8001)]),
        ("5432/tcp", []),
        ("", []),
    ],
)
def test_published_ports_are_read_from_docker(ports: str, expected: list[tuple[str, str, int]]) -> None:
    found = exposure.published(f"a-name\t{ports}\n")
    assert [(item["protocol"], item["address"], item["port"]) for item in found] == expected
    assert all(item["container"] == "a-name" for item in found)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ('{"FirewallBackend": {"Driver": "nftables"}}', "nftables"),
        ('{"FirewallBackend": {"Driver": "iptables+firewalld"}}', "iptables"),
        ("{}", "iptables"),
        ("", "iptables"),
    ],
)
def test_the_engines_firewall_is_told(info: str, expected: str) -> None:
    assert exposure.backend(info) == expected
