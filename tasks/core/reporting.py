"""How tasks ended, told to people or to a program: texts and one-line errors, or one JSON document."""

import json
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.errors import ExitStatus, InfraError
from tasks.core.output import Console, Output
from tasks.core.task import Report


@dataclass(frozen=True)
class Ending:
    """How a task ended on one host ("" for the workstation): a report, an error, or neither.

    `serving` says what runs there, where a run over several hosts was cut short; `begun` is False where it was not
    begun then.
    """

    host: str
    report: Report | None = None
    error: BaseException | None = None
    serving: str = ""
    begun: bool = True

    @property
    def status(self) -> ExitStatus:
        """The exit code it asks for."""
        if isinstance(self.error, InfraError):
            return self.error.status
        if isinstance(self.error, KeyboardInterrupt):
            return ExitStatus.INTERRUPTED
        if self.error is not None:
            return ExitStatus.FAILED
        return self.report.status if self.report else ExitStatus.OK


def show(endings: Sequence[Ending], console: Console, *, as_json: bool = False) -> ExitStatus:
    """Print reports and errors, with a summary when there are several hosts; the first failure's exit code."""
    several = len(endings) > 1
    for ending in endings:
        out = Output(console, ending.host if several else "")
        if isinstance(ending.error, InfraError):
            out.report(ending.error)
        elif ending.error is not None:
            out.error("".join(traceback.format_exception(ending.error)).rstrip())
        elif ending.report and ending.report.text and not as_json:
            console.write(ending.report.text.removesuffix("\n"), console.stdout, prefix=out.prefix)
    if as_json:
        _print_json(endings, console)
    failed = [ending for ending in endings if ending.status != ExitStatus.OK]
    if several and failed:
        names = ", ".join(f"{ending.host} (exit {int(ending.status)})" for ending in failed)
        Output(console).error(f"{len(failed)} of {len(endings)} hosts failed: {names}")
    for ending in (each for each in endings if each.serving):
        how = "not begun" if not ending.begun else "failed" if ending.status != ExitStatus.OK else "done"
        Output(console).error(f"  {ending.host} ({how}): {ending.serving}")
    return failed[0].status if failed else ExitStatus.OK


def _print_json(endings: Sequence[Ending], console: Console) -> None:
    if len(endings) == 1:
        if endings[0].report is None:
            return
        document = endings[0].report.data
    else:
        document = {ending.host: _data(ending) for ending in endings}
    console.write(json.dumps(document, indent=2, ensure_ascii=False), console.stdout)


def _data(ending: Ending) -> object:
    if ending.report is not None:
        return ending.report.data
    serving = {"serving": ending.serving} if ending.serving else {}
    if isinstance(ending.error, InfraError):
        return {"error": ending.error.cause, "hint": ending.error.hint, "status": int(ending.error.status), **serving}
    if ending.error is not None:
        return {"error": type(ending.error).__name__, "status": int(ending.status), **serving}
    return {"begun": False, **serving} if not ending.begun else None
