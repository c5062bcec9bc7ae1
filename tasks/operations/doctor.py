"""Looking at everything that has to be right: here, on the way, and on the host."""

from __future__ import annotations

import platform
import re
import socket
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core import project, settings
from tasks.core.errors import ExitStatus, InfraError, SettingsError
from tasks.core.observe import observe
from tasks.core.output import coloured
from tasks.core.task import Report
from tasks.model import bundle, compose, program
from tasks.model import doctor as model
from tasks.model import setup as setup_model
from tasks.model.doctor import Finding
from tasks.model.provision import sshd
from tasks.operations import firewall, health, hint, setup, ssl

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings
    from tasks.model.facts import Facts

_LIBRARIES = ("fabric", "invoke", "paramiko", "cryptography")
_DANGEROUS = (2375, 2376, 3000, 5432, 6379, 8080, 9090, 9093, 9100)  # databases, Docker's API, metrics, dashboards
_SECONDS = 2.0  # for one port


def doctor(s: Session) -> Report:
    """Look at all of it; UNHEALTHY with an error, else the status of the host that could not be reached."""
    fab = partial(hint.fab, s)
    try:
        chosen = settings.load(s.settings_file)
    except SettingsError as error:
        fix = error.hint or "fab secrets.check"
        return _report(s, [*model.unusable_settings(error.problems, fix), *_toolkit(), *_logins(s)])
    facts: Facts | None = None
    login: list[Finding] = []
    unreachable: InfraError | None = None
    try:
        facts = observe(s, chosen)
    except InfraError as error:
        unreachable = error
        login = [Finding("host", "login", model.ERROR, error.cause, error.hint or f"ssh {s.name} true")]
    findings = [*_workstation(s, chosen, facts, fab), *_network(s, chosen, facts, fab), *login]
    if facts is not None:
        findings += _host(s, chosen, facts, fab)
    return _report(s, findings, unreachable)


def _report(s: Session, findings: list[Finding], unreachable: InfraError | None = None) -> Report:
    grade = model.worst(findings)
    data = {"ok": grade != model.ERROR, "findings": [finding.to_json() for finding in findings]}
    count = {each: sum(finding.grade == each for finding in findings) for each in (model.ERROR, model.WARNING)}
    text = model.table(findings, colour=coloured(s.out.console.stdout))
    text += f"\n{s.name}: {_count(count[model.ERROR], 'error')}, {_count(count[model.WARNING], 'warning')}"
    status = ExitStatus.UNHEALTHY if grade == model.ERROR else ExitStatus.OK
    return Report(data, text, status=unreachable.status if unreachable else status)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _workstation(s: Session, chosen: Settings, facts: Facts | None, fab: model.Fab) -> Iterator[Finding]:
    yield Finding("workstation", "settings", model.OK, f"{settings.display_name(chosen.path)} is in order")
    yield from model.choices(chosen, fab)
    yield from _toolkit()
    yield from _logins(s, chosen, facts, fab)


def _toolkit() -> Iterator[Finding]:
    """Python and the libraries of this checkout."""
    wanted = _wanted(project.ROOT / "pyproject.toml")
    yield model.python(platform.python_version(), str(wanted.get("requires-python", "")))
    installed = {name: _version(name) for name in _LIBRARIES}
    needed = dict(_requirement(line) for line in wanted.get("dependencies", ()))
    known = {name: needed[name] for name in _LIBRARIES if name in needed}
    yield model.libraries(installed, _locked(project.ROOT / "requirements.lock"), known)


def _wanted(path: Path) -> Mapping[str, Any]:
    """The table `project` of a pyproject.toml, empty where there is none."""
    try:
        found: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except OSError:
        return {}
    return found


def _requirement(line: str) -> tuple[str, str]:
    """A dependency as its name and its range."""
    match = re.match(r"[A-Za-z0-9._-]+", line)
    name = match[0] if match else ""
    return name.lower(), line.removeprefix(name).strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _locked(path: Path) -> dict[str, str]:
    text = path.read_text() if path.is_file() else ""
    found = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", text, re.M))
    return {name: found[name] for name in _LIBRARIES if name in found}


