"""Asking a host what it is like: one script, one channel, one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core.command import Command
from tasks.core.errors import AuthenticationFailed

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings
    from tasks.model.facts import Facts

_DEADLINE = 60  # seconds; it takes less than one
_NOT_FOUND = 127  # the shell's status for a command that is not there


def observe(s: Session, settings: Settings) -> Facts:
    """Collect the facts of a host, read only.

    Args:
        s: the host.
        settings: which application and which deploy user to ask about.
    Returns:
        The facts; `status` in them is None where the host program is not installed.
    Raises:
        AuthenticationFailed: the login cannot become root. HostFailed: the answer was cut off. Else as `Session.run`.
    """
    from tasks.model import facts

    script = facts.facts_script(settings.app_name, settings.deploy_user).encode()
    command = Command("sh", "-s", label="read the host's facts")
    result = s.run(command, stdin=script, root=True, deadline=_DEADLINE, check=False)
    if result.status == _NOT_FOUND and "sudo" in result.stderr:
        raise AuthenticationFailed(
            f"{s.user} cannot become root: sudo is not installed",
            host=s.name,
            hint=f"log in as root the first time: fab setup -H root@{s.address}",
        )
    return facts.parse(result.stdout)
