"""A change that undoes itself unless it is confirmed in time: by somebody who has got in since, over a new connection.

A timer of systemd's runs the undo; it needs neither this program nor python, and a reboot only puts it off by as long.
Whoever renames `undo.sh` first has the say: the undo, or the confirmation.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from host import durable
from host.config import Config
from host.errors import Failure, Status, from_os_error
from host.process import run

_DEADLINE = 120.0  # seconds for systemctl, and for an undo
_SERVICE = """[Unit]
Description=Undoes an unconfirmed change ({app})

[Service]
Type=oneshot
ExecStart=/bin/sh {run}
"""
_TIMER = """[Unit]
Description=When to undo an unconfirmed change ({app})

[Timer]
OnActiveSec={seconds}
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
_RUN = """cd {armed} && mv undo.sh undoing.sh 2>/dev/null || exit 0 # confirmed in time
sh undoing.sh || {{ echo "the undo failed: what it needs is kept in {armed}" >&2; exit 1; }}
date +%s >../undone.part
cat name >>../undone.part
mv ../undone.part ../undone
systemctl --quiet disable {timer}
rm -rf {armed}
"""


def _folder(config: Config) -> Path:
    return config.state / "armed"


def _timer(config: Config) -> str:
    return f"{config.app}-undo.timer"


def arm(config: Config, name: str, undo: str, seconds: int) -> None:
    """Have `undo` (a POSIX script) run in `seconds`, unless `confirm` comes first.

    Raises Failure when another change is waiting for that, or systemd refuses.
    """
    if waiting := pending(config):
        raise Failure(
            f"the change {waiting['name']} is still to be confirmed or undone",
            hint="wait a minute, then run the same again", status=Status.LOCKED,
        )  # fmt: skip
    folder, timer = _folder(config), _timer(config)
    service = timer.replace(".timer", ".service")
    config.prepare()
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of one that was confirmed or undone and then cut off
        (config.state / "undone").unlink(missing_ok=True)
        folder.mkdir(mode=0o700)
        durable.write(folder / "name", f"{name}\n".encode(), 0o600)
        durable.write(folder / "run.sh", _RUN.format(armed=folder, timer=timer).encode(), 0o600)
        unit = _SERVICE.format(app=config.app, run=folder / "run.sh")
        durable.write(config.units / service, unit.encode(), 0o644)
        durable.write(config.units / timer, _TIMER.format(app=config.app, seconds=seconds).encode(), 0o644)
        durable.write(folder / "undo.sh", undo.encode(), 0o600)  # last: now it counts
        durable.sync_directory(folder)
    except OSError as error:
        raise from_os_error(error, f"preparing the undo of {name}") from error
    _systemctl("daemon-reload")
    _systemctl("enable", "--quiet", timer)
    again(config)


def again(config: Config) -> None:
    """Count the seconds from now: the change has been made, whoever made it can begin to connect."""
    _systemctl("restart", _timer(config))


def confirm(config: Config) -> str:
    """Keep the change; returns its name. Raises Failure when there is none, or it has been undone."""
    folder = _folder(config)
    try:
        (folder / "undo.sh").rename(folder / "confirmed")
    except FileNotFoundError:
        undone = config.state / "undone"
        what = f"{undone.read_text().split()[-1]} was undone already" if undone.exists() else "nothing is waiting"
        raise Failure(f"too late to confirm: {what}", status=Status.REFUSED, hint="fab setup") from None
    name = (folder / "name").read_text().strip()
    _systemctl("disable", "--quiet", "--now", _timer(config))
    shutil.rmtree(folder, ignore_errors=True)
    return name


def revert(config: Config) -> bool:
    """Undo the change now; False when there was none to undo. Raises Failure when the undo fails."""
    if pending(config) is None:
        return False
    done = run(["sh", str(_folder(config) / "run.sh")], deadline=_DEADLINE, check=False)
    if done.status != 0:
        raise Failure(f"the undo failed: {done.last_line}", hint=f"look at {_folder(config)}")
    _systemctl("stop", _timer(config))
    return True


def pending(config: Config) -> dict[str, Any] | None:
    """{"name", "since": unix} of the change that waits to be confirmed, None without one."""
    folder = _folder(config)
    try:
        since = (folder / "undo.sh").stat().st_mtime
        return {"name": (folder / "name").read_text().strip(), "since": since}
    except OSError:
        return None


def _systemctl(*words: str) -> None:
    done = run(["systemctl", *words], deadline=_DEADLINE, check=False)
    if done.status != 0:
        raise Failure(f"systemctl {' '.join(words)} failed: {done.last_line}", hint="look at: systemctl --failed")


def answer(config: Config, word: str) -> str:
    """What `confirm` and `revert` of the command line answer, as JSON."""
    if word == "confirm":
        return json.dumps({"confirmed": confirm(config), "at": time.time()})
    return json.dumps({"reverted": revert(config)})
