"""How a Compose file writes mounts, ports, durations and sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Port:
    """A port that a service publishes.

    Attributes:
        published: on the host; 0 when Docker chooses.
        target: in the container.
        host_ip: the address it is bound to, "" for all.
        protocol: "tcp" or "udp".
    """

    published: int
    target: int
    host_ip: str = ""
    protocol: str = "tcp"


@dataclass(frozen=True)
class Mount:
    """One mount of a service: `kind` is volume, bind or tmpfs; `source` is "" for a volume without a name."""

    kind: str
    source: str
    target: str


def mounted(item: Any) -> Mount:
    """Read an entry of `volumes:`, in its long or short form."""
    if isinstance(item, dict):
        return Mount(str(item.get("type") or "volume"), str(item.get("source") or ""), str(item.get("target") or ""))
    words = str(item).split(":")
    if len(words) == 1:
        return Mount("volume", "", words[0])
    kind = "bind" if words[0].startswith(("/", ".", "~")) else "volume"
    return Mount(kind, words[0], words[1])


def published(item: Any) -> list[Port]:
    """Read an entry of `ports:`: "443:443", "127.0.0.1:9090:9090/udp", "8000-8002:80-82", a number or the long form.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(item, dict):
        whole = str(item.get("published") or "0")
        host_ip, protocol = str(item.get("host_ip") or ""), str(item.get("protocol") or "tcp")
        target = str(item["target"])
    else:
        text, _, protocol = str(item).partition("/")
        rest, _, target = text.rpartition(":")
        host_ip, _, whole = rest.rpartition(":")
        host_ip, whole, protocol = host_ip.strip("[]"), whole or "0", protocol or "tcp"
    outside, inside = _range(whole), _range(target)
    if len(inside) == 1:
        inside *= len(outside)
    if len(outside) == 1 and len(inside) > 1:
        outside *= len(inside)
    if len(outside) != len(inside):
        raise ValueError(f"the port ranges of {item!r} are not of one length")
    return [Port(out, into, host_ip, protocol) for out, into in zip(outside, inside, strict=True)]


def _range(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def seconds(duration: Any) -> float:
    """Turn a duration as Compose writes it ("1m30s", "40s", "500ms", 10) into seconds.

    Raises:
        ValueError: it is none.
    """
    if isinstance(duration, (int, float)):
        return float(duration)
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|us|h|m|s)", str(duration))
    if not parts or "".join(number + unit for number, unit in parts) != str(duration):
        raise ValueError(f"{duration!r} is not a duration like 1m30s")
    return sum(float(number) * units[unit] for number, unit in parts)


def size_in_bytes(size: str) -> int:
    """Turn a size as Docker writes it ("512m", "1.5g", "1073741824") into bytes.

    Raises:
        ValueError: not such a size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", size.strip().lower())
    if not match:
        raise ValueError(f"{size!r} is not a size like 512m")
    return int(float(match[1]) * {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(match[2], 1))
