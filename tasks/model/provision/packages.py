"""Packages: an interrupted installation finished, python3 first, then all the others in one go."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.model.facts import Facts
from tasks.model.provision import docker
from tasks.model.provision.step import Step, body

WANTED = ("ca-certificates", "certbot", "openssl", "python3", "restic", "sudo", "ufw", "unattended-upgrades")


def before_python(facts: Facts, source: str) -> Iterator[Step]:
    """What has to be in order before the host program can run, and before a repository can be trusted."""
    via = "converge" if facts.python else "shell"
    needed = _needed_first(facts, source)
    if facts.broken_packages:
        why = f"an installation was interrupted: {', '.join(facts.broken_packages)}"
        yield Step("dpkg", why, body("dpkg.sh"), via)
    if needed:
        script = body("apt.sh", "packages.sh", variables={"PACKAGES": " ".join(needed)})
        yield Step("python" if "python3" in needed else "certificates", f"missing: {', '.join(needed)}", script, via)


def steps(facts: Facts, source: str) -> Iterator[Step]:
    """Every package that is missing: one update, one installation."""
    first = _needed_first(facts, source)
    missing = [name for name in WANTED if name not in facts.packages and name not in first]
    missing += docker.missing_packages(facts, source)
    if facts.apparmor and "apparmor" not in facts.packages:
        missing.append("apparmor")  # without its parser Docker quietly runs containers unconfined
    if missing:
        missing.sort()
        script = body("apt.sh", "packages.sh", variables={"PACKAGES": " ".join(missing)})
        yield Step("packages", f"missing: {', '.join(missing)}", script)


def _needed_first(facts: Facts, source: str) -> list[str]:
    needed = ["python3"] if facts.python is None else []
    if docker.repository_missing(facts, source) and "ca-certificates" not in facts.packages:
        needed.append("ca-certificates")
    return needed
