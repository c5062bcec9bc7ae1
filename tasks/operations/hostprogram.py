"""Talking to the program on the host: its commands, questions it answers with one line, files of its releases."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tasks.core import events
from tasks.core.command import Command, Secret, redact
from tasks.core.errors import HostFailed, Refused
from tasks.model import program, setup
from tasks.operations import hint

if TYPE_CHECKING:
    from tasks.core.session import Result, Session
    from tasks.model.facts import Facts

_SECONDS = 120.0  # for an answer; a registry far away may take its time
_UNKNOWN_COMMAND = 2  # what an older program ends with, which does not have the command


def command(app: str, *words: object) -> Command:
    """A command of the program of `app`."""
    return Command(f"/usr/local/bin/{app}", *words, label=f"{app} {words[0]}")


def ask(
    s: Session,
    app: str,
    *words: object,
    question: Any = None,
    secrets: Iterable[Secret] = (),
    seconds: float = _SECONDS,
) -> Any:
    """Run a command that answers with one JSON document.

    Args:
        s: the host.
        app: the name of the application.
        words: the command and its arguments.
        question: JSON-able, goes to its stdin: the place for a secret.
        secrets: values to mask in whatever it says.
        seconds: how long it may take.
    Raises:
        Refused: the host has no program, or one without this command. Locked, Unhealthy, HostFailed: as the program
            says. Else as `Session.run`.
    """
    stdin = None if question is None else json.dumps(question).encode()
    return _asked(s, app, words, stdin, tuple(secrets), seconds=seconds)


def tell(s: Session, app: str, *words: object, text: str) -> Any:
    """The same for a command that reads plain text from its stdin."""
    return _asked(s, app, words, text.encode(), (), seconds=_SECONDS)


def _asked(
    s: Session, app: str, words: Sequence[object], stdin: bytes | None, secrets: tuple[Secret, ...], *, seconds: float
) -> Any:
    result = s.run(command(app, *words), stdin=stdin, root=True, deadline=seconds, check=False, secrets=secrets)
    return answer(s, app, str(words[0]), result, secrets)


def answer(s: Session, app: str, word: str, result: Result, secrets: tuple[Secret, ...] = ()) -> Any:
    """The JSON document in what the program's command `word` has said. Raises as `ask`."""
    lines = redact(result.text, secrets).rstrip("\n").split("\n")
    if result.status != 0:
        raise _failure(s, result, lines)
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        raise HostFailed(f"{app} {word} gave no answer", host=s.name, hint="run the same again") from None


def files(s: Session, app: str, release: str, paths: Sequence[str]) -> dict[str, bytes]:
    """Fetch public files of a release ("current" is one), or of what containers have mounted (live/...).

    Nothing is asked when there are no paths. Raises as `ask`.
    """
    if not paths:
        return {}
    with tarfile.open(fileobj=io.BytesIO(content(s, app, "show", release, *paths))) as tar:
        members = [(member.name, tar.extractfile(member)) for member in tar]
        return {name: stream.read() for name, stream in members if stream is not None}


def content(s: Session, app: str, *words: object) -> bytes:
    """The stdout of a command for which it is a file. Raises as `ask`."""
    result = s.run(command(app, *words), root=True, deadline=_SECONDS, check=False)
    if result.status != 0:
        raise _failure(s, result, result.stderr.splitlines())
    return result.stdout


def manifest(s: Session, app: str, release: str) -> dict[str, Any]:
    """Fetch the manifest of a release. Raises as `ask`."""
    found: dict[str, Any] = json.loads(files(s, app, release, ["manifest.json"])["manifest.json"])
    return found


def install(s: Session, found: Facts, app: str, content: bytes) -> None:
    """Put the program of this checkout on the host, unless it is there."""
    for step in setup.program_step(found, app, program.digest(content)):
        s.out.step(f"{step.name}: {step.why}")
        s.run(Command.shell(step.script).labelled(f"the step {step.name}"), stdin=content, root=True)


def _failure(s: Session, result: Result, lines: list[str]) -> Exception:
    """What the last event among `lines` says, else what can be told from the status."""
    if result.status == _UNKNOWN_COMMAND:
        return Refused("the program on this host is older than this checkout", host=s.name, hint=hint.fab(s, "setup"))
    if "not found" in result.stderr and not result.stdout:
        return Refused("this host is not set up yet", host=s.name, hint=hint.fab(s, "setup"))
    try:
        event = json.loads(lines[-1])
    except (IndexError, ValueError):
        event = None
    try:
        events.verdict(
            event if isinstance(event, dict) and "event" in event else None,
            s.name,
            exit_status=result.status,
            stderr=result.stderr,
        )
    except Exception as error:
        return error
    return HostFailed("the host program contradicts itself", host=s.name, exit_status=result.status)