def _logins(
    s: Session, chosen: Settings | None = None, facts: Facts | None = None, fab: model.Fab | None = None
) -> Iterator[Finding]:
    """The key of the settings, and whatever a login would be tried with: the agent is asked once."""
    from tasks.core.login import KeyLogin

    attempt = KeyLogin(s.target.hop, s.credentials)
    offered = list(attempt.keys())
    if chosen is not None and fab is not None:
        found = model.key(_key(chosen, facts, {key.asbytes() for _, key in offered}))
        yield Finding(found.where, found.name, found.grade, found.what, model.for_host(found.fix, fab))
    own = None if chosen is None else _private(chosen.deploy_public_key_file)  # is told about already
    paths = [path for path in dict.fromkeys(s.target.hop.identities) if path.suffix != ".pub" and path != own]
    modes = {str(path): path.stat().st_mode & 0o777 for path in paths if path.is_file()}
    held = sum("agent" in name for name, _ in offered)
    yield from model.logins(modes, attempt.notes, held, len(offered))


def _key(chosen: Settings, facts: Facts | None, offered: Iterable[bytes]) -> model.Key:
    path = chosen.deploy_public_key_file
    shown = settings.display_name(path)
    try:
        kind, text, *_ = path.read_text(encoding="utf-8").split()
        blob = _blob(text)
    except (OSError, ValueError):  # not there, no text, or no key
        return model.Key(shown, "")
    private = _private(path)
    account = facts.deploy_user if facts else None
    return model.Key(
        shown,
        kind,
        bits=_bits(kind, blob),
        mode=private.stat().st_mode & 0o777 if private.is_file() else None,
        present=account is None or any(text in line.split() for line in account.keys),
        usable=blob in set(offered),
    )


def _private(path: Path) -> Path:
    """Where ssh-keygen puts the private part of a public key."""
    return path.with_suffix("")


def _blob(text: str) -> bytes:
    """The second word of a public key, decoded. Raises ValueError when it is none."""
    import base64

    return base64.b64decode(text, validate=True)


def _bits(kind: str, blob: bytes) -> int:
    """The length of an RSA key; 0 for another kind, or when it cannot be read."""
    if kind != "ssh-rsa":
        return 0
    fields, rest = [], blob
    while rest:
        length = int.from_bytes(rest[:4], "big")
        fields.append(rest[4 : 4 + length])
        rest = rest[4 + length :]
    return int.from_bytes(fields[2], "big").bit_length() if len(fields) == 3 else 0  # its name, e, n


def _network(s: Session, chosen: Settings, facts: Facts | None, fab: model.Fab) -> Iterator[Finding]:
    yield from _names(s, chosen, facts)
    hop = s.target.hop
    if s.target.gateways or hop.proxy_command:  # what is seen from here is not what the host's visitors see
        yield Finding("network", "ports", model.OK, "not tried: the host is reached through another one")
        return
    site = {chosen.http_port: "HTTP", chosen.https_port: "HTTPS"}
    deployed = facts is None or (facts.status or {}).get("release")
    wanted = {**(site if deployed else {}), s.port: "SSH"}
    numbers = [*wanted, *(number for number in _DANGEROUS if number not in wanted)]
    with ThreadPoolExecutor(len(numbers)) as pool:
        states = dict(zip(numbers, pool.map(partial(_open, s.address), numbers), strict=True))
    yield from model.ports(states, wanted, fab, unsure=site if facts is None else ())


