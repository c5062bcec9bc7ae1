"""The site as its visitors see it, before and after a change: is it worse?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.operations import health

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings
    from tasks.model.health import Check

SETTLE = 20.0  # seconds the site may take to show the change


@dataclass(frozen=True)
class View:
    """What was seen after a change.

    Attributes:
        checks: all of them.
        failed: those that failed.
        worse: those among them that were well before.
    """

    checks: Sequence[Check]
    failed: Sequence[Check]
    worse: Sequence[Check]

    def told(self, checks: Sequence[Check]) -> str:
        """These checks in words."""
        return "; ".join(f"{check.name}: {check.detail}" for check in checks)


def after(s: Session, chosen: Settings, before: Sequence[Check], *, closed: bool = False) -> View:
    """Look until all is well, or it has had the time to be.

    `before` are the checks from before the change, none when nothing served then; `closed` as in `health.outside`.
    """
    well = {check.name for check in before if check.ok}
    ends = time.monotonic() + SETTLE
    while True:
        checks = health.outside(s, chosen, closed=closed)
        failed = [check for check in checks if not check.ok]
        if not failed or time.monotonic() > ends:
            return View(checks, failed, [check for check in failed if check.name in well])
        time.sleep(1)
