"""Looking at everything that has to be right: here, on the way, and on the host."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import TYPE_CHECKING

from tasks.core import settings
from tasks.core.errors import ExitStatus, InfraError, Refused
from tasks.core.observe import observe
from tasks.core.output import coloured
from tasks.core.target import project_root
from tasks.core.task import Report
from tasks.model import doctor as model
from tasks.model import health as health_model
from tasks.model import program
from tasks.model import setup as setup_model
from tasks.model.doctor import Finding
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
    chosen = settings.load(s.settings_file)
    findings: list[Finding] = []
    unreachable: InfraError | None = None
    facts: Facts | None = None
    try:
        facts = observe(s, chosen)
    except InfraError as error:
        unreachable = error
        fix = error.hint or f"ssh {s.name} true"
        findings.append(Finding("host", "login", model.ERROR, error.cause, fix))
    findings = [*_workstation(s, chosen, facts), *_network(s, chosen, facts), *findings]
    if facts is not None:
        findings += _host(s, chosen, facts)
    grade = model.worst(findings)
    data = {"ok": grade != model.ERROR, "findings": [finding.to_json() for finding in findings]}
    count = {each: sum(finding.grade == each for finding in findings) for each in (model.ERROR, model.WARNING)}
    text = model.table(findings, colour=coloured(s.out.console.stdout))
    text += f"\n{s.name}: {count[model.ERROR]} errors, {count[model.WARNING]} warnings"
    status = ExitStatus.UNHEALTHY if grade == model.ERROR else ExitStatus.OK
    return Report(data, text, status=unreachable.status if unreachable else status)


def _workstation(s: Session, chosen: Settings, facts: Facts | None) -> Iterator[Finding]:
    yield Finding("workstation", "settings", model.OK, f"{settings.display_name(chosen.path)} is in order")
    yield model.libraries({name: _version(name) for name in _LIBRARIES}, _locked())
    yield _key(chosen, facts)
    if (remark := model.hsts(chosen.hsts)) is not None:
        yield remark


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _locked() -> dict[str, str]:
    path = project_root() / "requirements.lock"
    text = path.read_text() if path.is_file() else ""
    found = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", text, re.M))
    return {name: found[name] for name in _LIBRARIES if name in found}


def _key(chosen: Settings, facts: Facts | None) -> Finding:
    path = chosen.deploy_public_key_file
    try:
        words = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return model.key(str(path), "", 0, None, True)
    private = path.with_suffix("")
    mode = private.stat().st_mode & 0o777 if private.is_file() else None
    account = facts.deploy_user if facts else None
    present = account is None or any(words[1] in line for line in account.keys)
    return model.key(settings.display_name(path), words[0], _bits(words), mode, present)


def _bits(words: list[str]) -> int:
    """The length of an RSA key, from its text."""
    if words[0] != "ssh-rsa":
        return 0
    import base64

    try:
        return max(0, (len(base64.b64decode(words[1])) - 20) * 8 // 64 * 64)
    except ValueError:
        return 0


def _network(s: Session, chosen: Settings, facts: Facts | None) -> Iterator[Finding]:
    if s.target.in_lab:
        yield Finding("network", "DNS", model.OK, "not asked: the lab's names are in no public DNS")
    else:
        expected = [chosen.public_address] if chosen.public_address else _addresses(s.address)
        for domain in chosen.domains:
            yield model.name(domain, _addresses(domain), expected)
    deployed = bool(facts and (facts.status or {}).get("release"))
    wanted = {s.port: "SSH"}
    if deployed:
        wanted |= {chosen.http_port: "HTTP", chosen.https_port: "HTTPS"}
    numbers = [*wanted, *(port for port in _DANGEROUS if port not in wanted)]
    if s.target.gateways:  # what is seen from here is not what the host sees
        return
    with ThreadPoolExecutor(len(numbers)) as pool:
        states = dict(zip(numbers, pool.map(lambda port: _open(s.address, port), numbers), strict=True))
    for number, is_open in states.items():
        if (finding := model.port(number, is_open, wanted.get(number, ""))) is not None:
            yield finding


def _addresses(name: str) -> list[str]:
    try:
        return sorted({str(item[4][0]) for item in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)})
    except OSError:
        return []


def _open(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), _SECONDS).close()
        return True
    except OSError:
        return False


def _host(s: Session, chosen: Settings, facts: Facts) -> Iterator[Finding]:
    command = hint.fab(s, "setup")
    wanted = setup.wanted(chosen, program.digest(program.build(chosen.app_name)))
    try:
        yield from model.promises(setup_model.plan(facts, wanted), setup_model.remarks(facts, wanted), command)
    except Refused as error:
        yield Finding("host", "setup", model.ERROR, error.cause, error.hint or command)
    if facts.status is None:
        return
    for problem in facts.status.get("problems") or ():
        yield Finding("host", "host program", model.ERROR, str(problem), command)
    if facts.status.get("release") is None:
        yield Finding("host", "release", model.WARNING, "nothing is deployed here", hint.fab(s, "deploy"))
        return
    closed = bool(facts.status.get("maintenance"))
    yield from model.checks(health.outside(s, chosen, closed=closed), "network", hint.fab(s, "health"))
    inside = health_model.inside(facts.status, now=time.time())
    yield from model.checks(inside, "host", f"{hint.fab(s, 'health')}; a changed file: {hint.fab(s, 'deploy')}")
    yield from _asked(s, chosen, facts)


def _asked(s: Session, chosen: Settings, facts: Facts) -> Iterator[Finding]:
    """What the other tasks look at: the certificate and the firewall."""
    try:
        _, findings = ssl.look(s, chosen)
        for found in findings:
            yield Finding("host", "certificate", model.WARNING if found.grade == "warning" else model.ERROR,
                          found.what, found.fix)  # fmt: skip
        faults = firewall.faults(s, chosen, facts)
    except InfraError as error:  # an older host program, which the plan of setup has named already
        yield Finding("host", "host program", model.ERROR, error.cause, error.hint or hint.fab(s, "setup"))
        return
    for fault in faults:
        yield Finding("host", "firewall", model.ERROR, fault, hint.fab(s, "firewall.status"))
    if not findings:
        yield Finding("host", "certificate", model.OK, "served, stored and renewed as it should be")
    if not faults:
        yield Finding("host", "firewall", model.OK, "open from outside is what is meant to be")
