"""When somebody else is at work on the host: to watch it, to wait for it, or to say who it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tasks.core import events
from tasks.core.errors import HostFailed, Locked, TimedOut, Unhealthy, UsageError
from tasks.core.observe import observe
from tasks.operations import hostprogram

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings
    from tasks.model.facts import Facts

_LOOK = 2.0  # seconds between two looks at a command that cannot be watched


def holder(found: Facts) -> Mapping[str, Any] | None:
    """Who is at work there: {"what", "who", "since", ...}; None when nobody is."""
    return (found.status or {}).get("busy") or None


def told(busy: Mapping[str, Any]) -> str:
    """What is done there and by whom, in words."""
    return f"{busy.get('what', 'another command')} by {busy.get('who', 'somebody')}"


def watch(s: Session, chosen: Settings, *, again: str, seconds: float | None = None) -> None:
    """Show what is running to its end, however that is.

    Args:
        s: the host.
        chosen: the settings.
        again: what to type when the connection breaks.
        seconds: how long to watch at most; None for no limit.
    Raises:
        InfraError: as what is watched failed; TimedOut after `seconds`, while it goes on.
    """
    command = hostprogram.command(chosen.app_name, "attach")
    events.follow(s, command, deadline=seconds, secrets=chosen.secrets, again=again)


def until_free(
    s: Session,
    chosen: Settings,
    found: Facts,
    *,
    wait: float,
    again: str,
    ours: Callable[[str], bool],
    forgiving: bool = False,
) -> tuple[Facts, bool]:
    """Facts of a host where nobody is at work, observed anew where it was not so at first.

    Args:
        s: the host.
        chosen: the settings.
        found: its facts.
        wait: seconds to wait for somebody else's command.
        again: what to type when the connection breaks meanwhile.
        ours: whether what is being done (its description) is what we came for; then it is watched to its end.
        forgiving: go on when ours fails, instead of failing as it did.
    Returns:
        The facts, and whether it was ours.
    Raises:
        UsageError: `wait` is negative. Locked: somebody else's goes on for longer than that. Ours failed: as that.
    """
    if wait < 0:
        raise UsageError(f"--wait takes seconds, not {wait:g}")
    ends = time.monotonic() + wait
    was_ours = False
    while (busy := holder(found)) is not None:
        left = ends - time.monotonic()
        if not was_ours and ours(str(busy.get("what", ""))):
            s.out.step(f"{told(busy)} is running already, watching it")
            was_ours = True
            try:
                watch(s, chosen, again=again)
            except (HostFailed, Unhealthy) as error:
                if not forgiving:
                    raise
                s.out.warn(f"it failed: {error.cause}")
        elif left <= 0:
            raise _locked(s, busy, wait)
        else:
            s.out.step(f"waiting for {told(busy)}")
            _wait(s, chosen, busy, left, again)
        found = observe(s, chosen)
    return found, was_ours


def _wait(s: Session, chosen: Settings, busy: Mapping[str, Any], seconds: float, again: str) -> None:
    if not busy.get("unit"):  # no events to follow
        time.sleep(min(_LOOK, seconds))
        return
    try:
        watch(s, chosen, again=again, seconds=seconds)
    except TimedOut:
        return  # the next look says who it is
    except Locked:
        time.sleep(min(_LOOK, seconds))  # another one came in between
    except (HostFailed, Unhealthy) as error:
        s.out.warn(f"it failed: {error.cause}")


def _locked(s: Session, busy: Mapping[str, Any], wait: float) -> Locked:
    since = time.strftime("%H:%M:%S UTC", time.gmtime(float(busy.get("since") or time.time())))
    still = f", still after {wait:g} s" if wait else ""
    return Locked(
        f"busy: {told(busy)} since {since}{still}", host=s.name, hint=f"--wait {max(300, int(2 * wait))} waits for it"
    )
