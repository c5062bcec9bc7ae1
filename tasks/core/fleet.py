"""The hosts of one command line: a session each, kept for all tasks, run side by side."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.core.errors import InfraError
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


def run_everywhere(task: HostTask, kwargs: dict[str, Any], fleet: Fleet) -> list[Ending]:
    """Run one task on all sessions: a single one in this thread, several in parallel. Endings in the hosts' order.

    An unexpected exception of a single host is raised as it is; with several it is part of the host's ending.
    """
    several = len(fleet.sessions) > 1
    for session in fleet.sessions:
        session.out = Output(fleet.console, session.name if several else "", assume_yes=bool(kwargs.get("yes")))
    if not several:
        return [_run(task, kwargs, fleet.sessions[0])]
    endings: list[Ending | None] = [None] * len(fleet.sessions)

    def work(index: int, session: Session) -> None:
        try:
            endings[index] = _run(task, kwargs, session)
        except BaseException as error:
            endings[index] = Ending(session.name, error=error)

    threads = [
        threading.Thread(target=work, args=(index, session), name=session.name, daemon=True)
        for index, session in enumerate(fleet.sessions)
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


def _run(task: HostTask, kwargs: dict[str, Any], session: Session) -> Ending:
    try:
        result = task(session, **kwargs)
    except InfraError as error:
        error.host = error.host or session.name
        return Ending(session.name, error=error)
    return Ending(session.name, result if isinstance(result, Report) else None)
