"""One tree of errors. Each is one line for the user, with an exit code that a script can tell apart."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit codes of every `fab` task and of the program on the host; listed in the reference."""

    OK = 0  # done, or nothing to do
    FAILED = 1  # something failed that has no code of its own
    USAGE = 2  # the command line is wrong or incomplete: nothing was contacted
    UNREACHABLE = 3  # no SSH conversation could be started with the host
    HOST_KEY = 4  # the host's key is unknown, changed or revoked: nothing was sent
    AUTHENTICATION = 5  # the host refused the login, or sudo wants a password
    CONNECTION_LOST = 6  # the conversation broke off: what was running may or may not have finished
    TIMED_OUT = 7  # a deadline passed; the remote command was stopped
    LOCKED = 8  # another operation holds the host's lock
    UNHEALTHY = 9  # the operation ended, the service is not healthy
    SETTINGS = 10  # the settings file is missing or has problems
    REFUSED = 11  # the toolkit declined: doing it would lose or expose something
    HOST_FAILED = 12  # a command on the host ended with a failure
    INTERRUPTED = 130  # Ctrl-C or SIGTERM; the remote side was stopped as well


class InfraError(Exception):
    """Base of everything the user is told in one line instead of a traceback.

    Arguments: `cause` says what is wrong (lower case, no full stop), `host` the alias it happened on, `hint` what to
    type or look at next, `status` the exit code when the class's own does not fit.
    """

    default = ExitStatus.FAILED

    def __init__(
        self, cause: str, *, host: str | None = None, hint: str | None = None, status: ExitStatus | None = None
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.host = host
        self.hint = hint
        self.status = self.default if status is None else status

    def one_line(self) -> str:
        """`error: [host] cause. Next: hint`, always a single line of printable text."""
        where = f"[{self.host}] " if self.host else ""
        next_step = f". Next: {self.hint}" if self.hint else ""
        return _flat(f"error: {where}{self.cause.rstrip('. ')}{next_step}")

    def __str__(self) -> str:
        return self.one_line().removeprefix("error: ")


class UsageError(InfraError):
    """The command line is wrong or incomplete."""

    default = ExitStatus.USAGE


class Unreachable(InfraError):
    """No SSH conversation could be started: name, network, port, banner or key exchange."""

    default = ExitStatus.UNREACHABLE


class HostKeyError(InfraError):
    """The host's key is unknown, changed or revoked."""

    default = ExitStatus.HOST_KEY


class AuthenticationFailed(InfraError):
    """The host refused the login, or sudo asked for a password."""

    default = ExitStatus.AUTHENTICATION


class ConnectionLost(InfraError):
    """An established connection broke off."""

    default = ExitStatus.CONNECTION_LOST


class TimedOut(InfraError):
    """A deadline passed."""

    default = ExitStatus.TIMED_OUT


class Locked(InfraError):
    """Another operation is running on the host."""

    default = ExitStatus.LOCKED


class Unhealthy(InfraError):
    """The service is not healthy."""

    default = ExitStatus.UNHEALTHY


class SettingsError(InfraError):
    """The settings file is missing or has problems; all of them are in `problems`, one line each, without values."""

    default = ExitStatus.SETTINGS

    def __init__(
        self,
        problems: list[str],
        *,
        host: str | None = None,
        hint: str | None = None,
        status: ExitStatus | None = None,
    ) -> None:
        super().__init__("; ".join(problems), host=host, hint=hint, status=status)
        self.problems = problems


class Refused(InfraError):
    """The toolkit declined to do it."""

    default = ExitStatus.REFUSED


class HostFailed(InfraError):
    """A command on the host failed. `exit_status` is its status, `stderr` the redacted end of what it said."""

    default = ExitStatus.HOST_FAILED

    def __init__(
        self,
        cause: str,
        *,
        host: str | None = None,
        hint: str | None = None,
        status: ExitStatus | None = None,
        exit_status: int = 1,
        stderr: str = "",
    ) -> None:
        super().__init__(cause, host=host, hint=hint, status=status)
        self.exit_status = exit_status
        self.stderr = stderr


def _flat(text: str) -> str:
    """Remote text can hold newlines and terminal escapes: neither may reach the one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
