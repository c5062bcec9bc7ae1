"""Whatever is thrown at the settings: exact, or an error that gives nothing away. Seeded: a failure comes back."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from compose_dialect import decode
from settings_samples import GOOD, WriteSettings, WriteText, single_quoted

from tasks.core.errors import SettingsError
from tasks.core.settings import load
from tasks.core.settings.file import MAX_BYTES, MAX_LINES, parse
from tasks.model.dotenv import encode

CANARY = "kQz7RwBv9XnTcJ4LmHs2YdGfAe8P"
PIECES = [
    *"'\"\\$#=\n\r\t \0é",
    "\r\n",
    "export ",
    "APP_NAME=",
    "${X}",
    "#",
    "='",
    '="',
    "\ufeff",
    "\u2028",
    "BACKEND_ENV_",
]


def any_text(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return "".join(rng.choices([*"'\"\\$#= \n\r\tabn0{}é😀", "${HOME}", "\\n", "\\'", "$$"], k=rng.randrange(16)))
    points = (rng.choice([rng.randrange(1, 0x80), rng.randrange(1, 0x110000)]) for _ in range(rng.randrange(24)))
    return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)


def double_quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


@pytest.mark.parametrize("seed", range(20))
def test_any_value_comes_through_settings_env_file_and_compose_unchanged(
    write_settings: WriteSettings, seed: int
) -> None:
    rng = random.Random(seed)
    values = {f"V{i}": any_text(rng) for i in range(60)}
    path = write_settings()
    lines = []
    for name, value in values.items():
        # a Windows line end in single quotes cannot be told from the file's own; double quotes can spell it
        quote = double_quoted if "\r\n" in value or rng.random() < 0.5 else single_quoted
        lines.append(f"BACKEND_ENV_{name}={quote(value)}\n")
    with path.open("ab") as file:
        file.write("".join(lines).encode())
    given = {name: value.reveal() for name, value in load(path).backend_given.items()}
    assert given == values
    assert decode(encode(given)) == values


def broken(rng: random.Random) -> str:
    lines = [f"{name}={single_quoted(value)}\n" for name, value in {**GOOD, "CLAUDE_API_KEY": "x"}.items()]
    lines = [line if "=" not in line else line.partition("=")[0] + f"={CANARY}\n" for line in lines]
    rng.shuffle(lines)
    text = "".join(lines)
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(len(text))
        cut = rng.randrange(3)
        text = text[:at] + rng.choice(PIECES) + text[at + cut :]
    return text


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_is_one_error_that_shows_no_piece_of_a_value(write_text: WriteText, seed: int) -> None:
    rng = random.Random(1000 + seed)
    for _ in range(50):
        path = write_text(broken(rng))
        with pytest.raises(SettingsError) as caught:
            load(path)
        shown = caught.value.one_line() + repr(caught.value) + "\n".join(caught.value.problems)
        assert not [CANARY[i : i + 6] for i in range(len(CANARY) - 5) if CANARY[i : i + 6] in shown]


@pytest.mark.parametrize("seed", range(5))
def test_arbitrary_bytes_are_a_settings_error_and_never_a_crash(write_text: WriteText, seed: int) -> None:
    rng = random.Random(2000 + seed)
    for _ in range(60):
        path = write_text(rng.randbytes(rng.randrange(200)))
        with pytest.raises(SettingsError):
            load(path)


@pytest.mark.parametrize("seed", range(5))
def test_every_problem_names_a_line_that_exists(write_text: WriteText, seed: int) -> None:
    rng = random.Random(3000 + seed)
    for _ in range(100):
        text = broken(rng).replace("\r", "\n")
        last = text.count("\n") + 1
        assert all(problem.line is None or 1 <= problem.line <= last for problem in parse(text).problems)


@pytest.mark.parametrize(
    "line", ["a=1\n", "A='\n", 'A="\\\n', "APP_NAME=x\n", "=\n", "a b\n", "#\n", "\n", "'", '"', "\\"]
)
def test_the_biggest_file_of_nonsense_is_answered_within_seconds(tmp_path: Path, line: str) -> None:
    path = tmp_path / ".env"
    path.write_text(line * min(MAX_BYTES // len(line), MAX_LINES))
    started = time.monotonic()
    with pytest.raises(SettingsError):
        load(path)
    assert time.monotonic() - started < 10
