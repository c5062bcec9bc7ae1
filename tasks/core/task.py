"""Tasks as values: what runs on a host, what runs here, and what they report."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from invoke.parser.argument import Argument
from invoke.tasks import Task

from tasks.core.errors import ExitStatus, UsageError

_ENV_HELP = "read the settings from .env.NAME instead of .env; default INFRA_ENV"
_ROLLING_HELP = "so many hosts at a time, in the order of -H; stops at the first that fails. Default: all at once"

Body = TypeVar("Body", bound=Callable[..., Any])


@dataclass(frozen=True)
class Report:
    """What a task found: `data` for --json, `text` for people, `status` the exit code."""

    data: object
    text: str = ""
    status: ExitStatus = ExitStatus.OK


class _ReadableTask(Task[Callable[..., Any]]):
    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The flags with their help. invoke's own takes the help away, so that a second reader finds none."""
        kept = dict(self.help)
        try:
            return super().get_arguments(ignore_unknown_help)
        finally:
            self.help = kept


class HostTask(_ReadableTask):
    """A task whose first argument is a Session. It never runs on the workstation, host or no host.

    Attributes:
        takes_remainder: whether it reads what follows `--`.
        serving: says what runs on a host, for the end of a run that was cut short; with it the task has --rolling.
    """

    takes_remainder = False
    serving: Callable[[Any], str] | None = None

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The flags of the task, and those that every task on a host has: the executor takes them, not the task."""
        arguments = [*super().get_arguments(ignore_unknown_help), Argument("env", kind=str, default="", help=_ENV_HELP)]
        if self.serving is not None:
            arguments.append(Argument("rolling", kind=int, default=0, help=_ROLLING_HELP))
        return arguments

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task from another one, with its session. Raises UsageError for anything but a Session."""
        from tasks.core.session import Session  # only now: `fab --list` does without

        if not args or not isinstance(args[0], Session):
            raise UsageError(f"no host: {self.name} runs on a host only", hint=f"fab {self.name} -H vps")
        return self.body(*args, **kwargs)


class LocalTask(_ReadableTask):
    """A task that runs on the workstation and needs no host."""


def host_task(
    *,
    help: dict[str, str] | None = None,
    default: bool = False,
    name: str | None = None,
    optional: Iterable[str] = (),
    positional: Iterable[str] | None = None,
    iterable: Iterable[str] = (),
    remainder: bool = False,
    serving: Callable[[Any], str] | None = None,
) -> Callable[[Callable[..., Report | None]], HostTask]:
    """Make `fn(session, ...)` a task for each host of -H, else DEPLOY_HOST.

    `help` has a text for every flag; `remainder` lets the task read what follows `--` from `session.remainder`;
    `serving` gives it --rolling and says, of a session, what runs there. The other arguments are invoke's.
    """

    def decorate(body: Callable[..., Report | None]) -> HostTask:
        options = _options(
            body,
            help=help,
            default=default,
            name=name,
            optional=optional,
            positional=positional,
            iterable=iterable,
        )
        task = HostTask(body, **options)
        task.takes_remainder = remainder
        task.serving = serving
        return task

    return decorate


def local_task(
    *,
    help: dict[str, str] | None = None,
    default: bool = False,
    name: str | None = None,
    optional: Iterable[str] = (),
    positional: Iterable[str] | None = None,
    iterable: Iterable[str] = (),
) -> Callable[[Callable[..., Report | None]], LocalTask]:
    """Make `fn(context, ...)` a task of the workstation. Arguments as with `host_task`."""

    def decorate(body: Callable[..., Report | None]) -> LocalTask:
        options = _options(
            body,
            help=help,
            default=default,
            name=name,
            optional=optional,
            positional=positional,
            iterable=iterable,
        )
        return LocalTask(body, **options)

    return decorate


def _options(body: Callable[..., Any], **given: Any) -> dict[str, Any]:
    flags = list(inspect.signature(body).parameters.values())[1:]
    # invoke makes every parameter without a default positional; so it stays, unless the task says otherwise.
    required = [flag.name for flag in flags if flag.default is inspect.Parameter.empty]
    positional = given["positional"]
    return {
        **given,
        "help": given["help"] or {},
        "optional": tuple(given["optional"]),
        "positional": required if positional is None else list(positional),
        "iterable": list(given["iterable"]),
        # A flag's first letter would shadow fab's own -h, -t, -i: ours have long names only.
        "auto_shortflags": False,
    }
