"""Waiting until every service really serves, and telling early and precisely which one never will."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from host import compose
from host.compose import Container
from host.config import Config
from host.errors import Failure, Status, one_line
from host.events import Step
from host.manifest import Service

_LOOPS = 3  # restarts after which a container is not going to make it
_OLD_UNHEALTHY = 30.0  # seconds an older container may stay unhealthy: what it depends on has just been replaced
_CAUSE = re.compile(
    r"panic|fatal|error|exception|refused|denied|cannot|could not|failed|no such|not found|invalid", re.I
)
_NOISE = re.compile(r"^\s+at |goroutine |^\s*File \"|errorlevel", re.I)


@dataclass(frozen=True)
class Verdict:
    """`state` is ok, wait or failed; `reason` says why it is not ok."""

    state: str
    reason: str = ""


@dataclass
class Watch:
    """What is remembered between two looks."""

    fresh: frozenset[str]  # ids of containers (re)started by this command
    baseline: Mapping[str, int] = field(default_factory=dict)  # container id -> restarts before
    up_since: dict[tuple[str, str], float] = field(default_factory=dict)
    unhealthy_since: dict[str, float] = field(default_factory=dict)


def judge(container: Container | None, service: Service, watch: Watch, now: float, settle: float) -> Verdict:
    """The verdict on one service at monotonic time `now` (seconds)."""
    if container is None:
        return Verdict("wait", "has no container")
    restarts = container.restarts - watch.baseline.get(container.id, 0)
    if restarts >= _LOOPS:
        oom = " (killed for using too much memory)" if container.oom_killed or container.exit_code == 137 else ""
        return Verdict("failed", f"keeps dying: {restarts} restarts, exit status {container.exit_code}{oom}")
    if container.state in ("exited", "dead"):
        return Verdict("failed", container.error or f"exited with status {container.exit_code}")
    if container.state != "running":
        return Verdict("wait", container.error or container.state)
    if not service.healthcheck and not container.health:
        since = watch.up_since.setdefault(container.life, now)
        settled = container.id not in watch.fresh or now - since >= settle
        return Verdict("ok") if settled else Verdict("wait", "just started")
    if container.health == "healthy":
        watch.unhealthy_since.pop(container.id, None)
        return Verdict("ok")
    if container.health != "unhealthy":
        return Verdict("wait", container.health or "has no healthcheck")
    since = watch.unhealthy_since.setdefault(container.id, now)
    if container.id in watch.fresh or now - since >= _OLD_UNHEALTHY:
        return Verdict("failed", "is unhealthy" + (f" ({one_line(container.probe)[:200]})" if container.probe else ""))
    return Verdict("wait", "is unhealthy")


def cause_line(log: Sequence[str]) -> str:
    """The line of a log that most likely names the cause: the first that speaks of an error, else the last."""
    speaking = [line for line in log if _CAUSE.search(line) and not _NOISE.search(line)]
    return one_line((speaking or list(log[-1:]) or [""])[0])


def unhealthy(container: Container | None, service: str, reason: str) -> Failure:
    """The failure for a service that does not come up, with the end of its log."""
    log = compose.log_tail(container) if container else []
    said = cause_line(log)
    return Failure(
        f"{service} {reason}" + (f": {said}" if said else ""),
        hint=f"read its log: docker logs {container.name if container else service}",
        status=Status.UNHEALTHY,
        data={
            "service": service,
            "container": container.name if container else None,
            "state": container.state if container else "missing",
            "log": log,
        },
    )


def of_service(found: Sequence[Container], service: str) -> Container | None:
    """The container of a service; of several (one is being replaced) the one that is doing best."""
    mine = [item for item in found if item.service == service]
    return min(mine, key=lambda item: (item.state != "running", item.name), default=None)


def check(found: Sequence[Container], services: Mapping[str, Service], watch: Watch, settle: float) -> dict[str, str]:
    """The services not well yet and why; raises Failure for one that never will be."""
    waiting, now = {}, time.monotonic()
    for name, service in sorted(services.items()):
        container = of_service(found, name)
        verdict = judge(container, service, watch, now, settle)
        if verdict.state == "failed":
            raise unhealthy(container, name, verdict.reason)
        if verdict.state == "wait":
            waiting[name] = verdict.reason
    return waiting


def wait(
    config: Config, services: Mapping[str, Service], timeout: float, watch: Watch, step: Step,
    *, only: frozenset[str] | None = None,
) -> None:  # fmt: skip
    """Return when every one of `services` is running and healthy; with `only`, containers of other ids do not count.

    Raises Failure (UNHEALTHY) as soon as one cannot become so, or after `timeout` seconds.
    """
    ends, told = time.monotonic() + timeout, ""
    total = len(services)
    while True:
        found = [item for item in compose.containers(config) if only is None or item.id in only]
        waiting = check(found, services, watch, config.settle)
        if not waiting:
            step.done(f"all {total} services are well", services=total)
            return
        if time.monotonic() > ends:
            name, reason = next(iter(waiting.items()))
            raise unhealthy(of_service(found, name), name, f"was not well after {timeout:.0f} s ({reason})")
        listing = ", ".join(f"{name} ({reason})" for name, reason in waiting.items())
        if listing != told:
            step.output(f"{total - len(waiting)} of {total} well, waiting for {listing}", waiting=waiting)
            told = listing
        time.sleep(config.poll)
