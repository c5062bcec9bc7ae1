"""Reading a settings file: bytes to names, values and line numbers.

Values are taken as they stand: nothing is interpolated and nothing comes from the environment.
"""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core.settings.schema import BACKEND_PREFIX, BY_NAME, FRONTEND_PREFIX

MAX_BYTES = 1 << 20
"""A settings file is a few kilobytes: what is bigger is another file."""
MAX_LINES = 10_000
"""The parser takes 20 microseconds a line, comments included."""

MOST_PROBLEMS = 200
"""Where reading stops: a key or a log given by mistake would otherwise be explained line by line."""

_ASSIGNMENT = re.compile(r"^[^\S\n]*(?:export[^\S\n]+)?([A-Z][A-Z0-9_]*)[^\S\n]*=", re.MULTILINE)
_COMMENT_OR_VALUE = re.compile(r"[^=]*=[^\S\n]*[^\s'\"#][^\n]*?[^\S\n]#")
_LINE_END = re.compile(r"[\r\n]")  # no \r\n is left by now
_RECOGNISABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a settings file; never contains a value.

    Attributes:
        line: where, from 1; None when it concerns the whole file.
        name: the setting, when it is known.
        text: what is wrong and what is expected.
    """

    line: int | None
    name: str | None
    text: str

    def at(self, file: str) -> str:
        """Return the problem as "file:line: NAME: text"."""
        return ": ".join(filter(None, (file if self.line is None else f"{file}:{self.line}", self.name, self.text)))


@dataclass(frozen=True)
class Entry:
    """One assignment: its value and where it starts (line, from 1)."""

    value: str
    line: int


@dataclass
class Parsed:
    """What a settings file holds.

    Attributes:
        entries: by name, in the order of the file.
        problems: everything that is not a well-formed, known, single assignment.
        damaged: names seen inside text that does not parse; saying that they are missing would mislead.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)


class UnreadableFile(Exception):
    """The file cannot be taken for a settings file at all; str() says why, in words that follow the file's name."""


def read(path: Path) -> tuple[str, int]:
    """Read a settings file.

    Args:
        path: the file.
    Returns:
        Its text, line ends as "\\n" and without a byte order mark, and its permission bits.
    Raises:
        UnreadableFile: it is missing, not a file, not readable, too big, too long or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                raise UnreadableFile("is not a file")
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UnreadableFile("does not exist") from None
    except IsADirectoryError:
        raise UnreadableFile("is a directory, not a file") from None
    except OSError as error:
        raise UnreadableFile(f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise UnreadableFile("is bigger than 1 MiB: not a settings file")
    if data.count(b"\n") > MAX_LINES:
        raise UnreadableFile(f"has more than {MAX_LINES} lines: not a settings file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # "from None": the original exception carries the file's bytes
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableFile(f"is not UTF-8 text, see line {line}") from None
    return text.replace("\r\n", "\n"), stat.S_IMODE(mode)


def parse(text: str) -> Parsed:
    """Split the text of a settings file into assignments; never raises, what does not parse is a problem."""
    from dotenv.parser import Binding, parse_stream

    parsed = Parsed()
    bindings: Iterator[Binding] = parse_stream(io.StringIO(text, newline=""))
    for binding in bindings:
        if len(parsed.problems) >= MOST_PROBLEMS:
            parsed.problems.append(
                Problem(None, None, f"has more than {MOST_PROBLEMS} problems: is it a settings file?")
            )
            break
        source = binding.original.string
        # the parser counts the blank lines in front of a statement as part of it
        line = binding.original.line + len(_LINE_END.findall(source[: len(source) - len(source.lstrip())]))
        if binding.error:
            _damage(parsed, source, line)
        elif binding.key is not None and binding.value is None:
            known = binding.key if binding.key in BY_NAME else None
            parsed.problems.append(Problem(line, known, "no = after the name"))
        elif binding.key is not None and binding.value is not None:
            _assign(parsed, binding.key, binding.value, source, line)
    return parsed


def _damage(parsed: Parsed, source: str, line: int) -> None:
    names = _ASSIGNMENT.findall(source)
    parsed.damaged.update(names)
    name = names[0] if names and _is_setting(names[0]) else None
    text = "cannot be read: a quote that is not closed, or text after the closing quote"
    parsed.problems.append(Problem(line, name, text))


def _assign(parsed: Parsed, name: str, value: str, source: str, line: int) -> None:
    if not _is_setting(name):
        parsed.problems.append(_unknown(name, line))
        return
    if name in parsed.entries:
        parsed.problems.append(Problem(line, name, f"is already set on line {parsed.entries[name].line}"))
        return
    parsed.entries[name] = Entry(value, line)
    swallowed = [other for other in _ASSIGNMENT.findall(value) if other in BY_NAME]
    if swallowed:
        parsed.damaged.update(swallowed)
        parsed.problems.append(Problem(line, name, f"a quote that is not closed here swallows {', '.join(swallowed)}"))
    setting = BY_NAME.get(name)
    if (setting is None or setting.secret) and _COMMENT_OR_VALUE.match(source):
        # the parser drops it as a comment; half a password is worse than a question
        text = "has a # after a space: put the value in single quotes, or the comment on its own line"
        parsed.problems.append(Problem(line, name, text))
    if "\0" in value:
        parsed.problems.append(Problem(line, name, "contains a NUL byte, which no environment variable can hold"))


def _is_setting(name: str) -> bool:
    return name in BY_NAME or given_variable(name) is not None


def given_variable(name: str) -> tuple[str, str] | None:
    """Split BACKEND_ENV_FOO or FRONTEND_ENV_FOO into its prefix and FOO; None for any other name."""
    for prefix in (BACKEND_PREFIX, FRONTEND_PREFIX):
        variable = name.removeprefix(prefix)
        if variable != name and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            return prefix, variable
    return None


def _unknown(name: str, line: int) -> Problem:
    from difflib import get_close_matches

    # what stands left of a stray "=" may be a piece of a secret: only what looks like a setting's name is repeated
    shown = name if _RECOGNISABLE.fullmatch(name) else None
    near = get_close_matches(name.upper(), BY_NAME, 1, 0.75)
    return Problem(line, shown, f"is not a setting; did you mean {near[0]}?" if near else "is not a setting")
