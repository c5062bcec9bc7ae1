"""What a host is like, as one script says it in one round trip and as pure functions read it."""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.core.errors import HostFailed

PACKAGES = (
    *("apparmor", "ca-certificates", "certbot", "openssl", "python3", "restic", "sudo", "ufw", "unattended-upgrades"),
    *("docker.io", "docker-cli", "docker-compose", "docker-compose-v2"),
    *("apt-listchanges", "apt-show-versions", "debsums", "libpam-passwdqc", "libpam-tmpdir", "needrestart"),
    *("systemd-timesyncd", "chrony", "ntpsec", "openntpd"),
    *("docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin"),
)
"""The packages whose versions `Facts.packages` tells."""

_BEGIN = re.compile(r"^@@facts ([0-9a-f]{16}) begin 1$", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """A file or directory: `kind` in stat's words ("directory", "regular file"), `mode` as octal digits ("755")."""

    kind: str
    mode: str
    owner: str
    group: str


@dataclass(frozen=True)
class Account:
    """A user of the host. `keys` are the lines of ~/.ssh/authorized_keys without comments and blank ones."""

    name: str
    uid: int
    home: str
    shell: str
    groups: tuple[str, ...]
    keys: tuple[str, ...]
    entries: Mapping[str, Entry]


@dataclass(frozen=True)
class Rule:
    """One UFW rule for the address family `family` ("v4" or "v6"); `port` is "any", "22", "80,443" or "6000:6007"."""

    family: str
    action: str
    protocol: str
    port: str
    destination: str
    source: str
    direction: str


@dataclass(frozen=True)
class Firewall:
    """UFW's own settings. `active` is true when it is enabled and its chains are in the kernel; `default` is the policy
    for incoming connections in lower case ("drop", "reject", "accept")."""

    active: bool
    default: str
    ipv6: bool
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Docker:
    """The engine. `source` is "distribution", "docker" (their own packages) or "other" (a snap, a static binary)."""

    version: str | None
    source: str


@dataclass(frozen=True)
class Unit:
    """A systemd unit that is there: `enabled` is its unit file state, `active` its active state, in systemd's words."""

    enabled: str
    active: str


@dataclass(frozen=True)
class Facts:
    """A host at one moment. Sizes are in bytes. Whatever the host does not have is None or missing from its mapping.

    `published_ports` is "ok", or why ports that Docker publishes may be open; `login_defs` are lines of
    /etc/login.defs, `stock_banners` the files that greet a login as the distribution wrote them, `debsums_check` how
    often debsums looks; `modules` are the seldom ones that the kernel has loaded; `rsa_host_key_bits` is 0 without such
    a key, `ssh_kex` are the key exchanges that OpenSSH has.
    """

    os_id: str
    os_version: str
    os_codename: str
    arch: str
    kernel: str
    uid: int
    user: str
    is_systemd: bool
    container: str | None
    apparmor: bool
    memory: int
    swap: int
    swap_in_fstab: bool
    root_free: int
    data_free: int
    root_filesystem: str
    swarm: bool
    ipv6: bool
    modules: tuple[str, ...]
    rsa_host_key_bits: int
    ssh_kex: tuple[str, ...]
    client_address: str | None
    packages: Mapping[str, str]
    broken_packages: tuple[str, ...]
    docker_sources: tuple[str, ...]
    python: str | None
    daemon: Mapping[str, Any] | None
    docker: Docker | None
    compose: str | None
    ufw: Firewall | None
    published_ports: str | None
    sshd_port: int
    sshd_ports: tuple[int, ...]
    sshd: Mapping[str, str]
    login_defs: Mapping[str, str]
    stock_banners: tuple[str, ...]
    debsums_check: str | None
    deploy_user: Account | None
    login: Account | None
    directories: Mapping[str, Entry]
    entries: Mapping[str, Entry]
    files: Mapping[str, str]
    program_head: str | None
    units: Mapping[str, Unit]
    status: Mapping[str, Any] | None = field(default=None)

    @property
    def os(self) -> str:
        """The system as one word, "debian-13" or "ubuntu-24.04"."""
        return f"{self.os_id}-{self.os_version}"

    @property
    def is_container(self) -> bool:
        """Whether the host is a container, which has no swap or kernel settings of its own."""
        return self.container is not None


def facts_script(app: str, deploy_user: str) -> str:
    """Return the script that prints the facts of a host; run it as root with `sh -s`, the script on stdin.

    The marks around its output are new each time, so nothing that a login shell prints can pass for them.
    """
    header = {"APP": app, "DEPLOY_USER": deploy_user, "MARK": secrets.token_hex(8), "PACKAGES": " ".join(PACKAGES)}
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in header.items())
    return assignments + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")


