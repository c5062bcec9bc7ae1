"""The databases as they were at a moment, to be restored: recovered in a server of their own, and dumped from there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host.backup import base, client, postgres, recovery, wal
from host.backup.policy import Policy
from host.config import Config
from host.errors import Failure, Status
from host.events import Step

PREFIX = "at:"
"""What a source begins with that is a moment: the Unix time follows."""


def moment_of(name: str) -> float:
    """The moment that a source names, Unix time. Raises Failure (REFUSED) when it names none, or one to come."""
    try:
        moment = float(name.removeprefix(PREFIX))
    except ValueError:
        raise Failure(f"{name} is no moment", hint='--at "2026-11-22 10:00:00+01"', status=Status.REFUSED) from None
    if not 0 < moment <= time.time():
        raise Failure("that moment is still to come", hint="fab restore.postgres --file", status=Status.REFUSED)
    return moment


def told(moment: float) -> str:
    """A moment in words."""
    return f"the state of {recovery.written(moment)[:19]}+00"


def described(config: Config, policy: Policy, name: str) -> dict[str, Any]:
    """Where the way to that moment begins: {"moment", "base": id}. Raises Failure (REFUSED) when there is none."""
    base.require(policy)
    moment = moment_of(name)
    return {"moment": moment, "base": base.before(config, moment).id}


@contextmanager
def dumped(config: Config, policy: Policy, name: str, room: Path, step: Step) -> Iterator[dict[str, Any]]:
    """Go there, dump the databases into `room` / "dump", and yield what a manifest says of them.

    Raises Failure (REFUSED) when the log of changes does not lead there. The live server is only asked to write down
    where it is.
    """
    base.require(policy)
    moment = moment_of(name)
    backup = base.before(config, moment)
    try:
        wal.mark(config, policy)  # whatever happened until now is here, and the log goes on behind that moment
    except Failure as failure:  # what is here may lead there all the same: PostgreSQL says when it does not
        step.output(f"{failure.cause}: going on with what is here")
    step.output(f"from base backup {backup.id}")
    place = room / "dump"
    place.mkdir(mode=0o700)
    with recovery.recovered(config, policy, backup, room, moment=moment, step=step) as server:
        step.output("dumping what was there then")
        container = client.of_id(server.container, postgres.SERVICE)
        found = postgres.dump(config, policy, container, place, step=step, usual=0)
    yield found
