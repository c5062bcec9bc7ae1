"""`fab doctor`."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task


@host_task(help={"json": "one JSON document"})
def doctor(s: Session, json: bool = False) -> Report:
    """Look at everything that has to be right, and say what to do about what is not.

    Here: settings, libraries, the SSH key. On the way: DNS, ports, certificate, the site. On the host: all that
    `fab setup` promises, containers, timers, disk, clock, files changed by hand, the firewall. Changes nothing.
    Exit code 9 with an error, 0 with warnings alone, that of the failed login when there is none.
    """
    from tasks.operations import doctor as operation

    return operation.doctor(s)
