"""Migrations: a command of the new backend image, run once before any traffic moves, after a backup."""

from __future__ import annotations

from host import compose, process, releases
from host.backup.run import backup
from host.config import Config
from host.errors import Failure, one_line
from host.events import Journal
from host.releases import Release

SERVICE = "backend"
_DEADLINE = 3600.0  # seconds
_TAIL = 20  # lines of its output that a failure carries


def container(config: Config) -> str:
    """The name of the container a migration runs in: what was cut off is found again by it."""
    return f"{config.app}-migration"


def due(config: Config, release: Release) -> bool:
    """Does the release bring another backend image or another command than the one that serves?"""
    words = release.manifest.settings.migration
    if not words or SERVICE not in release.manifest.services:
        return False
    current = releases.current(config)
    if current is None or SERVICE not in current.manifest.services:
        return True
    old, new = current.manifest.services[SERVICE], release.manifest.services[SERVICE]
    return (old.image, old.pin, current.manifest.settings.migration) != (new.image, new.pin, words)


def run(config: Config, release: Release, journal: Journal) -> dict[str, object]:
    """Back up the database, then run the command; returns {"migrated": True, "backup": its id}. Raises Failure.

    What the command did before it failed stays done: that it can be undone is its own business.
    """
    made = backup(config, ("postgres",), journal, f"before the migration of {release.id}", release.id,
                  send=False)  # fmt: skip
    [kept] = made.ids
    with journal.step("migration", "migrating the database") as step:
        tail: list[str] = []

        def on_line(line: str) -> None:
            tail.append(line)
            del tail[:-_TAIL]
            step.output(line)

        clear(config)
        words = release.manifest.settings.migration
        # the command as it stands, whatever the image would begin with
        argv = [*compose.base(config, release), "run", "--rm", "--no-deps", "-T", "--name", container(config)]
        argv += ["--entrypoint", words[0], SERVICE]
        try:
            done = process.run([*argv, *words[1:]], deadline=_DEADLINE, check=False, on_line=on_line)
        except BaseException:
            clear(config)  # Compose is gone, what it started is not
            raise
        if done.status != 0:
            said = [line for line in tail if line.strip()]
            raise Failure(
                f"the migration failed (status {done.status}): {one_line(said[-1] if said else 'it said nothing')}",
                hint=f"mend it and deploy again; the database as it was before: fab restore.postgres --file {kept}",
                data={"service": SERVICE, "log": tail, "backup": kept},
            )
        step.done("the database is migrated")
    return {"migrated": True, "backup": kept}


def clear(config: Config) -> None:
    """Remove the container of a migration that was cut off."""
    process.run(["docker", "rm", "-f", container(config)], deadline=60, check=False)
