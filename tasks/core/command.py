"""Commands and secrets as types: quoting is done here and nowhere else, and a secret cannot become part of an argv."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

_LABEL_LENGTH = 80  # characters; a label is for a message, not a transcript


class Secret:
    """A value that shows as `***` wherever it is printed, formatted or logged; only `reveal()` gives the text."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, to be written to a stdin or a 0600 file and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised")


@dataclass(frozen=True)
class Command:
    """An immutable argument list for the host. `Command("docker", "pull", ref)`; arguments are text or numbers.

    Raises TypeError for a Secret (argv is world-readable on the host) and ValueError for a NUL or no argument at all.
    """

    argv: tuple[str, ...]
    _label: str = ""

    def __init__(self, *arguments: object, label: str = "") -> None:
        if not arguments:
            raise ValueError("a command needs at least one argument")
        object.__setattr__(self, "argv", tuple(_argument(a) for a in arguments))
        object.__setattr__(self, "_label", label)

    @classmethod
    def shell(cls, script: str, label: str = "") -> "Command":
        """A POSIX shell script. Interpolate nothing unquoted; long scripts (over 100 kB) go over stdin instead."""
        return cls("sh", "-c", script, label=label)

    def sudo(self) -> "Command":
        """The same command as root, failing at once where a password would be asked for."""
        return Command("sudo", "-n", "--", *self.argv, label=self.label)

    def labelled(self, label: str) -> "Command":
        """The same command, called `label` in messages."""
        return Command(*self.argv, label=label)

    @property
    def label(self) -> str:
        """What messages call the command: the given label, else its beginning."""
        if self._label:
            return self._label
        script = self.argv[2] if self.argv[:2] == ("sh", "-c") and len(self.argv) == 3 else self.render()
        text = " ".join(script.split())
        return text if len(text) <= _LABEL_LENGTH else f"{text[: _LABEL_LENGTH - 3]}..."

    def render(self) -> str:
        """One line for a POSIX shell that yields exactly these arguments."""
        return shlex.join(self.argv)

    def __str__(self) -> str:
        return self.render()


def _argument(value: object) -> str:
    if isinstance(value, Secret):
        raise TypeError("a Secret cannot be an argument: it would show in the host's process list; send it over stdin")
    if isinstance(value, bytes):
        raise TypeError("arguments are text: decode the bytes first")
    text = str(value)
    if "\0" in text:
        raise ValueError("an argument cannot contain a NUL")
    return text


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """`text` with every occurrence of a secret (longest first, and each line of a multi-line one) replaced by `***`."""
    needles: set[str] = set()
    for secret in secrets:
        value = secret.reveal()
        # A line of a PEM key is as good as the key; single characters would mask half of any text.
        needles.update(part for part in (value, *value.splitlines()) if len(part) > 1)
    for needle in sorted(needles, key=len, reverse=True):
        text = text.replace(needle, "***")
    return text
