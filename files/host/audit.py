"""The audit: one JSON line on the host for every command that changes it, whatever became of that command."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from host import durable
from host.config import Config
from host.errors import one_line

_FILE, _OLD, _RUNNING = "audit.jsonl", "audit.1.jsonl", "running.json"
_SIZE = 1 << 20  # bytes after which a new file is begun; one old one is kept
_ANCESTORS = 30  # processes looked at between this program and sshd


def begin(config: Config, entry: dict[str, Any]) -> None:
    """A command begins; should it be cut off, this is what is found. `entry`: what, target, by, from, ..."""
    _quietly(lambda: durable.write_json(config.state / _RUNNING, {"start": time.time(), **entry}))


def end(config: Config, result: str, cause: str = "", **extra: Any) -> None:
    """The command ended: `result` is done, failed or interrupted. A full disk does not make it fail."""
    entry = durable.read_json(config.state / _RUNNING)
    if isinstance(entry, dict):
        line = {**entry, "end": time.time(), "result": result, "cause": one_line(cause), **extra}
        _quietly(lambda: _append(config, line))
    _quietly(lambda: (config.state / _RUNNING).unlink(missing_ok=True))


def note(config: Config, entry: dict[str, Any]) -> None:
    """One line for something done at once, without the lock: `entry` as for `begin`."""
    now = time.time()
    _quietly(lambda: _append(config, {"start": now, **entry, "end": now, "result": "done", "cause": ""}))


def recover(config: Config) -> None:
    """Write the line of a command that was cut off; called by whoever holds the lock next."""
    if (config.state / _RUNNING).exists():
        end(config, "interrupted", "it was cut off (power, reboot or kill)")


def _quietly(write: Any) -> None:
    try:
        write()
    except OSError:
        pass  # the command it tells of matters more


def _append(config: Config, line: dict[str, Any]) -> None:
    path = config.state / _FILE
    if path.exists() and path.stat().st_size > _SIZE:
        path.rename(config.state / _OLD)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        # a line that was cut off by a full disk must not swallow the next one
        before = b"\n" if size and os.pread(handle, 1, size - 1) != b"\n" else b""
        os.write(handle, before + json.dumps(line, sort_keys=True).encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)


def tail(config: Config, lines: int) -> list[dict[str, Any]]:
    """The newest `lines` entries, oldest of them first; what is no whole line is left out."""
    found: list[dict[str, Any]] = []
    for name in (_OLD, _FILE):
        try:
            text = (config.state / name).read_bytes()
        except OSError:
            continue
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
    return found[-lines:] if lines > 0 else []


def client(proc: Path = Path("/proc"), pid: int | None = None) -> str | None:
    """The address at the other end of the SSH connection this program was called through, None without one.

    sudo takes SSH_CONNECTION out of the environment, so it is looked for in the processes that called it.
    """
    number = os.getpid() if pid is None else pid
    for _ in range(_ANCESTORS):
        try:
            environment = (proc / str(number) / "environ").read_bytes()
            number = int((proc / str(number) / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return None
        for variable in environment.split(b"\0"):
            if variable.startswith(b"SSH_CONNECTION="):
                return variable[15:].split(b" ")[0].decode("ascii", "replace") or None
        if number <= 1:
            return None
    return None
