"""Events of the host program: JSON lines in, progress for the user and one verdict out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tasks.core.command import Command, Secret, redact
from tasks.core.errors import ConnectionLost, ExitStatus, HostFailed, InfraError, Locked, Unhealthy

if TYPE_CHECKING:
    from tasks.core.feeder import Source
    from tasks.core.output import Output
    from tasks.core.progress import Progress
    from tasks.core.session import Session

_CLASSES: dict[ExitStatus, type[InfraError]] = {ExitStatus.LOCKED: Locked, ExitStatus.UNHEALTHY: Unhealthy}
_LOG_LINES = 20
_WORTH_SAYING = 1.0  # seconds; steps that took less end without a line of their own


class Renderer:
    """Shows events as they come. `final` is the last one, `done` or `failed`, once it is there."""

    def __init__(self, out: Output, *, secrets: Iterable[Secret] = ()) -> None:
        self._out = out
        self._secrets = tuple(secrets)
        self._announced = ""
        self._moving: tuple[tuple[str, str], Progress] | None = None
        self.final: dict[str, Any] | None = None

    def feed(self, line: str) -> None:
        """Take one line of the host program's output; what is no event is shown as it is."""
        text = redact(line, self._secrets)
        try:
            event = json.loads(text)
        except ValueError:
            event = None
        if not isinstance(event, dict) or "event" not in event:
            if text.strip():
                self._out.raw(text)
            return
        self._show(event, str(event.get("message") or ""))

    def _show(self, event: dict[str, Any], message: str) -> None:
        kind = event["event"]
        if kind == "step":
            self._step(str(event.get("step", "")), str(event.get("state", "")), message, event.get("data") or {})
        elif kind == "output":
            self._out.info(f"    {message}")
        elif kind == "progress":
            self._progress(str(event.get("step", "")), message, event.get("data") or {})
        elif kind == "warning":
            self._out.warn(message)
        elif kind in ("done", "failed"):
            self.final = event
            for said in _log(event):
                self._out.info(f"    {said}")

    def _progress(self, step: str, label: str, data: dict[str, Any]) -> None:
        done, total = int(data.get("done") or 0), int(data.get("total") or 0) or None
        if self._moving is None or self._moving[0] != (step, label):
            self._moving = (step, label), self._out.progress(label, total)
        _, progress = self._moving
        progress.advance(max(0, done - progress.done))

    def _step(self, name: str, state: str, message: str, data: dict[str, Any]) -> None:
        if state == "running":
            self._announced = message if message.startswith(name) else f"{name}: {message}"
            self._out.step(self._announced)
            return
        seconds = float(data.get("seconds") or 0)
        took = f" ({seconds:.1f} s)" if seconds >= _WORTH_SAYING else ""
        news = "" if message == f"{name} done" or self._announced.endswith(message) else message
        if state == "skipped":
            self._out.info(f"    skipped{': ' if news else ''}{news}")
        elif state == "done" and (news or took):
            self._out.info(f"    {news or 'done'}{took}")


def _log(event: dict[str, Any]) -> list[str]:
    """The last words of what failed, such as a container's; the error itself follows on a line of its own."""
    said = (event.get("data") or {}).get("log") if event["event"] == "failed" else None
    lines = said.splitlines() if isinstance(said, str) else said if isinstance(said, list) else []
    return [str(line).rstrip() for line in lines[-_LOG_LINES:]]


def verdict(final: dict[str, Any] | None, host: str, *, exit_status: int = 0, stderr: str = "") -> dict[str, Any]:
    """What the last event says: its data when it is `done`.

    Args:
        final: the last event, None when the program ended without one.
        host: the name of the host, for errors.
        exit_status: of the program, with `stderr` the end of what it said; they only count without a last event.
    Raises:
        Locked, Unhealthy or HostFailed with the cause, the hint and the exit code of a `failed` event.
    """
    if final is None:
        said = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), "")
        cause = "the host program ended without a result" + (f": {said}" if said else f", status {exit_status}")
        raise HostFailed(cause, host=host, hint="fab setup installs it anew", exit_status=exit_status, stderr=stderr)
    data: dict[str, Any] = final.get("data") or {}
    if final["event"] == "done":
        return data
    code = int(data.get("status") or ExitStatus.HOST_FAILED)
    status = ExitStatus(code) if code in tuple(ExitStatus) else ExitStatus.HOST_FAILED
    cause = str(data.get("cause") or final.get("message") or "failed on the host")
    raise _CLASSES.get(status, HostFailed)(cause, host=host, hint=str(data.get("hint") or "") or None, status=status)


def follow(
    s: Session,
    command: Command,
    *,
    stdin: Source | None = None,
    deadline: float | None = None,
    secrets: Iterable[Secret] = (),
    again: str = "",
) -> dict[str, Any]:
    """Run a command of the host program as root, show its events, return the data of the last one.

    Args:
        s: the host.
        command: prints events, one JSON object a line.
        stdin: what it reads.
        deadline: seconds until it is stopped; None for no limit.
        secrets: values to mask in whatever it says.
        again: what to type when the connection breaks or the user does, while the work goes on over there.
    Raises:
        As `verdict`, and ConnectionLost with `again` as its hint.
    """
    secrets = tuple(secrets)
    renderer = Renderer(s.out, secrets=secrets)
    try:
        result = s.lines(
            command, renderer.feed, stdin=stdin, root=True, deadline=deadline, check=False, secrets=secrets
        )
    except KeyboardInterrupt:
        if again:
            s.out.warn(f"interrupted here; what {s.name} has begun it finishes or undoes by itself. Next: {again}")
        raise
    except ConnectionLost as error:
        if renderer.final is None:
            raise ConnectionLost(
                f"{error.cause}; the host goes on without us", host=s.name, hint=again or error.hint
            ) from error
        return verdict(renderer.final, s.name)
    return verdict(renderer.final, s.name, exit_status=result.status, stderr=result.stderr)
