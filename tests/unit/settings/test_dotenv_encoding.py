"""What is written into an env file is what Compose reads out of it."""

from __future__ import annotations

import random

import pytest
from compose_dialect import decode

from tasks.model.dotenv import MAX_VALUE_BYTES, encode

# Each pair was confirmed with `docker compose config` and in running containers, Compose 2.26.1 and 2.40.3.
GOLDEN = [
    ("", '""'),
    ("plain", '"plain"'),
    ("two words", '"two words"'),
    (" around ", '" around "'),
    ("a # b", '"a # b"'),
    ("it's", '"it\'s"'),
    ('say "hi"', '"say \\"hi\\""'),
    ("$", '"\\$"'),
    ("$$", '"\\$\\$"'),
    ("${HOME}", '"\\${HOME}"'),
    ("pa$word", '"pa\\$word"'),
    ("\\", '"\\\\"'),
    ("ends in \\", '"ends in \\\\"'),
    ("\\$", '"\\\\\\$"'),
    ('\\"', '"\\\\\\""'),
    ("\\n", '"\\\\n"'),
    ("\\0101", '"\\\\0101"'),
    ("two\nlines", '"two\\nlines"'),
    ("last\n", '"last\\n"'),
    ("dos\r\n", '"dos\\r\\n"'),
    ("tab\t", '"tab\t"'),
    ("=%@:/&", '"=%@:/&"'),
    ("é€😀", '"é€😀"'),
]
NASTY = [
    *"\\\"'$#=:@%/&{}()[]!?-~`*|> \n\r\t\x01\x0b\x0c\x1b\x7f\x85\xa0\u2028\ufeffé€😀abn0",
    "${A}",
    "\\0101",
    "$$",
    "export ",
]


@pytest.mark.parametrize(("value", "encoded"), GOLDEN)
def test_a_value_is_spelled_exactly_as_compose_was_seen_to_read_it(value: str, encoded: str) -> None:
    assert encode({"NAME": value}) == f"NAME={encoded}\n".encode()


@pytest.mark.parametrize("value", [value for value, _ in GOLDEN])
def test_compose_reads_the_value_back(value: str) -> None:
    assert decode(encode({"A": "other", "NAME": value})) == {"A": "other", "NAME": value}


def test_any_text_survives_in_any_company() -> None:
    rng = random.Random(20)
    for _ in range(300):
        values = {f"V{i}": "".join(rng.choices(NASTY, k=rng.randrange(20))) for i in range(10)}
        assert decode(encode(values)) == values


def test_any_character_survives() -> None:
    # two neighbours at a time: an escape is only as good as what follows it
    for first in range(1, 0x250):
        value = "".join(chr(first) + other for other in "\\\"$'n0{\n#é")
        assert decode(encode({"V": value})) == {"V": value}


def test_the_longest_value_survives() -> None:
    value = "\\$" * (MAX_VALUE_BYTES // 2)
    assert decode(encode({"V": value})) == {"V": value}


def test_one_variable_is_one_line_whatever_is_in_it() -> None:
    data = encode({"A": "1\n2\r\n3", "B": "x"})
    assert data.count(b"\n") == 2
    assert b"\r" not in data


def test_names_keep_their_order_so_that_equal_settings_are_equal_bytes() -> None:
    assert encode({"B": "1", "A": "2"}) == b'B="1"\nA="2"\n'


def test_nothing_to_say_is_an_empty_file() -> None:
    assert encode({}) == b""


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A\n", "é", "A.B"])
def test_a_name_no_shell_would_take_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        encode({name: "x"})


@pytest.mark.parametrize(
    ("value", "reason"),
    [("hid\0den", "NUL"), ("hid\ud800den", "Unicode"), ("hidden" * MAX_VALUE_BYTES, "longer than")],
)
def test_what_no_environment_can_hold_is_refused_without_showing_it(value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        encode({"NAME": value})
    assert "NAME" in str(caught.value)
    assert "hid" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("spelling", ['"\\\\x"', '"a$b"', '"a\\nb"', '"${V}"'])
def test_the_reference_decoder_is_not_the_identity(spelling: str) -> None:
    assert decode(f"V={spelling}\n".encode())["V"] != spelling.strip('"')