def _names(s: Session, chosen: Settings, facts: Facts | None) -> Iterator[Finding]:
    """Where the names lead. As for the checks of the site, PUBLIC_ADDRESS counts as the host's address."""
    if s.target.in_lab:
        yield Finding("network", "DNS", model.OK, "not asked: the lab's names are in no public DNS")
        return
    behind = bool(s.target.gateways or s.target.hop.proxy_command)  # then its address is one of another network
    wanted = [chosen.public_address] if chosen.public_address else [] if behind else None
    with ThreadPoolExecutor(len(chosen.domains) + 1) as pool:
        own = pool.submit(_addresses, s.address)
        asked = [(domain, pool.submit(_addresses, domain)) for domain in chosen.domains]
        expected = own.result() if wanted is None else wanted
        for domain, found in asked:
            yield model.name(
                domain,
                found.result(),
                expected,
                proxies=chosen.trusted_proxies,
                has_ipv6=facts is None or facts.ipv6,
                switched=chosen.public_address is None,
            )


def _addresses(name: str) -> list[str]:
    try:
        return sorted({str(item[4][0]) for item in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError):  # the second for a name that no DNS could have
        return []


def _open(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), _SECONDS).close()
        return True
    except OSError:
        return False


def _host(s: Session, chosen: Settings, facts: Facts, fab: model.Fab) -> Iterator[Finding]:
    digest = program.digest(program.build(chosen.app_name))
    installed = f"/usr/local/bin/{chosen.app_name}" in facts.entries
    if (found := model.program(facts.status, installed, digest, fab("setup"))) is not None:
        yield found
    try:
        wanted = setup.wanted(chosen, digest)
        yield from model.promises(setup_model.plan(facts, wanted), setup_model.remarks(facts, wanted), fab("setup"))
    except InfraError as error:  # setup would decline, too
        yield Finding("host", "setup", model.ERROR, error.cause, error.hint or fab("setup"))
    if facts.status is None:
        return
    if not sshd.is_hardened(facts, chosen.app_name):
        yield Finding("host", "hardening", model.WARNING, "not done: sshd may let root and passwords in",
                      f"{fab('setup')} --harden")  # fmt: skip
    yield from model.standing(facts.status, fab)
    yield from _volumes(chosen, facts.status, fab)
    yield from model.checks(model.condition(facts.status, now=time.time()), "host", fab)
    yield from _firewall(s, chosen, facts, fab)
    if facts.status.get("release") is None:
        yield Finding("host", "release", model.WARNING, "nothing is deployed here", fab("deploy"))
        return
    closed = bool(facts.status.get("maintenance"))
    yield from model.checks(health.outside(s, chosen, closed=closed), "network", fab)
    yield from _certificate(s, chosen, fab)


def _volumes(chosen: Settings, status: Mapping[str, Any], fab: model.Fab) -> Iterator[Finding]:
    name = bundle.COMPOSE_FILE
    try:
        classes = compose.backups(project.read_tree()[name], {"APP_NAME": chosen.app_name})
    except (compose.ComposeError, KeyError) as error:
        yield Finding("workstation", "volumes", model.ERROR, f"files/{name}: {error}", "mend it")
        return
    yield from model.volumes(classes, status.get("volumes") or (), f"files/{name}", fab)


def _certificate(s: Session, chosen: Settings, fab: model.Fab) -> Iterator[Finding]:
    try:
        _, findings = ssl.look(s, chosen)
    except InfraError as error:  # an older host program, which the plan of setup has named already
        yield Finding("host", "certificate", model.ERROR, error.cause, error.hint or fab("setup"))
        return
    for found in findings:
        grade = model.WARNING if found.grade == "warning" else model.ERROR
        yield Finding("host", "certificate", grade, found.what, model.for_host(found.fix, fab))
    if not findings:
        yield Finding("host", "certificate", model.OK, "served, stored and renewed as it should be")


def _firewall(s: Session, chosen: Settings, facts: Facts, fab: model.Fab) -> Iterator[Finding]:
    try:
        faults = firewall.faults(s, chosen, facts)
    except InfraError as error:
        yield Finding("host", "firewall", model.ERROR, error.cause, error.hint or fab("setup"))
        return
    yield from model.exposure(faults, fab)
