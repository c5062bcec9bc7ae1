"""The two halves of a command that outlives its caller: starting and following it, and being it."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host import audit, events, lock, releases, state, stopping, unit
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


def answer(value: dict[str, Any]) -> int:
    """One JSON document on stdout: what a question is answered with."""
    out(json.dumps(value, ensure_ascii=False).encode() + b"\n")
    return Status.OK


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
    """systemd calls this after the unit's end. When the program was killed, what it began is undone, and said."""
    if events.is_final(events.last(path)):
        return Status.OK
    journal = Journal(path)
    failure = unit.death(environment.get("SERVICE_RESULT", ""), environment.get("EXIT_STATUS", ""))
    unit.end_leavings()
    try:
        # Nobody starts anything before this is done: the unit is still there, and whoever waits for the lock waits on.
        with lock.held(config.lock, config.app, {"who": "systemd", "what": "repair", "unit": None}, UNIT_WAIT):
            _undo(config, failure, journal)
            _note_death(config, failure)
            audit.recover(config)
            _repair(config, journal)
    except Exception as error:
        journal.warn(f"undoing it failed as well: {as_failure(error, 'undoing it').cause}", "revert")
    journal.write(events.final(failure.status, failure.cause, failure.hint, failure.data))
    return Status.OK


def _repair(config: Config, journal: Journal) -> None:
    """End what a backup or a restore that was killed left."""
    from host.backup import repair

    repair.repair(config, journal)


def _undo(config: Config, failure: Failure, journal: Journal) -> None:
    """End or undo the deploy that was killed, and say in `failure` what serves now."""
    cut_off = state.marked(config)
    if cut_off is None:
        return
    from host import apply  # only now: this program's other commands need none of it

    serving = releases.current_id(config)
    if serving is None:
        failure.data.update({"serving": None, "applied": False, "reverted": False})
        return
    apply.repair(config, journal)
    applied = serving == cut_off
    failure.data.update({"serving": serving, "applied": applied, "reverted": not applied})
    failure.cause += f"; release {serving} serves" + ("" if applied else " as before")


def _note_death(config: Config, failure: Failure) -> None:
    last = state.last(config)
    if last and last["result"] in ("running", "interrupted"):
        name = str(last["release"])
        if releases.current_id(config) == name and releases.served(config, name):
            state.finish(config, name, "done", "")  # it was cut off while it tidied up
            return
        state.finish(config, name, "interrupted", failure.cause)
        releases.note(config, name, "interrupted", failure.cause)


@dataclass(frozen=True)
class Errand:
    """A command as others see it: `what` is done for whom (for those who find the lock held), in which systemd unit;
    `record` is what the audit is to keep besides ({"what", "target", "by", "from", ...})."""

    who: str
    what: str
    record: dict[str, Any]
    unit: str | None = None


def work(
    config: Config, errand: Errand, path: Path | None, wait: float, body: Callable[[Journal], dict[str, object]]
) -> int:
    """Be the command: take the lock, do `body`, say how it went. Returns the exit status, never raises.

    The last event is written when the lock is free again: who reads it may start the next command.
    """
    journal = Journal(path, sys.stdout.buffer)
    stopping.listen()
    info = {"who": errand.who, "what": errand.what, "unit": errand.unit}
    try:
        journal.emit("started", "", "running", errand.what, info)
        signed = {**info, "events": str(path) if path else None}
        with lock.held(config.lock, config.app, signed, wait, on_wait=lambda f: journal.warn(f"waiting: {f.cause}")):
            data = _audited(config, errand, journal, body)
        event = events.final(Status.OK, data=data, message=str(data.pop("message", "done")))
    except Exception as error:
        failure = as_failure(error, errand.what)
        event = events.final(failure.status, failure.cause, failure.hint, failure.data)
    journal.write(event)
    return int(event["data"]["status"])


def _audited(
    config: Config, errand: Errand, journal: Journal, body: Callable[[Journal], dict[str, object]]
) -> dict[str, object]:
    """Do `body`, and leave one line about it on the host, whatever becomes of it."""
    audit.recover(config)
    audit.begin(config, errand.record)
    try:
        data = body(journal)
    except Exception as error:
        audit.end(config, "failed", as_failure(error, errand.what).cause)
        raise
    audit.end(config, "done")
    return data
