"""Running the scripts of a setup, one after the other; what they do is decided on the workstation."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from host import armed
from host.config import Config
from host.errors import Failure, one_line
from host.events import Journal, Step
from host.process import run

_DEADLINE = 3600.0  # seconds for one step: installing packages over a slow line
_LINES = 1000  # output lines of one step that become events
SIZE_LIMIT = 16 * 1024 * 1024  # bytes of the whole job


@dataclass(frozen=True)
class Script:
    """One step; one with an `undo` undoes itself unless it is confirmed within `seconds` (see host.armed)."""

    name: str
    script: str
    undo: str = ""
    seconds: int = 0


@dataclass(frozen=True)
class Job:
    """What to run."""

    kind: str
    steps: tuple[Script, ...]


def parse(data: bytes) -> Job:
    """The Job in `data`: {"kind", "steps": [{"name", "script", "undo", "seconds"}...]}.

    Raises Failure when it is not one.
    """
    try:
        raw = json.loads(data)
        steps = tuple(_script(step) for step in raw["steps"])
        if any(step.undo for step in steps[:-1]):
            raise ValueError("a step that is to be confirmed must be the last one")
        kind = str(raw.get("kind", "setup"))
        if not kind.isidentifier() or len(kind) > 40:
            raise ValueError(f"kind {kind[:40]!r}")
        return Job(kind, steps)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"the steps sent are not valid: {error}", hint="run it again from an up-to-date checkout"
        ) from error


def _script(raw: dict[str, Any]) -> Script:
    undo, seconds = str(raw.get("undo") or ""), int(raw.get("seconds") or 0)
    if undo and not 5 <= seconds <= 3600:
        raise ValueError(f"{seconds} seconds to confirm")
    return Script(str(raw["name"]), str(raw["script"]), undo, seconds)


def save(config: Config, data: bytes) -> Path:
    """Keep the job for the unit to read: scripts may hold secrets, so 0600 and in memory (/run)."""
    if len(data) > SIZE_LIMIT:
        raise Failure(
            f"the steps sent have more than {SIZE_LIMIT} bytes", hint="run it again from an up-to-date checkout"
        )
    parse(data)
    config.prepare()
    for stale in config.run.glob("job-*"):
        if stale.stat().st_mtime < time.time() - 86400:  # its unit never came to read it
            stale.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(prefix="job-", suffix=".json", dir=config.run)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
    return Path(name)


def take(path: Path) -> Job:
    """Read the job and remove its file."""
    try:
        return parse(path.read_bytes())
    finally:
        path.unlink(missing_ok=True)


def converge(config: Config, job: Job, journal: Journal) -> dict[str, object]:
    """Run every step as `sh -eu` without stdin; the first that fails ends it. Returns the data of the done event."""
    for number, item in enumerate(job.steps, 1):
        with journal.step(item.name, f"{item.name} ({number} of {len(job.steps)})") as step:
            _armed(config, item, step) if item.undo else _run(config, item.name, item.script, step)
    return {"message": f"{job.kind}: {len(job.steps)} steps done", "steps": len(job.steps)}


def _armed(config: Config, item: Script, step: Step) -> None:
    armed.arm(config, item.name, item.undo, item.seconds)
    try:
        _run(config, item.name, item.script, step)
    except Exception:
        armed.revert(config)
        raise
    armed.again(config)


def _run(config: Config, name: str, script: str, step: Step) -> None:
    tail: list[str] = []
    count, guard = [0], Lock()

    def on_line(line: str) -> None:
        with guard:  # stdout and stderr are read by two threads
            tail.append(line)
            del tail[:-20]
            count[0] += 1
            if count[0] <= _LINES:
                step.output(line)
            elif count[0] == _LINES + 1:
                step.output("(more output is not shown)")

    handle, path = tempfile.mkstemp(prefix="step-", suffix=".sh", dir=config.run)  # 0600
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(script)
        done = run(["sh", "-eu", path], deadline=_DEADLINE, check=False, on_line=on_line)
    finally:
        Path(path).unlink(missing_ok=True)
    if done.status != 0:
        said = [line for line in tail if line.strip()]
        raise Failure(
            f"{name} failed (status {done.status}): {one_line(said[-1] if said else 'it said nothing')}",
            hint="correct what it names and run the same command again: steps already done are found done",
            data={"step": name, "log": tail},
        )
    step.done(f"{name} done", lines=count[0])
