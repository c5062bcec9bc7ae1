"""A host that answers from a script."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tasks.core.command import Command
from tasks.core.output import Console, Output
from tasks.core.session import Result

DONE = {"event": "done", "data": {"status": 0}}
Answer = Result | Mapping[str, Any] | list[Mapping[str, Any]] | BaseException


class FakeHost:
    """Stands in for a Session. `answers` has, by the first word of a host program's command, what comes back: events
    for what is followed, one JSON document for a question, a Result or an exception; a list of lists in turn."""

    name, user, address = "vps", "deploy", "203.0.113.10"
    cancelled = False

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.done: list[tuple[str, ...]] = []
        self.stdin: list[bytes] = []
        self.shown, self.errors = io.StringIO(), io.StringIO()
        self.out = Output(Console(stdout=self.shown, stderr=self.errors), assume_yes=True)
        self.settings_file = Path(".env")
        self.target = SimpleNamespace(environment="", in_lab=False)

    def _answer(self, command: Command, stdin: Any) -> Any:
        self.done.append(command.argv[1:])
        self.stdin.append(stdin if isinstance(stdin, bytes) else b"".join(stdin or ()))
        answer = self.answers.get(command.argv[1].replace("-", "_"), DONE)
        answer = answer(command.argv[1:]) if callable(answer) else answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def run(self, command: Command, *, stdin: Any = None, **_: Any) -> Result:
        answer = self._answer(command, stdin)
        return answer if isinstance(answer, Result) else Result(0, json.dumps(answer).encode() + b"\n", "")

    def lines(self, command: Command, on_line: Callable[[str], None], *, stdin: Any = None, **_: Any) -> Result:
        answer = self._answer(command, stdin)
        if isinstance(answer, Result):
            return answer
        for event in answer if isinstance(answer, list) else [answer]:
            on_line(json.dumps(event))
        return Result(0, b"", "")

    def words(self, name: str) -> list[tuple[str, ...]]:
        """The commands of this name that were run."""
        return [words for words in self.done if words[0] == name]
