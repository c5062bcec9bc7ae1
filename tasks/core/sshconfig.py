"""What `ssh -G` answers, made into a hop: pure, no file is read here."""

import getpass
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.core.errors import UsageError

_DEFAULT_CONNECT = 10.0  # seconds for TCP; ssh's own default is the kernel's two minutes
_DEFAULT_ALIVE = (4, 3)  # a question every 4 s, three unanswered: a dead peer is noticed within 15 s
_NAME = re.compile(r"[A-Za-z0-9_.:%-]+\Z")


@dataclass(frozen=True)
class Hop:
    """One SSH server on the way, as ssh would reach it.

    alias: what the user calls it. address, port, user: where it is. key_name: what known_hosts calls it.
    alive_interval (seconds) and alive_count: when silence means it is gone. connect_timeout: seconds.
    agent: socket of the agent, "" for the environment's, None for no agent. proxy_command: expanded, or "".
    """

    alias: str
    address: str
    port: int
    user: str
    key_name: str
    known_hosts: tuple[Path, ...]
    identities: tuple[Path, ...]
    identities_only: bool
    agent: str | None
    proxy_command: str
    alive_interval: int
    alive_count: int
    connect_timeout: float

    @property
    def patience(self) -> int:
        """Seconds without a sign of life after which the peer counts as gone."""
        return self.alive_interval * self.alive_count

    def also_knowing(self, known_hosts: Path) -> "Hop":
        """The same hop with one more known_hosts file, looked at first."""
        return replace(self, known_hosts=(known_hosts, *self.known_hosts))


def split_shorthand(name: str) -> tuple[str | None, str, int | None]:
    """`user@host:port`, `[::1]:22`, `::1` or an alias, as (user, host, port); parts not given are None.

    Raises UsageError for anything that is no host name: an option, a space, a port that is no number.
    """
    user, at, rest = name.strip().rpartition("@")
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?", rest)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
    elif rest.count(":") == 1:
        host, port = rest.split(":")
    else:
        host, port = rest, None
    valid_port = port is None or (port.isdecimal() and 0 < int(port) < 65536)
    if not _NAME.match(host) or host.startswith("-") or (at and not user) or user.startswith("-") or not valid_port:
        raise UsageError(f"{name!r} is not a host", hint="-H takes an alias of your ssh config or user@host:port")
    return user or None, host, int(port) if port else None


def parse_settings(text: str) -> dict[str, list[str]]:
    """The lines of `ssh -G`: lower-case keyword to all its values, in order."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        settings.setdefault(key.lower(), []).append(value.strip())
    return settings


def hop_from_settings(
    alias: str,
    settings: dict[str, list[str]],
    *,
    identities: tuple[Path, ...] = (),
    known_hosts: tuple[Path, ...] | None = None,
) -> Hop:
    """A hop from parsed `ssh -G` output. `identities` go before its own; `known_hosts` replaces its own files."""

    def one(key: str, default: str) -> str:
        return settings.get(key, [default])[0]

    address, port, user = one("hostname", alias), int(one("port", "22")), one("user", "") or getpass.getuser()
    key_alias = one("hostkeyalias", "none")
    plain = address.lower() if port == 22 else f"[{address.lower()}]:{port}"
    key_name = plain if key_alias == "none" else key_alias.lower()
    tokens = {"h": address, "p": str(port), "r": user, "n": alias, "u": getpass.getuser(), "d": str(Path.home())}
    tokens["k"] = key_alias if key_alias != "none" else address

    def paths(values: list[str]) -> tuple[Path, ...]:
        return tuple(Path(_expand(v, tokens)).expanduser() for v in values if v.lower() != "none")

    files = known_hosts
    if files is None:
        listed = f"{one('userknownhostsfile', '')} {one('globalknownhostsfile', '')}"
        files = paths(listed.split())
    interval, count = _int(one("serveraliveinterval", "0")), _int(one("serveralivecountmax", "3"))
    if interval <= 0:
        interval, count = _DEFAULT_ALIVE
    timeout = one("connecttimeout", "none")
    agent = one("identityagent", "SSH_AUTH_SOCK")
    proxy = one("proxycommand", "none")
    return Hop(
        alias=alias,
        address=address,
        port=port,
        user=user,
        key_name=key_name,
        known_hosts=files,
        identities=(*identities, *paths(settings.get("identityfile", []))),
        identities_only=one("identitiesonly", "no") == "yes",
        agent=None if agent == "none" else "" if agent == "SSH_AUTH_SOCK" else _expand_agent(agent, tokens),
        proxy_command="" if proxy.lower() == "none" else _expand(proxy, tokens),
        alive_interval=interval,
        alive_count=max(1, count),
        connect_timeout=float(timeout) if timeout.isdecimal() and int(timeout) > 0 else _DEFAULT_CONNECT,
    )


def _expand(text: str, tokens: dict[str, str]) -> str:
    return re.sub(r"%(.)", lambda m: "%" if m[1] == "%" else tokens.get(m[1], m[0]), text)


def _expand_agent(value: str, tokens: dict[str, str]) -> str:
    if value.startswith("$"):
        return os.environ.get(value[1:].strip("{}"), "")
    return str(Path(_expand(value, tokens)).expanduser())


def _int(text: str) -> int:
    return int(text) if text.isdecimal() else 0
