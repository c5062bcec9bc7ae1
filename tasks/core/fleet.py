"""The hosts of one command line: a session each, kept for all tasks, run side by side."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasks.core.errors import ExitStatus, InfraError, UsageError
from tasks.core.output import Console, Output
from tasks.core.reporting import Ending
from tasks.core.session import Session
from tasks.core.target import Target
from tasks.core.task import HostTask, Report

if TYPE_CHECKING:
    from tasks.core.login import Credentials

_STOP_SECONDS = 8.0  # for each host to stop its command after Ctrl-C; then we leave anyway


class Fleet:
    """Sessions for `targets`, in order; nothing is connected before it is used."""

    def __init__(
        self, targets: Sequence[Target], console: Console, credentials: "Credentials", *, remainder: str = ""
    ) -> None:
        self.console = console
        self.cancelled = threading.Event()
        self.sessions = [
            Session(target, credentials=credentials, cancelled=self.cancelled, remainder=remainder)
            for target in targets
        ]

    def close(self) -> None:
        """Close every connection. Never raises."""
        for session in self.sessions:
            session.close()


def run_everywhere(task: HostTask, kwargs: dict[str, Any], fleet: Fleet, *, at_once: int = 0) -> list[Ending]:
    """Run one task on all sessions. Endings in the hosts' order.

    Args:
        task: what to run.
        kwargs: its arguments.
        fleet: the hosts. A single one is worked on in this thread, where an unexpected exception is raised as it is;
            with several it is part of the host's ending.
        at_once: how many hosts are worked on at the same time, 0 for all. With a number, the next ones are begun when
            those before them have ended well; when one has not, every ending tells what runs on its host.
    Raises:
        UsageError: `at_once` is negative.
    """
    if at_once < 0:
        raise UsageError(f"--rolling takes a number of hosts, not {at_once}", hint="--rolling 1: one after the other")
    sessions = fleet.sessions
    several = len(sessions) > 1
    for session in sessions:
        session.out = Output(fleet.console, session.name if several else "", assume_yes=bool(kwargs.get("yes")))
    if not several:
        return [_run(task, kwargs, sessions[0])]
    size = at_once or len(sessions)
    endings: list[Ending] = []
    while len(endings) < len(sessions):
        endings += _side_by_side(task, kwargs, fleet, sessions[len(endings) : len(endings) + size])
        if at_once and any(ending.status != ExitStatus.OK for ending in endings):
            endings += [Ending(session.name, begun=False) for session in sessions[len(endings) :]]
            return _with_what_serves(task, endings, sessions)
    return endings


def _side_by_side(task: HostTask, kwargs: dict[str, Any], fleet: Fleet, sessions: Sequence[Session]) -> list[Ending]:
    endings: list[Ending | None] = [None] * len(sessions)

    def work(index: int, session: Session) -> None:
        try:
            endings[index] = _run(task, kwargs, session)
        except BaseException as error:
            endings[index] = Ending(session.name, error=error)

    threads = [
        threading.Thread(target=work, args=(index, session), name=session.name, daemon=True)
        for index, session in enumerate(sessions)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # a join without a limit would hold Ctrl-C back
    except KeyboardInterrupt:
        fleet.cancelled.set()
        for thread in threads:
            thread.join(_STOP_SECONDS)
        raise
    return [ending for ending in endings if ending is not None]


def _with_what_serves(task: HostTask, endings: list[Ending], sessions: Sequence[Session]) -> list[Ending]:
    """Ask every host what runs there: after half a rollout nobody knows that by heart."""
    told = []
    for ending, session in zip(endings, sessions, strict=True):
        session.close()  # the failure may have been the connection's
        try:
            serving = task.serving(session) if task.serving else ""
        except InfraError as error:
            serving = f"cannot be asked: {error.cause}"
        told.append(replace(ending, serving=serving))
    return told


def _run(task: HostTask, kwargs: dict[str, Any], session: Session) -> Ending:
    try:
        result = task(session, **kwargs)
    except InfraError as error:
        error.host = error.host or session.name
        return Ending(session.name, error=error)
    return Ending(session.name, result if isinstance(result, Report) else None)
