"""Events: what a command says while it works, one JSON object a line, kept in a file that outlives its reader."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from host.errors import Failure, Status, one_line

FINAL = ("done", "failed")
_MESSAGE = 2000  # characters of one message
_LOOK = 0.5  # seconds of silence after which it is asked whether the unit lives
_DIED = 2.0  # seconds a unit may be over before the lack of a last event means it died


def final(
    status: int, cause: str = "", hint: str = "", data: dict[str, Any] | None = None, message: str = ""
) -> dict[str, Any]:
    """The last event of a command: `done` for status 0, else `failed` with its cause and what to do next."""
    name = "done" if status == Status.OK else "failed"
    return {
        "ts": time.time(), "event": name, "step": "", "state": name, "message": cause or message or "done",
        "data": {**(data or {}), "status": int(status), "cause": cause, "hint": hint},
    }  # fmt: skip


class Step:
    """One step of a command while it runs; says how it ended."""

    def __init__(self, journal: Journal, name: str) -> None:
        self._journal, self.name = journal, name
        self.state, self.message, self.data = "done", "", dict[str, Any]()

    def output(self, line: str, **data: Any) -> None:
        """Something worth seeing while the step runs."""
        self._journal.emit("output", self.name, "running", line, data)

    def progress(self, label: str, done: int, total: int) -> None:
        """How far it has come, in bytes; `total` is 0 when nobody knows."""
        self._journal.emit("progress", self.name, "running", label, {"done": done, "total": total})

    def done(self, message: str, **data: Any) -> None:
        """Set what the step's last event says."""
        self.state, self.message, self.data = "done", message, data

    def skip(self, message: str) -> None:
        """There was nothing to do."""
        self.state, self.message = "skipped", message


class Journal:
    """Writes events to a file (append) and to a stream; losing either never stops the work."""

    def __init__(self, path: Path | None = None, stream: BinaryIO | None = None) -> None:
        self._stream = stream
        self._file = -1
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        if self._file >= 0:
            try:
                os.write(self._file, line)
            except OSError:
                pass  # a full disk: the reader is told by the exit of the unit
        if self._stream is not None:
            try:
                self._stream.write(line)
                self._stream.flush()
            except OSError:
                self._stream = None  # nobody listens any more

    def emit(
        self, event: str, step: str = "", state: str = "", message: str = "", data: dict[str, Any] | None = None
    ) -> None:
        self.write({
            "ts": time.time(), "event": event, "step": step, "state": state,
            "message": message[:_MESSAGE], "data": data or {},
        })  # fmt: skip

    def warn(self, message: str, step: str = "", **data: Any) -> None:
        """Something the user should know although the work goes on."""
        self.emit("warning", step, "running", one_line(message), data)

    @contextmanager
    def step(self, name: str, message: str) -> Iterator[Step]:
        """A step: `running` at the start, then `done`, `skipped` or `failed` with the seconds it took."""
        self.emit("step", name, "running", message)
        began, step = time.monotonic(), Step(self, name)
        try:
            yield step
        except BaseException as error:
            self.emit("step", name, "failed", str(error) or type(error).__name__, {"seconds": _since(began)})
            raise
        self.emit("step", name, step.state, step.message or message, {**step.data, "seconds": _since(began)})


def _since(began: float) -> float:
    return round(time.monotonic() - began, 2)


def last(path: Path) -> dict[str, Any] | None:
    """The last complete event in the file, or None."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError:
        return None
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            return event
    return None


def newest(directory: Path) -> Path | None:
    """The events file of the most recent command (names start with the time), or None."""
    return max(directory.glob("*.jsonl"), default=None)


def is_final(event: dict[str, Any] | None) -> bool:
    return bool(event) and (event or {}).get("event") in FINAL


def follow(
    path: Path, alive: Callable[[], bool], out: Callable[[bytes], None], died: Callable[[], Failure], poll: float
) -> int:
    """Copy the events of `path` to `out` until the last one; return its exit status.

    When `alive` says the writer is gone and no last event came, one is made from `died` and added to the file.
    """
    position, rest, gone_since, looked = 0, b"", 0.0, 0.0
    while True:
        with path.open("rb") as stream:
            stream.seek(position)
            chunk = stream.read()
        position += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            out(line + b"\n")
            status = _status(line)
            if status is not None:
                return status
        now = time.monotonic()
        if gone_since and now - gone_since > min(_DIED, 2 * poll) and not chunk:
            failure = died()
            event = final(failure.status, failure.cause, failure.hint, failure.data)
            Journal(path).write(event)
            out(json.dumps(event).encode() + b"\n")
            return int(failure.status)
        if chunk:
            looked = now  # who writes lives
        elif not gone_since and now - looked >= max(poll, _LOOK):
            looked = now
            gone_since = 0.0 if alive() else now
        time.sleep(min(poll, 0.1))


def _status(line: bytes) -> int | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or not is_final(event):
        return None
    return int(event.get("data", {}).get("status", Status.FAILED))


def forget(directory: Path, keep: int) -> None:
    """Remove the oldest event files beyond `keep`."""
    for path in sorted(directory.glob("*.jsonl"), reverse=True)[keep:]:
        path.unlink(missing_ok=True)
