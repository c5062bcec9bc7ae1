"""The plan of `fab setup`: facts of a host in, the steps that make it ready out. Empty when everything holds."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.model.facts import Entry, Facts
from tasks.model.provision import account, docker, firewall, hardening, layout, packages, preflight, sshd, swap, system
from tasks.model.provision.step import Step, body

__all__ = ["Step", "Wanted", "plan", "program_step", "remarks"]


@dataclass(frozen=True)
class Wanted:
    """What setup takes from the settings and the checkout.

    Attributes:
        app: APP_NAME.
        deploy_user: DEPLOY_USER.
        docker_source: DOCKER_SOURCE, "distribution" or "docker".
        program: sha256 of the host program that belongs to this checkout, in hexadecimal digits.
        public_key: the text of DEPLOY_PUBLIC_KEY_FILE, None when there is none.
        http_port: HTTP_PORT.
        https_port: HTTPS_PORT.
        http3: HTTP3.
        reboot_time: REBOOT_TIME, "HH:MM".
        harden: whether --harden was given.
        client_kex: the key exchanges that the SSH library of this workstation knows.
    """

    app: str
    deploy_user: str
    docker_source: str
    program: str
    public_key: str | None = None
    http_port: int = 80
    https_port: int = 443
    http3: bool = False
    reboot_time: str | None = None
    harden: bool = False
    client_kex: tuple[str, ...] = ()


def plan(facts: Facts, wanted: Wanted) -> list[Step]:
    """The steps that are still to be done on the host, in their order.

    Raises Refused when the host cannot be made ready, or only by undoing what somebody decided.
    """
    preflight.check(facts, wanted.app)
    docker.check(facts, wanted.docker_source)
    return [
        *packages.before_python(facts, wanted.docker_source),
        *program_step(facts, wanted.app, wanted.program),
        *docker.repository(facts, wanted.docker_source),
        *packages.steps(facts, wanted.docker_source),
        *docker.settings(facts, wanted.app, wanted.docker_source),
        *account.steps(facts, wanted.app, wanted.deploy_user, wanted.public_key),
        *layout.steps(facts, wanted.app),
        *firewall.steps(facts, wanted.app, wanted.http_port, wanted.https_port, wanted.http3),
        *swap.steps(facts),
        *system.upgrades(facts, wanted.app, wanted.reboot_time),
        *system.journal(facts, wanted.app),
        *system.memory(facts, wanted.app),
        *system.time_sync(facts),
        *system.units(facts),
        *(_hardening(facts, wanted) if _hardened(facts, wanted) else ()),
    ]


def _hardening(facts: Facts, wanted: Wanted) -> list[Step]:
    """What was once asked for stays: a later setup keeps it without being told."""
    return [
        *hardening.steps(facts, wanted.app),
        *sshd.steps(facts, wanted.app, wanted.deploy_user, wanted.client_kex),
    ]


def remarks(facts: Facts, wanted: Wanted) -> list[str]:
    """What the user should know about the host though there is no step for it."""
    hardening_of_container = [hardening.IN_A_CONTAINER] if facts.is_container and _hardened(facts, wanted) else []
    return [*preflight.remarks(facts, wanted.deploy_user), *hardening_of_container]


def _hardened(facts: Facts, wanted: Wanted) -> bool:
    return wanted.harden or sshd.is_hardened(facts, wanted.app)


def program_step(facts: Facts, app: str, digest: str) -> list[Step]:
    """The step that installs the host program of this checkout (sha256 `digest`), none when it is there."""
    path = f"/usr/local/bin/{app}"
    entry = facts.entries.get(path)
    if facts.files.get(path) == digest and entry == Entry("regular file", "755", "root", "root"):
        return []
    why = f"{path} is {'missing' if entry is None else 'another version, or has another mode'}"
    script = body("program.sh", variables={"PROGRAM": path, "DIGEST": digest})
    return [Step("program", why, script, via="push")]
