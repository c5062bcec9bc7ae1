"""Transient systemd units: work that goes on when the SSH connection that asked for it is gone."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from host.config import Config
from host.errors import Failure, Status
from host.process import run

_STOP = 300  # seconds a unit gets after SIGTERM: going back to the previous release takes its time


def argv(config: Config, name: str, events: Path, command: list[str]) -> list[str]:
    """The systemd-run command line for `command` (words after the program) in unit `name`."""
    properties = (
        "Type=exec",
        "KillMode=mixed",  # SIGTERM reaches only the program: it ends its children itself, and goes back
        f"TimeoutStopSec={_STOP}",
        # Ordering only matters at shutdown: this unit ends first, then the application, then Docker.
        "After=docker.service",
        f"After={config.app}.service",
        f"ExecStopPost={config.program} ended {events}",  # writes the last event when the program was killed
    )
    return [
        "systemd-run", f"--unit={name}", "--collect", "--no-block", "--quiet",
        f"--description={config.app}: {command[0]}",
        *(f"--property={item}" for item in properties), "--", str(config.program), *command,
    ]  # fmt: skip


def start(config: Config, name: str, events: Path, command: list[str]) -> None:
    """Start the unit and return at once. Raises Failure, LOCKED when a unit of that name is still there."""
    done = run(argv(config, name, events, command), deadline=30, check=False)
    if done.status != 0:
        if "already" in done.stderr:
            raise Failure(
                f"busy: {name} is still running", hint=f"watch it: sudo {config.app} attach", status=Status.LOCKED
            )
        raise Failure(
            f"systemd does not start {name}: {done.last_line}", hint="look at: systemctl status; journalctl -xe"
        )


def end_leavings() -> None:
    """Kill what a killed program left running in this unit: this process and its parents alone remain."""
    mine = {os.getpid(), os.getppid()}
    for path in _cgroups(Path("/proc/self/cgroup").read_text()):
        try:
            pids = {int(word) for word in (path / "cgroup.procs").read_text().split()} - mine
        except (OSError, ValueError):
            continue
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _cgroups(text: str) -> list[Path]:
    """The directory of systemd's own control group of this process, in the old and in the new layout."""
    found = []
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" or controllers == "name=systemd":
            base = Path("/sys/fs/cgroup") / ("" if number == "0" and controllers == "" else "systemd")
            if path.endswith(".service"):  # never a slice, or the whole machine
                found.append(base / path.lstrip("/"))
    return found


def alive(name: str) -> bool:
    """Is the unit running, starting or ending? In doubt it is."""
    done = run(["systemctl", "show", "-p", "ActiveState", "-p", "Job", "--", name], deadline=30, check=False)
    fields = dict(line.partition("=")[::2] for line in done.text.splitlines())
    if done.status != 0 or "ActiveState" not in fields:
        return True
    return fields["ActiveState"] not in ("inactive", "failed") or fields.get("Job", "") not in ("", "0")


_RESULTS = {
    "oom-kill": "it was killed because the host is out of memory",
    "timeout": "it did not stop in time and was killed",
    "signal": "it was killed ({status})",
    "core-dump": "it crashed ({status})",
    "exit-code": "it ended with status {status}",
    "resources": "systemd lacked the resources to run it",
}


def death(result: str, status: str) -> Failure:
    """The failure for a unit that ended without a word, from systemd's $SERVICE_RESULT and $EXIT_STATUS."""
    why = _RESULTS.get(result, "it ended without saying why").format(status=status or "?")
    return Failure(
        f"the command was cut off: {why}", hint="run the same command again, it repairs what was left half done",
        status=Status.HOST_FAILED, data={"result": result, "exit_status": status},
    )  # fmt: skip