FACTS_SCRIPT = facts_script


def parse(output: bytes) -> Facts:
    """Read the output of the script, whatever was printed before and after it.

    Raises HostFailed when the beginning is not there or the end is missing, that is when the output was cut off.
    """
    sections = _sections(output.decode("utf-8", errors="replace"))
    host = _pairs(sections["host"])
    packages, broken = _packages(sections["packages"])
    entries = _entries(sections["paths"])
    connection = host.get("ssh_connection", "").split()
    ports = _ports(sections["sshd"], connection)
    python = sections["python"]
    status = "\n".join(sections["status"]).strip()
    return Facts(
        os_id=host.get("os_id", ""),
        os_version=host.get("os_version", ""),
        os_codename=host.get("os_codename", ""),
        arch=host.get("arch", ""),
        kernel=host.get("kernel", ""),
        uid=int(host["uid"]),
        user=host.get("user", ""),
        is_systemd=host.get("systemd") == "yes",
        container=host["container"] if host.get("container", "none") not in ("", "none") else None,
        apparmor=host.get("apparmor") == "Y",
        memory=int(host.get("memory_kib", "0")) * 1024,
        swap=int(host.get("swap_kib", "0")) * 1024,
        swap_in_fstab=host.get("fstab_swap") == "yes",
        root_free=int(host.get("root_free_kib", "0")) * 1024,
        data_free=int(host.get("data_free_kib", host.get("root_free_kib", "0"))) * 1024,
        root_filesystem=host.get("root_filesystem", ""),
        swarm=host.get("swarm") == "yes",
        ipv6=host.get("ipv6") == "yes",
        modules=tuple(name.removeprefix("module_") for name in host if name.startswith("module_")),
        rsa_host_key_bits=int(host.get("rsa_host_key_bits") or 0),
        ssh_kex=tuple(host.get("ssh_kex", "").split()),
        client_address=connection[0] if connection else None,
        packages=packages,
        broken_packages=broken,
        docker_sources=tuple(sections["apt-sources"]),
        python=python[0] if python else None,
        daemon=_daemon(python[1:]),
        docker=_docker(packages, _pairs(sections["docker"])),
        compose=_compose(packages, _pairs(sections["docker"])),
        ufw=_firewall(sections["ufw"]),
        published_ports=next(iter(sections.get("published-ports", [])), None),
        sshd_port=ports[0],
        sshd_ports=ports,
        sshd=dict(line.split(" ", 1) for line in sections["sshd"] if not line.startswith(("port ", "socket "))),
        login_defs=_pairs(sections.get("login-defs", [])),
        stock_banners=tuple(sections.get("stock-banners", [])),
        debsums_check=next(iter(sections.get("debsums", [])), None),
        deploy_user=_account(sections["deploy"]),
        login=_account(sections["login"]),
        directories={path: entry for path, entry in entries.items() if entry.kind == "directory"},
        entries=entries,
        files={path: digest for digest, path in (line.split(maxsplit=1) for line in sections["sha256"])},
        program_head=next(iter(sections["program"]), None),
        units=_units(sections["units"]),
        status=_json_object(status),
    )


def _sections(text: str) -> dict[str, list[str]]:
    """Split the output into its sections, blank lines left out."""
    begin = _BEGIN.search(text)
    if begin is None:
        raise HostFailed("the host did not answer with its facts", hint="see what this prints: ssh HOST sudo -n id")
    body, end, _ = text[begin.end() :].partition(f"\n@@facts {begin[1]} end\n")
    if not end:
        raise HostFailed("the host's facts were cut off before their end", hint="run the same command again")
    title = f"@@facts {begin[1]} section "
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in body.splitlines():
        if line.startswith(title):
            lines = sections.setdefault(line.removeprefix(title), [])
        elif line.strip():
            lines.append(line)
    return sections


