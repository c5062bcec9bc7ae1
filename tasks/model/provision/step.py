"""A step of `fab setup` as a value, and how its script is put together."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.core.command import Command

PROLOGUE = """set -eu
umask 022
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
"""

ARMED = "/opt/{app}/shared/state/armed"
"""The directory in which the script of a step with an undo may keep what the undo needs; it is gone afterwards."""

_BODIES = Path(__file__).with_name("steps")


@dataclass(frozen=True)
class Step:
    """One change to a host.

    Attributes:
        name: one word, for progress and messages.
        why: what does not hold yet, for the plan that the user reads.
        script: for a POSIX shell, run as root.
        via: how it gets done: "shell" (directly, before python3 is there), "push" (directly, the host program's bytes
            on stdin) or "converge" (by the host program, which goes on when the connection breaks).
        undo: puts back what `script` changed, without python; the host runs it by itself unless a new connection
            confirms the change in time. "" for a step that cannot shut anybody out.
        login: who has to get in over that connection: "" for the present login, else a user's name.
    """

    name: str
    why: str
    script: str
    via: str = "converge"
    undo: str = ""
    login: str = ""


def commands(*lines: Command) -> str:
    """A script that runs these commands one after the other and stops at the first that fails."""
    return PROLOGUE + "".join(f"{line.render()}\n" for line in lines)


def body(*names: str, variables: Mapping[str, str] | None = None) -> str:
    """A script made of the named files of steps/, which find their input in these shell variables."""
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in (variables or {}).items())
    return PROLOGUE + assignments + "".join((_BODIES / name).read_text(encoding="utf-8") for name in names)


def source(name: str) -> str:
    """The text of a file of steps/ that lands on the host as it is."""
    return (_BODIES / name).read_text(encoding="utf-8")
