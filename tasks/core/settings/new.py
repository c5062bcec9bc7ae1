"""A new settings file from the example: strong secrets, private from the first byte, never over another file."""

from __future__ import annotations

import os
import re
import secrets
import string
from pathlib import Path

from tasks.core.errors import Refused, UsageError
from tasks.core.settings import display_name
from tasks.core.settings.check import value_problem
from tasks.core.settings.file import UnreadableFile, parse, read
from tasks.core.settings.schema import SCHEMA

SECRET_LENGTH = 40
"""Characters of 62 kinds, 238 bits. Letters and digits only: such a value needs no quoting wherever it goes."""


def generate() -> str:
    """Return a new random secret from the operating system's source."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(SECRET_LENGTH))


def fill(template: str) -> tuple[str, list[str]]:
    """Put a generated value in the place of each required secret that has none.

    Args:
        template: the text of the example file, or of the user's own variant of it.
    Returns:
        The new text, everything else in it untouched, and the names that were generated.
    """
    text, names = template, []
    present = parse(template).entries
    for setting in SCHEMA:
        if not (setting.secret and setting.required):
            continue
        if setting.name not in present:
            text = f"{text.rstrip()}\n{setting.name}={generate()}\n"
        elif value_problem(setting, present[setting.name].value) is not None:
            line = rf"(?m)^([^\S\n]*(?:export[^\S\n]+)?{setting.name}[^\S\n]*=).*$"
            text = re.sub(line, rf"\g<1>{generate()}", text, count=1)
        else:
            continue
        names.append(setting.name)
    return text, names


def create(template: Path, target: Path) -> list[str]:
    """Write a new settings file.

    Args:
        template: the example file.
        target: the file to write, with mode 0600; its directory has to exist.
    Returns:
        The names of the secrets that were generated.
    Raises:
        Refused: `target` exists already, whatever is in it.
        UsageError: the template cannot be read or the file cannot be written there.
    """
    try:
        text, names = fill(read(template)[0])
    except UnreadableFile as error:
        raise UsageError(f"{display_name(template)} {error}", hint=f"git checkout {template.name}") from None
    try:
        _write_new(target, text.encode())
    except FileExistsError:
        raise Refused(
            f"{display_name(target)} exists already, and its passwords may be in use",
            hint="fab secrets.check, or move the file away first",
        ) from None
    except OSError as error:
        raise UsageError(f"{display_name(target)} cannot be written: {error.strerror}") from None
    return names


def _write_new(target: Path, data: bytes) -> None:
    # O_EXCL decides atomically, also for a dangling symbolic link; the mode is there from birth, not added later
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # an odd umask may have taken the owner's bits
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        target.unlink()  # half a settings file would refuse the next attempt
        raise
