"""What Docker Compose (2.26 to 2.40) makes of an env file, so that no Docker is needed to test against it.

Only what an encoder can produce is covered; anything else is an error, so that a wrong encoding cannot pass by luck.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r'\\(?:[abcfnrtv$"\\]|0[0-9]{0,3})')
_CONTROLS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}
_TEMPLATE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<named>[_a-zA-Z][_a-zA-Z0-9]*)|\{(?P<braced>[^}]*)\}|)")


def decode(data: bytes) -> dict[str, str]:
    """Read an env file the way Compose does."""
    text, values = data.decode(), {}
    while text := text.lstrip():
        name, _, text = text.partition("=")
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name), f"not a name: {name!r}"
        value, text = _quoted(text)
        values[name] = _interpolated(_ESCAPE.sub(_unescaped, value), values)
    return values


def _quoted(text: str) -> tuple[str, str]:
    """Step one: up to the closing quote; a backslash in front of a quote goes, every other one stays."""
    assert text.startswith('"'), "an unquoted value"
    taken, position = [], 1
    while position < len(text):
        character = text[position]
        if character == '"':
            return "".join(taken), text[position + 1 :]
        if character == "\\" and position + 1 < len(text):
            position += 1
            taken.append('"' if text[position] == '"' else f"\\{text[position]}")
        else:
            taken.append(character)
        position += 1
    raise AssertionError("unterminated quoted value")


def _unescaped(match: re.Match[str]) -> str:
    """Step two: the escapes of Go, of which a dollar is made a template's literal dollar."""
    escape = match[0][1:]
    if escape == "$":
        return "$$"
    if escape.startswith("0"):
        octal = re.fullmatch("[0-3][0-7]{2}", escape[1:])
        return chr(int(octal[0], 8)) if octal else f"\\{escape[1:]}"  # what Go does not take loses its zero
    return _CONTROLS.get(escape, match[0])


def _interpolated(text: str, values: dict[str, str]) -> str:
    """Step three: variables, also those set earlier in the same file."""

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name = match["named"] or match["braced"]
        assert name, "invalid template"
        return values.get(name, "")

    return _TEMPLATE.sub(value, text)
