"""Changes that could shut us out: made, tried over a new connection, and undone by the host itself when that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from json import dumps
from typing import TYPE_CHECKING

from tasks.core import events, project
from tasks.core.errors import HostFailed, InfraError, Refused
from tasks.operations import hint, hostprogram

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.model.provision.step import Step

SECONDS = 60  # until the host undoes what nobody has confirmed
_PAUSE = 2.0  # between two tries of a new connection: sshd may be reloading
_TRIES = 2
_LATER = 15.0  # seconds an undo may take


def perform(s: Session, app: str, step: Step, *, seconds: int, wait: float) -> None:
    """Make the change and confirm it over a new connection; without one it is undone.

    Args:
        s: the host; this connection stays open all the while.
        app: the name of the application.
        step: the change; it has an undo.
        seconds: after which the host undoes it by itself.
        wait: seconds to wait when something else is running on the host.
    Raises:
        Refused: the login that has to work afterwards does not work now; nothing was changed.
        HostFailed: the change shut us out, and is undone. Else as `events.follow`.
    """
    who = step.login or s.user
    if step.login and step.login != s.user:
        try:
            with _anew(s, step.login) as fresh:
                hostprogram.ask(fresh, app, "status")
        except InfraError as error:
            raise Refused(
                f"{step.name} was left out: {who} cannot log in and become root ({error.cause})", host=s.name,
                hint="set DEPLOY_PUBLIC_KEY_FILE to the key you log in with, then fab setup again",
            ) from error  # fmt: skip
    job = {
        "kind": "setup",
        "steps": [{"name": step.name, "script": step.script, "undo": step.undo, "seconds": seconds}],
    }
    command = hostprogram.command(app, "converge", "--by", project.operator(), "--wait", f"{wait:g}")
    events.follow(s, command, stdin=dumps(job).encode(), again=hint.fab(s, "setup"))
    try:
        _tried(lambda: _confirm(s, app, step.login))
    except InfraError as error:
        if not _undone(s, app, seconds):
            raise HostFailed(
                f"{step.name}: a new connection failed ({error.cause}), but the host has nothing left to undo: "
                "the change was confirmed, or undone in time",
                host=s.name, hint=f"see which: {hint.fab(s, 'setup --dry-run')}",
            ) from error  # fmt: skip
        raise HostFailed(
            f"{step.name} would have shut {who} out ({error.cause}), so it was undone: everything is as before",
            host=s.name, hint="see why a new connection fails: ssh -v; then fab setup again",
        ) from error  # fmt: skip
    s.out.info(f"    confirmed over a new connection as {who}")


def _confirm(s: Session, app: str, login: str) -> None:
    with _anew(s, login) as fresh:
        hostprogram.ask(fresh, app, "confirm")


def _tried(action: Callable[[], None]) -> None:
    for left in reversed(range(_TRIES)):
        try:
            return action()
        except InfraError:
            if not left:
                raise
            time.sleep(_PAUSE)
    return None


@contextmanager
def _anew(s: Session, login: str) -> Iterator[Session]:
    """Another connection to the same host, as `login` unless that is ""."""
    from tasks.core.session import Session

    target = replace(s.target, hop=replace(s.target.hop, user=login)) if login else s.target
    fresh = Session(target, out=s.out, credentials=s.credentials)
    try:
        yield fresh
    finally:
        fresh.close()


def _undone(s: Session, app: str, seconds: int) -> bool:
    """Have it undone at once over the connection there is, else wait until the host has done it.

    False when the host answers that nothing waits to be undone: an answer to the confirmation may have been lost.
    """
    try:
        return bool(hostprogram.ask(s, app, "revert")["reverted"])
    except InfraError:
        s.out.warn(f"the open connection does not work either: {s.name} undoes the change within {seconds} s")
        time.sleep(seconds + _LATER)
        return True
