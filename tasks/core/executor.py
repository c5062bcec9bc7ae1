"""fab's executor, ours: sessions instead of Contexts, hosts in parallel, one-line errors with an exit code each."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import fabric
from invoke.exceptions import Exit

from tasks.core.errors import ExitStatus, InfraError, SettingsError, UsageError

if TYPE_CHECKING:
    from tasks.core.fleet import Fleet
    from tasks.core.login import Credentials
    from tasks.core.output import Console
    from tasks.core.reporting import Ending
    from tasks.core.target import Workplace


def install() -> None:
    """Make fab use this executor, however it was started (`fab`, `python -m fabric`). The fabfile calls it once."""
    import fabric.main

    fabric.main.program.executor_class = HostExecutor


class HostExecutor(fabric.Executor):  # type: ignore[misc]  # fabric has no annotations
    """Runs the tasks of one command line, one after the other, each on all its hosts; stops at the first failure."""

    def execute(self, *tasks: Any) -> dict[Any, Any]:
        """Run the tasks. Ends the process through Exit with an ExitStatus unless all went well."""
        from tasks.core.output import Console, Output

        console = Console()
        with _terminated_like_ctrl_c():
            try:
                status = self._run(console, tasks)
            except InfraError as error:
                Output(console).report(error)
                status = error.status
            except KeyboardInterrupt:
                Output(console).error("interrupted")
                status = ExitStatus.INTERRUPTED
            except BrokenPipeError:  # `fab status | head`: whoever read stdout has gone, and nobody is to blame
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                status = ExitStatus.FAILED
        if status != ExitStatus.OK:
            raise Exit(code=int(status))
        return {}

    def _run(self, console: Console, tasks: tuple[Any, ...]) -> ExitStatus:
        from tasks.core.fleet import run_everywhere
        from tasks.core.reporting import show
        from tasks.core.task import HostTask

        calls = self.normalize(tasks)
        self._refuse_what_would_be_ignored(calls)
        fleet: Fleet | None = None
        try:
            for call in calls:
                kwargs = dict(call.kwargs)
                rolling = kwargs.pop("rolling", 0) if isinstance(call.task, HostTask) else 0
                console.quiet_stdout = bool(kwargs.get("json"))
                if isinstance(call.task, HostTask):
                    kwargs.pop("env", None)  # the workplace has it
                    fleet = fleet or self._fleet(console, calls)
                    endings = run_everywhere(call.task, kwargs, fleet, at_once=rolling)
                else:
                    endings = [self._run_here(call, kwargs)]
                status = show(endings, console, as_json=console.quiet_stdout)
                if status != ExitStatus.OK:
                    return status
            return ExitStatus.OK
        finally:
            if fleet:
                fleet.close()

    def _run_here(self, call: Any, kwargs: dict[str, Any]) -> Ending:
        from tasks.core.reporting import Ending
        from tasks.core.task import Report

        self.config.load_collection(self.collection.configuration(call.called_as))
        self.config.load_shell_env()
        result = call.task(call.make_context(self.config), *call.args, **kwargs)
        return Ending("", result if isinstance(result, Report) else None)

    def _refuse_what_would_be_ignored(self, calls: list[Any]) -> None:
        if self.config.run.dry:
            raise UsageError("fab's own --dry is not honoured here", hint="fab plan shows what would change")
        takes_remainder = any(getattr(call.task, "takes_remainder", False) for call in calls)
        if self.core.remainder and not takes_remainder:
            raise UsageError(f"nothing takes the words after --: {self.core.remainder}", hint="fab --help TASK")

    def _fleet(self, console: Console, calls: list[Any]) -> Fleet:
        from tasks.core.fleet import Fleet
        from tasks.core.target import resolve

        place = self._workplace(calls)
        typed = self.core[0].args.hosts.value
        if not typed and place.environment:
            _require(place.settings_file)  # else the host would be said to be missing
        names = [name.strip() for name in (typed or _default_host(place)).split(",") if name.strip()]
        if not names:
            task = calls[0].called_as or calls[0].task.name
            raise UsageError(
                "no host: neither -H nor DEPLOY_HOST says where to run", hint=f"fab {task} -H vps (an ssh_config alias)"
            )
        targets = [resolve(name, place) for name in dict.fromkeys(names)]
        if _chosen(calls):
            for target in targets:
                _require(target.settings_file)
        return Fleet(targets, console, self._credentials(), remainder=self.core.remainder)

    def _workplace(self, calls: list[Any]) -> Workplace:
        from tasks.core.target import Workplace, project_root

        flags = self.core[0].args
        chosen = _chosen(calls)
        if len(chosen) > 1:
            raise UsageError(f"one command line is for one environment, not {' and '.join(chosen)}")
        environment = chosen[0] if chosen else os.environ.get("INFRA_ENV", "")
        if environment and not environment.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"{environment!r} is not the name of an environment", hint="letters, digits, - and _")
        return Workplace(
            root=project_root(),
            ssh_config=Path(flags["ssh-config"].value).expanduser() if flags["ssh-config"].value else None,
            identities=tuple(Path(path).expanduser() for path in flags["identity"].value or ()),
            environment=environment,
        )

    def _credentials(self) -> Credentials:
        from tasks.core.command import Secret
        from tasks.core.login import Credentials

        given = self.config.connect_kwargs
        password, passphrase = given.get("password"), given.get("passphrase")
        return Credentials(Secret(password) if password else None, Secret(passphrase) if passphrase else None)


def _chosen(calls: list[Any]) -> list[str]:
    """What was given as --env, each once."""
    given = [call.kwargs.get("env") for call in calls]
    return list(dict.fromkeys(name for name in given if isinstance(name, str) and name))


def _require(path: Path) -> None:
    """Say at once that the settings of an environment are not there: before a host is asked for anything."""
    if not path.exists():
        from tasks.core.settings import display_name

        shown = display_name(path)
        raise SettingsError([f"{shown} does not exist"], hint=f"fab secrets.init --path {shown}")


def _default_host(place: Workplace) -> str:
    """DEPLOY_HOST of the settings file, read alone: `fab trust` must work before the file is complete."""
    if not place.settings_file.exists():
        return ""
    from tasks.core.settings import file as settings_text

    try:
        entry = settings_text.parse(settings_text.read(place.settings_file)[0]).entries.get("DEPLOY_HOST")
    except settings_text.UnreadableFile as error:
        raise SettingsError([f"{place.settings_file} {error}"]) from None
    return entry.value.strip() if entry else ""


@contextlib.contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP stop the remote side as well: their default would leave it running."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
