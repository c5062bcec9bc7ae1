"""What everything in the lab is called and where it is. Fixed: the rest of the toolkit knows these names."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".lab"
CACHE = STATE / "cache"

NETWORK = "lab"
SUBNET = "172.31.213.0/24"
GATEWAY = "172.31.213.1"
SUBNET6 = "fd31:213::/64"
REGISTRY = "lab-registry"
REGISTRY_ADDRESS = "172.31.213.2"
PEBBLE = "lab-pebble"
PEBBLE_ADDRESS = "172.31.213.3"
STORAGE = "lab-storage"
STORAGE_ADDRESS = "172.31.213.4"
S3_KEYS = ("lab-access", "lab-secret-of-the-storage")  # any are let in
SITE_DOMAIN = "maicivy.lab.test"
GRAFANA_DOMAIN = "analytics.maicivy.lab.test"
# What host 1 is called: it has to find itself under these, as a server does in public DNS.
SITE_NAMES = (SITE_DOMAIN, GRAFANA_DOMAIN, f"www.{SITE_DOMAIN}")
PRIVATE_REGISTRY = f"{REGISTRY}:5001"
REGISTRY_USER = "lab"

MOST_HOSTS = 9

# Every container, network and volume carries it: `down` removes what has it and nothing else.
OWNER_LABEL = "maicivy.lab"


def alias(number: int) -> str:
    """What the user types for host `number` (from 1): lab, lab2, lab3."""
    return "lab" if number == 1 else f"lab{number}"


def container(number: int) -> str:
    """The container that is host `number`."""
    return f"lab-vps{number}"


def address(number: int) -> str:
    """The fixed address of host `number` on the lab's network."""
    return f"172.31.213.{10 + number}"


def address6(number: int) -> str:
    """The same for IPv6."""
    return f"fd31:213::{10 + number}"
