"""What the host remembers between commands: the last result, and whether a rollout was cut off in the middle."""

from __future__ import annotations

import time
from typing import Any

from host import durable, lock
from host.config import Config

_LAST, _MARK = "last.json", "applying.json"


def begin(config: Config, release: str, who: str) -> None:
    """A deploy of `release` begins; should it be cut off, this is what is found."""
    durable.write_json(
        config.state / _LAST, {"release": release, "result": "running", "cause": "", "finished": None, "who": who}
    )


def finish(config: Config, release: str, result: str, cause: str) -> None:
    """A deploy of `release` ended: `result` is done, incomplete (applied, but without its certificate) or failed."""
    before = durable.read_json(config.state / _LAST)
    who = before.get("who", "") if isinstance(before, dict) else ""
    value = {"release": release, "result": result, "cause": cause, "finished": time.time(), "who": who}
    durable.write_json(config.state / _LAST, value)


def last(config: Config) -> dict[str, Any] | None:
    """The last deploy: {"release", "result", "cause", "finished"}; "interrupted" when nobody is at it any more."""
    value = durable.read_json(config.state / _LAST)
    if not isinstance(value, dict):
        return None
    if value.get("result") == "running" and lock.holder(config.lock) is None:
        return {**value, "result": "interrupted", "cause": "it was cut off (power, reboot or kill)"}
    return value


def mark(config: Config, release: str) -> None:
    """From here on files and containers may be in between two releases."""
    durable.write_json(config.state / _MARK, {"release": release, "since": time.time()})


def unmark(config: Config) -> None:
    """Files and containers are those of the current release again."""
    (config.state / _MARK).unlink(missing_ok=True)
    durable.sync_directory(config.state)


def marked(config: Config) -> str | None:
    """The release whose rollout was cut off, or None."""
    value = durable.read_json(config.state / _MARK)
    return str(value.get("release")) if isinstance(value, dict) else None
