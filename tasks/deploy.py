"""`fab plan`, `fab deploy`, `fab rollback` and `fab releases`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core.errors import UsageError
from tasks.core.session import Session
from tasks.core.task import Report, host_task

if TYPE_CHECKING:
    from tasks.operations.prepare import Options

_JSON = "one JSON document at the end; progress goes to stderr"
_YES = "do not ask"
_ACCEPT = "do it although this rule speaks against it; give it again for another. Recorded on the host"
_BUILD = "build BACKEND_BUILD and FRONTEND_BUILD here, with Docker"
_RESOLVE = "look up again what the tags stand for, also those that have not changed"
_WAIT = "seconds to wait when something else is running on the host; without it that is exit code 8"
_HOOKS = "do not run what is in hooks/"


def _serving(s: Session) -> str:
    from tasks.operations import releases as operation

    return operation.serving(s)


def _options(
    *, wait: int | None = 0, yes: bool = False, accept: list[str] | None = None, plan: str = "", build: bool = False,
    resolve: bool = False, skip_hooks: bool = False,
) -> Options:  # fmt: skip
    from tasks.operations.prepare import Options

    if wait is not None and wait < 0:
        raise UsageError(f"--wait takes seconds, not {wait}")
    return Options(yes, tuple(accept or ()), plan, build, resolve, wait, skip_hooks)


@host_task(
    help={"accept": _ACCEPT, "build": _BUILD, "resolve": _RESOLVE, "json": "one JSON document"}, iterable=["accept"]
)
def plan(
    s: Session, accept: list[str] | None = None, build: bool = False, resolve: bool = False, json: bool = False
) -> Report:
    """Show what `fab deploy` would do, and why. Changes nothing.

    Files with their differences (secrets by name only); containers that would be switched, recreated, restarted or
    reloaded, and for how long something is out; images and what has to be transferred; the migration; the disk; rules
    that speak against it. The plan has an id, for `fab deploy --plan`. Exit code 0 whether or not there is something
    to do.
    """
    from tasks.operations import deploy as operation

    return operation.plan(s, _options(accept=accept, build=build, resolve=resolve, wait=None))


@host_task(
    help={
        "yes": _YES,
        "plan": "the id of the plan to carry out, of `fab plan`; another one is refused",
        "accept": _ACCEPT,
        "build": f"{_BUILD}, and send them to the host: no registry is needed",
        "resolve": _RESOLVE,
        "wait": _WAIT,
        "skip_hooks": _HOOKS,
        "json": _JSON,
    },
    iterable=["accept"],
    serving=_serving,
)
def deploy(
    s: Session, *, yes: bool = False, plan: str = "", accept: list[str] | None = None, build: bool = False,
    resolve: bool = False, wait: int = 0, skip_hooks: bool = False, json: bool = False,
) -> Report:  # fmt: skip
    """Bring the host to what the settings and files/ describe, and verify it.

    Shows the plan and asks, pushes what differs, and has the host apply it: finished there even when the connection
    drops, with the old release serving on when the new one does not become healthy. When the site is worse from
    outside than before, the host goes back to the release before (exit code 9). A second deploy has nothing to do;
    one that finds itself still running shows the rest of it.
    """
    from tasks.operations import deploy as operation

    return operation.deploy(
        s, _options(yes=yes, plan=plan, accept=accept, build=build, resolve=resolve, wait=wait, skip_hooks=skip_hooks)
    )


@host_task(
    help={
        "to": "the release: its id, the beginning of it, or a version only one has. Default: the last that served",
        "yes": _YES,
        "accept": _ACCEPT,
        "wait": _WAIT,
        "skip_hooks": _HOOKS,
        "json": _JSON,
    },
    iterable=["accept"],
    serving=_serving,
)
def rollback(
    s: Session, *, to: str = "", yes: bool = False, accept: list[str] | None = None, wait: int = 0,
    skip_hooks: bool = False, json: bool = False,
) -> Report:  # fmt: skip
    """Go back to a release that has served: its images, its environment, its configuration.

    Shows the plan and asks; applied and verified like a deploy. The database is not taken back: migrations that lie in
    between are named, with the backup made before each. Releases that never served are refused (exit code 11).
    """
    from tasks.operations import rollback as operation

    return operation.rollback(s, to, _options(yes=yes, accept=accept, wait=wait, skip_hooks=skip_hooks))


@host_task(help={"json": "one JSON document"})
def releases(s: Session, json: bool = False) -> Report:
    """List the releases on the host: which serves, who made them, when, and what became of each."""
    from tasks.operations import releases as operation

    return operation.releases(s)
