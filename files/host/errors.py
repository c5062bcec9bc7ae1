"""What can go wrong on the host, told in one line with what to do next."""

from __future__ import annotations

import errno
import traceback
from enum import IntEnum

_LINE = 500  # characters: a cause is read in a terminal, not scrolled


class Status(IntEnum):
    """Exit codes of the host program; the workstation's ExitStatus uses the same numbers."""

    OK = 0
    FAILED = 1
    LOCKED = 8
    UNHEALTHY = 9
    REFUSED = 11
    HOST_FAILED = 12
    INTERRUPTED = 130


def one_line(text: str) -> str:
    """`text` with all white space folded to single spaces and cut to a readable length."""
    line = " ".join(text.split())
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."


class Failure(Exception):
    """A foreseeable failure: `cause` in one line, `hint` is what to do next, `data` goes into the event."""

    def __init__(
        self, cause: str, *, hint: str = "", status: Status = Status.HOST_FAILED, data: dict[str, object] | None = None
    ) -> None:
        super().__init__(one_line(cause))
        self.cause = one_line(cause)
        self.hint = one_line(hint)
        self.status = status
        self.data = data or {}


class Terminated(Failure):
    """The program was asked to stop (systemctl stop, shutdown, Ctrl-C)."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"stopped by {signal_name}", hint="run the same command again", status=Status.INTERRUPTED)


_OS_CAUSES = {
    errno.ENOSPC: ("no space left on the disk", "free some: docker system df; journalctl --vacuum-size=200M"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or raise the quota"),
    errno.EFBIG: ("a file grew beyond the allowed size", "free some space or raise the limit"),
    errno.EROFS: (
        "the file system is read-only",
        "look at the kernel's messages: dmesg | tail; the disk may be failing",
    ),
    errno.EIO: (
        "the disk reports input/output errors",
        "look at the kernel's messages: dmesg | tail; save your backups",
    ),
    errno.EACCES: ("permission denied", "run it as root (sudo)"),
    errno.EPERM: ("operation not permitted", "run it as root (sudo)"),
    errno.EMFILE: ("too many open files", "look for what leaks them: lsof | wc -l"),
    errno.ENOMEM: ("out of memory", "look for what uses it: free -m; add swap"),
}


def from_os_error(error: OSError, doing: str) -> Failure:
    """The Failure for an operating system error met while `doing` something (a phrase: "writing the release")."""
    what, hint = _OS_CAUSES.get(
        error.errno or 0, (error.strerror or str(error), "look at the event's data and try again")
    )
    where = f" ({error.filename})" if error.filename else ""
    return Failure(f"{doing}: {what}{where}", hint=hint)


def as_failure(error: Exception, doing: str) -> Failure:
    """The Failure for any exception: itself, an operating system error explained, or a mistake of this program
    (with the traceback in its data, so that it can be reported)."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError):
        return from_os_error(error, doing)
    return Failure(
        f"{doing}: unexpected {type(error).__name__}: {error}",
        hint="this is a mistake of the toolkit: please report it with the event's data",
        data={"traceback": traceback.format_exception(type(error), error, error.__traceback__)},
    )
