"""`fab lab.*`: a whole server on this machine, to try everything on. What it is made of is in tests/lab/."""

from __future__ import annotations

from typing import Any

from tasks.core.errors import ExitStatus, InfraError, UsageError
from tasks.core.task import Report, local_task


@local_task(
    help={
        "hosts": "How many servers there must be at least: lab, lab2, lab3, ...",
        "fresh": "Throw the first server away and make it anew, bare.",
    }
)
def up(c: Any, hosts: int = 1, fresh: bool = False) -> None:
    """Bring the lab up: a bare Debian server by the name of `lab`, a registry, an ACME authority.

    The first time builds the images, which takes some minutes; with the lab up it takes a second. Afterwards `-H lab`
    works everywhere, with the settings of .lab/env.
    """
    from tests.lab import up as lab

    _try(lambda: lab.up(hosts, fresh))


@local_task(help={"images": "Remove the lab's images and caches too."})
def down(c: Any, images: bool = False) -> None:
    """Remove the lab: containers, volumes, network, keys and settings. Images stay, so that the next `up` is quick."""
    from tests.lab import up as lab

    _try(lambda: lab.down(images))


@local_task(help={"json": "One JSON document."})
def status(c: Any, json: bool = False) -> Report:
    """Show which servers of the lab there are. Exit code 3 when the lab is not up."""
    from tests.lab import up as lab

    found = _try(lab.status)
    return Report(found, lab.status_text(found), ExitStatus.OK if found["up"] else ExitStatus.UNREACHABLE)


@local_task(help={"number": "The server every name shall point at: 1 for lab, 2 for lab2."})
def dns(c: Any, number: str) -> None:
    """Point the names of the lab's DNS, which the ACME authority asks, at another server: `fab lab.dns 2`."""
    from tests.lab import up as lab

    if not number.isdecimal():
        raise UsageError(f"{number!r} is not a server's number", hint="fab lab.dns 1")
    _try(lambda: lab.dns(int(number)))


def _try(step: Any) -> Any:
    """Run a step of the lab; what it cannot do becomes the toolkit's own one-line error."""
    from tests.lab.docker import LabError

    try:
        return step()
    except LabError as error:
        cause, _, hint = str(error).partition(". Next: ")
        raise InfraError(cause, hint=hint or None, status=ExitStatus.FAILED) from None
