"""The moment of a restore in which nobody is served: visitors are turned away, and the application looked at after."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from host import compose, health, maintenance, probe, releases
from host.config import Config

_DRAIN = 0.2  # seconds for requests that are being answered when the site is closed
_MESSAGE = "The site will be back in a moment."
_LOOK = 0.2  # seconds


@dataclass
class Window:
    """How long visitors were turned away, in seconds."""

    seconds: float = 0.0


@contextmanager
def closed(config: Config, by: str) -> Iterator[Window]:
    """Turn visitors away with 503 and Retry-After inside the block, unless the site is closed already."""
    window = Window()
    already = maintenance.state(config) is not None
    if not already:
        maintenance.close(config, _MESSAGE, by)
    began = time.monotonic()
    try:
        time.sleep(_DRAIN)
        yield window
    finally:
        if not already:
            maintenance.open_again(config)
        window.seconds = round(time.monotonic() - began, 3)


def reopen(config: Config) -> None:
    """Open the site when it is a restore that closed it, and was cut off."""
    if (maintenance.state(config) or {}).get("message") == _MESSAGE:
        maintenance.open_again(config)


def well(config: Config, service: str, patience: float) -> bool:
    """Is the container of a service healthy, and does the application say that it is well? At most `patience` seconds
    are waited for it. Where there is nobody to ask, nobody complains.
    """
    manifest = releases.load(config, "current").manifest
    ends = time.monotonic() + patience
    while True:
        container = health.of_service(compose.containers(config), service)
        answer = probe.deep(config, manifest)
        if container and container.health in ("", "healthy") and (answer is None or answer["status"] == 200):
            return True
        if time.monotonic() > ends:
            return False
        time.sleep(_LOOK)
