"""The directories of the application."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.core.command import Command
from tasks.model.facts import Entry, Facts
from tasks.model.provision.step import Step, commands

DIRECTORIES = {
    "": "755",  # containers of any user mount what is below live/ and shared/
    "/releases": "700",  # releases hold secrets
    "/live": "755",
    "/shared": "755",
    "/shared/tls": "755",  # the key in it is 0640 for nginx's group
    "/shared/backups": "700",
    "/shared/state": "700",
}


def steps(facts: Facts, app: str) -> Iterator[Step]:
    """Every directory that is missing or has another mode or owner; parents first."""
    top = f"/opt/{app}"
    wrong = {
        name: mode
        for name, mode in DIRECTORIES.items()
        if facts.entries.get(top + name) != Entry("directory", mode, "root", "root")
    }
    if wrong:
        script = commands(*(_install(top + name, mode) for name, mode in wrong.items()))
        names = ", ".join(name.removeprefix("/") or "itself" for name in wrong)
        yield Step("directories", f"missing or with another mode in {top}: {names}", script)


def _install(path: str, mode: str) -> Command:
    return Command("install", "-d", "-m", f"0{mode}", "-o", "root", "-g", "root", path)