def _pairs(lines: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _packages(lines: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    packages, broken = {}, []
    for state, name, version in (line.split(" ", 2) for line in lines):
        if state == "installed":
            packages[name] = version
        else:
            broken.append(name)
    return packages, tuple(broken)


def _daemon(lines: list[str]) -> dict[str, Any] | None:
    """The few keys of daemon.json that setup cares for; {"invalid": True} for a file that Docker could not read."""
    if not lines:
        return None
    settings: dict[str, Any] = {"invalid": True} if lines[0] == "invalid" else json.loads(lines[0])
    return settings


def _docker(packages: Mapping[str, str], found: Mapping[str, str]) -> Docker | None:
    if "docker-ce" in packages:
        return Docker(packages["docker-ce"], "docker")
    if "docker.io" in packages:
        return Docker(packages["docker.io"], "distribution")
    return Docker(None, "other") if "engine" in found or "client" in found else None


def _compose(packages: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    """The version of Compose as `docker compose` would start it; "unknown" for a plugin that no package brought."""
    for name in ("docker-compose-plugin", "docker-compose-v2", "docker-compose"):
        if name in packages and not packages[name].startswith("1."):
            return packages[name]
    return "unknown" if "compose" in found else None


def _firewall(lines: list[str]) -> Firewall | None:
    if not lines:
        return None
    values = {name: value.strip("\"'").lower() for name, value in _pairs(lines).items() if " " not in name}
    return Firewall(
        active=values.get("ENABLED") == "yes" and values.get("LOADED") == "yes",
        default=values.get("DEFAULT_INPUT_POLICY", "drop"),
        ipv6=values.get("IPV6") == "yes",
        rules=tuple(_rule(line.split()) for line in lines if line.startswith(("v4 ", "v6 "))),
    )


def _rule(words: list[str]) -> Rule:
    """Read a rule as ufw keeps it: family, action, protocol, port, destination, port of the source, source, ..."""
    family, action, protocol, port, destination, _, source = words[:7]
    # then "in", "out_eth0", ..., after two names when the rule came from an application profile, before a comment
    direction = next((word for word in words[7:] if re.match(r"(in|out)(_|$)", word)), "in")
    return Rule(family, action.partition("_")[0], protocol, port, destination, source, direction)


def _ports(lines: list[str], connection: list[str]) -> tuple[int, ...]:
    """The ports that sshd answers on; first the one of this very connection, which we know to be reachable."""
    configured = [line.split()[1] for line in lines if line.startswith("port ")]
    socket = [line.removeprefix("socket ") for line in lines if line.startswith("socket ")]
    if "ActiveState=active" in socket:  # systemd listens then, whatever sshd's own settings say
        configured = [match[1] for line in socket if (match := re.match(r"Listen=.*?(\d+) \(Stream\)", line))]
    ports = [connection[3]] if len(connection) == 4 else []
    return tuple(dict.fromkeys(int(port) for port in [*ports, *configured])) or (22,)


def _entries(lines: list[str]) -> dict[str, Entry]:
    entries = {}
    for line in lines:
        kind, mode, owner, group, path = line.split("|", 4)
        entries[path] = Entry(kind, mode, owner, group)
    return entries


def _account(lines: list[str]) -> Account | None:
    if not lines:
        return None
    pairs = [line.partition("=")[::2] for line in lines]
    values = dict(pairs)
    name, _, uid, _, _, home, shell = values["passwd"].split(":")
    keys = tuple(value for kind, value in pairs if kind == "key")
    entries = _entries([value for kind, value in pairs if kind == "mode"])
    return Account(name, int(uid), home, shell, tuple(values.get("groups", "").split()), keys, entries)


def _units(lines: list[str]) -> dict[str, Unit]:
    """Read the blocks of `systemctl show`, which begin with the unit's name whatever order was asked for."""
    units: dict[str, Unit] = {}
    values: dict[str, str] = {}
    for name, _, value in (line.partition("=") for line in [*lines, "Id="]):
        if name in values or (not value and name == "Id"):
            if values.get("LoadState") in ("loaded", "masked"):
                units[values["Id"]] = Unit(values.get("UnitFileState", ""), values.get("ActiveState", ""))
            values = {}
        values[name] = value
    return units


def _json_object(text: str) -> Mapping[str, Any] | None:
    """The host program's status; None when there is none, for a broken program must not hide the other facts."""
    try:
        value = json.loads(text.splitlines()[-1]) if text else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
