"""What a plan consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class FileChange:
    """A file of the release that differs from the one on the host.

    Attributes:
        path: inside the release; below live/ for what was edited there by hand.
        action: "added", "changed", "removed", or what happened to the host's copy: "changed by hand", "extra by hand",
            "missing on the host", "changed by a deploy that has not ended".
        secret: its content is never shown.
        diff: unified diff, "" for secrets, binaries and whole new files.
    """

    path: str
    action: str
    secret: bool = False
    diff: str = ""


@dataclass(frozen=True)
class ServiceChange:
    """What happens to one service's container.

    Attributes:
        service: its name.
        action: "create", "switch" (a new one beside the old), "recreate", "restart", "reload", "start" or "remove".
        reasons: why, one short phrase each.
        outage: what visitors or other services notice of it, "none" when they do not.
    """

    service: str
    action: str
    reasons: tuple[str, ...]
    outage: str = "none"


@dataclass(frozen=True)
class ImageChange:
    """Another image for a service.

    Attributes:
        service: its name.
        old: what it is made from now, None without a container.
        new: what it is to be made from.
        bytes: still to be transferred; None when nobody asked.
        source: "registry", "host", "workstation", or None when nobody asked.
    """

    service: str
    old: str | None
    new: str
    bytes: int | None
    source: str | None


@dataclass(frozen=True)
class Guard:
    """A rule that speaks against the change.

    Attributes:
        rule: its name.
        message: what would be lost, one line.
        accepted: whether the user takes that.
    """

    rule: str
    message: str
    accepted: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything a change would do to a host.

    Attributes:
        id: two halves: what was seen of the host, and what would be there afterwards.
        kind: "deploy" or "rollback".
        release: the id of the release that would serve.
        previous: the id of the release that serves now, None on a first deploy.
        version: of the application.
        files: what is pushed, removed or put right.
        services: what happens to containers; a service that is not named is not touched.
        images: those that change.
        edge: what happens to nginx: "none", "reload" or "restart".
        migration: {"command": [words], "backup": True} when one is due, else None.
        disk: {"need", "free", "after"} in bytes, of the file system with the least to spare; zeros when unknown.
        guards: rules that speak against it.
        warnings: what the user should know besides.
        other: further steps: the certificate, the systemd unit, the host program, an unfinished change.
    """

    id: str
    kind: str
    release: str
    previous: str | None
    version: str
    files: tuple[FileChange, ...]
    services: tuple[ServiceChange, ...]
    images: tuple[ImageChange, ...]
    edge: str
    migration: Mapping[str, Any] | None
    disk: Mapping[str, int]
    guards: tuple[Guard, ...]
    warnings: tuple[str, ...] = field(default=())
    other: tuple[str, ...] = field(default=())

    @property
    def is_empty(self) -> bool:
        """Whether the host is already as it should be."""
        moves = self.kind == "rollback" and self.release != self.previous  # `current` does, though all be the same
        return not (self.files or self.services or self.other or moves)

    @property
    def refused(self) -> list[Guard]:
        """The rules that speak against it and were not accepted."""
        return [guard for guard in self.guards if not guard.accepted]

    @property
    def outages(self) -> list[str]:
        """What somebody will notice, one line for each service."""
        return [f"{change.service}: {change.outage}" for change in self.services if change.outage != "none"]

    def to_json(self) -> dict[str, Any]:
        """The plan as a JSON-able document."""
        return asdict(self) | {"empty": self.is_empty, "outage": self.outages}
