"""The two halves of a command that outlives its caller: starting and following it, and being it."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from host import events, lock, state, stopping, unit
from host.config import Config
from host.errors import Failure, Status, as_failure
from host.events import Journal

_KEEP = 50  # event files
_ENDING = 10.0  # seconds
UNIT_WAIT = 20.0  # seconds the unit waits for the lock its caller has just seen free


def out(line: bytes) -> None:
    """One line on stdout, at once."""
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def launch(config: Config, kind: str, name: str, command: list[str], wait: float) -> int:
    """Start `command` (words of this program) as unit `name` and follow it to its end; returns its exit status.

    Raises Failure (LOCKED) when the host is still busy after `wait` seconds.
    """
    config.prepare()
    told = Journal(None, sys.stdout.buffer)
    lock.wait_free(config.lock, config.app, wait, on_wait=lambda failure: told.warn(f"waiting: {failure.cause}"))
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = config.events / f"{stamp}-{time.time_ns() % 10**9:09d}-{kind}.jsonl"
    Journal(path)
    events.forget(config.events, _KEEP)
    try:
        _start(config, name, path, [*command, "--events", str(path), "--unit", name], max(wait, _ENDING))
    except Failure:
        path.unlink(missing_ok=True)
        raise
    return follow(config, path, lambda: unit.alive(name))


def _start(config: Config, name: str, path: Path, command: list[str], wait: float) -> None:
    """Start the unit; one of the same name that has said its last word may take a moment to be gone."""
    ends = time.monotonic() + wait
    while True:
        try:
            return unit.start(config, name, path, command)
        except Failure as failure:
            if failure.status != Status.LOCKED or time.monotonic() > ends or lock.holder(config.lock):
                raise
        time.sleep(0.2)


def follow(config: Config, path: Path, alive: Callable[[], bool]) -> int:
    """Copy events to stdout until the last one; returns the exit status it carries."""

    def died() -> Failure:
        failure = unit.death("", "")
        if shutil.disk_usage(config.root).free < 1 << 20:
            failure = Failure("the command was cut off: no space left on the disk", hint="free some: docker system df")
        _note_death(config, failure)
        return failure

    return events.follow(path, alive, out, died, config.poll)


def attach(config: Config) -> int:
    """Follow the command that is running, or tell again how the last one went; returns its exit status."""
    holder = lock.holder(config.lock)
    if holder and holder.get("events") and holder.get("unit"):
        name = str(holder["unit"])
        return follow(config, Path(str(holder["events"])), lambda: unit.alive(name))
    if holder:
        raise lock.busy(config.app, holder)
    path = events.newest(config.events)
    if path is None:
        out(json.dumps(events.final(Status.OK, message="no command has run on this host yet")).encode() + b"\n")
        return Status.OK
    return follow(config, path, lambda: False)


def ended(config: Config, path: Path, environment: dict[str, str]) -> int:
    """systemd calls this after the unit's end: write the last event if the program could not do so itself."""
    if not events.is_final(events.last(path)):
        failure = unit.death(environment.get("SERVICE_RESULT", ""), environment.get("EXIT_STATUS", ""))
        Journal(path).write(events.final(failure.status, failure.cause, failure.hint, failure.data))
        _note_death(config, failure)
    return Status.OK


def _note_death(config: Config, failure: Failure) -> None:
    last = state.last(config)
    if last and last["result"] in ("running", "interrupted"):
        state.finish(config, str(last["release"]), "interrupted", failure.cause)


def work(
    config: Config, info: dict[str, Any], path: Path | None, wait: float, body: Callable[[Journal], dict[str, object]]
) -> int:
    """Be the command: take the lock, do `body`, say how it went. Returns the exit status, never raises.

    The last event is written when the lock is free again: who reads it may start the next command.
    """
    journal = Journal(path, sys.stdout.buffer)
    stopping.listen()
    try:
        journal.emit(
            "started", "", "running", str(info["what"]), {key: info.get(key) for key in ("who", "what", "unit")}
        )
        signed = {**info, "events": str(path) if path else None}
        with lock.held(config.lock, config.app, signed, wait, on_wait=lambda f: journal.warn(f"waiting: {f.cause}")):
            data = body(journal)
        event = events.final(Status.OK, data=data, message=str(data.pop("message", "done")))
    except Exception as error:
        failure = as_failure(error, str(info["what"]))
        event = events.final(failure.status, failure.cause, failure.hint, failure.data)
    journal.write(event)
    return int(event["data"]["status"])
