"""Questions to PostgreSQL, and a session that stays open: psql of the server's own container, over its socket."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from host import config as configuration
from host import process
from host.errors import Failure, one_line

_DEADLINE = 300.0  # seconds for a question
_ENCODING = "PGCLIENTENCODING=UTF8"  # else that of the database, which need not be
_QUIET = "-c log_statement=none -c log_min_error_statement=panic -c client_min_messages=warning"
_END = "-- end of answer --"


def identifier(name: str) -> str:
    """A name as SQL wants it, whatever is in it."""
    if "\0" in name:
        raise Failure("a name with a NUL character cannot be used")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string as SQL wants it, whatever is in it, also with standard_conforming_strings off."""
    escaped = text.replace("'", "''")
    return f"E'{escaped}'".replace("\\", "\\\\") if "\\" in text else f"'{escaped}'"


def psql(container: str, user: str, database: str) -> list[str]:
    """The command line of a psql that stops at the first error and reads no file of anybody's."""
    login = ["--username", user, "--dbname", connection(database)]
    words = ["docker", "exec", "-i", "-e", f"PGOPTIONS={_QUIET}", "-e", _ENCODING, container]
    return [*words, "psql", "-qXAt", "-v", "ON_ERROR_STOP=1", *login]


def connection(database: str) -> str:
    """A libpq connection string for a database: its name may hold = or spaces."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def run(container: str, user: str, database: str, script: str, *, deadline: float = _DEADLINE) -> str:
    """Run statements; returns what they answer. Raises Failure with PostgreSQL's words at the first error."""
    done = process.run(psql(container, user, database), deadline=deadline, stdin=script.encode(), check=False)
    if done.status != 0:
        raise Failure(f"PostgreSQL: {told(done.stderr) or done.last_line}", hint="look at: fab health",
                      data={"log": done.stderr.splitlines()[-20:]})  # fmt: skip
    return done.text


def told(stderr: str) -> str:
    """The first error in what psql said, without where in the script it was."""
    for line in stderr.splitlines():
        for word in ("ERROR:", "FATAL:", "PANIC:"):
            if word in line:
                return one_line(line.partition(word)[2])
    return ""


def rows(container: str, user: str, database: str, query: str, *, deadline: float = _DEADLINE) -> list[Any]:
    """The rows of a query, each a JSON value. Raises as `run`."""
    text = run(container, user, database, _as_rows(query), deadline=deadline)
    return [json.loads(line) for line in lines(text) if line.strip()]


def _as_rows(query: str) -> str:
    return f"SELECT row_to_json(answer) FROM ({query}) answer;"


def lines(text: str) -> list[str]:
    """What psql answered, line by line: names may hold what Python takes for the end of a line, too."""
    return text.removesuffix("\n").split("\n") if text else []


class Session:
    """A psql that stays open, for what has to happen in one transaction while other things go on."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        if child.stdin is None or child.stdout is None:
            raise AssertionError
        self._in: IO[bytes] = child.stdin
        self._out: IO[bytes] = child.stdout

    def ask(self, script: str) -> list[str]:
        """Run statements; returns the lines they answer. Raises Failure when the session ended."""
        try:
            self._in.write(f"{script}\n\\echo {_END}\n".encode())
            self._in.flush()
        except OSError:
            raise self._ended() from None
        lines: list[str] = []
        while raw := self._out.readline():
            line = raw.decode("utf-8", "replace").rstrip("\n")
            if line == _END:
                return lines
            lines.append(line)
        raise self._ended()

    def rows(self, query: str) -> list[Any]:
        """The rows of a query, each a JSON value. Raises as `ask`."""
        return [json.loads(line) for line in self.ask(_as_rows(query)) if line.strip()]

    def _ended(self) -> Failure:
        try:
            _, error = self._child.communicate(timeout=10)
        except (subprocess.TimeoutExpired, ValueError):
            error = b""
        said = error.decode("utf-8", "replace")
        return Failure(f"PostgreSQL ended the session: {told(said) or one_line(said[-300:]) or 'no word'}",
                       hint="look at: fab health")  # fmt: skip


@contextmanager
def session(container: str, user: str, database: str) -> Iterator[Session]:
    """Open a session; it is closed, and what it did not commit undone, at the end."""
    child = subprocess.Popen(
        psql(container, user, database), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=configuration.child_environment(), cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        yield Session(child)
    finally:
        _close(child)


def _close(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                pass
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def wait_for(question: Sequence[str], seconds: float, what: str) -> None:
    """Return when a command succeeds. Raises Failure when it does not within `seconds`."""
    ends = time.monotonic() + seconds
    while process.run(question, deadline=30, check=False).status != 0:
        if time.monotonic() > ends:
            raise Failure(f"{what} was not ready after {seconds:.0f} s", hint="look at: docker ps -a; free -m")
        time.sleep(0.2)
