"""Reading a settings file: what is taken, what is refused, and which line is blamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.settings.file import MOST_PROBLEMS, UnreadableFile, parse, read

BOM = b"\xef\xbb\xbf"


def value_of(text: str) -> str:
    parsed = parse(text)
    assert parsed.problems == []
    return parsed.entries["REDIS_PASSWORD"].value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        ("a#b", "a#b"),
        ("a$b${HOME}$$", "a$b${HOME}$$"),
        ("a=b=c", "a=b=c"),
        ("back\\slash\\n", "back\\slash\\n"),
        ("  spaces around  ", "spaces around"),
        ("'a # b'", "a # b"),
        ("'$HOME ${SITE_DOMAIN}'", "$HOME ${SITE_DOMAIN}"),
        ("' kept '", " kept "),
        ("'it\\'s'", "it's"),
        ("'C:\\dir\\\\x'", "C:\\dir\\x"),
        ('"say \\"hi\\""', 'say "hi"'),
        ('"two\\nlines"', "two\nlines"),
        ("'two\nlines'", "two\nlines"),
        ("'é€😀'", "é€😀"),
        ("'x' # a comment", "x"),
        ("", ""),
        ("# only a comment", "# only a comment"),
        (" # only a comment", ""),
    ],
)
def test_a_value_is_taken_as_it_stands(written: str, value: str) -> None:
    assert value_of(f"REDIS_PASSWORD={written}\n") == value


def test_the_line_of_an_entry_is_where_its_name_stands() -> None:
    parsed = parse("\n# comment\n\n\nAPP_NAME=shop\nREDIS_PASSWORD='two\nlines'\n\nPOSTGRES_DB=shop\n")
    assert {name: entry.line for name, entry in parsed.entries.items()} == {
        "APP_NAME": 5,
        "REDIS_PASSWORD": 6,
        "POSTGRES_DB": 9,
    }


def test_export_in_front_of_a_name_is_accepted() -> None:
    assert parse("export APP_NAME=shop").entries["APP_NAME"].value == "shop"


def test_variables_for_the_containers_may_have_any_name() -> None:
    assert list(parse("BACKEND_ENV_a1=x\nFRONTEND_ENV__B=y\n").entries) == ["BACKEND_ENV_a1", "FRONTEND_ENV__B"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\n\nAPP_NAME='shop\n", "f:3: APP_NAME: cannot be read: a quote that is not closed"),
        ("APP_NAME='shop'x\n", "f:1: APP_NAME: cannot be read: a quote that is not closed, or text after the closing"),
        ("a b c\n", "f:1: cannot be read"),
        ("# x\nAPP_NAME\n", "f:2: APP_NAME: no = after the name"),
        ("fragmentOfAKey\n", "f:1: no = after the name"),
        ("APP_NAME=a\n\nAPP_NAME=b\n", "f:3: APP_NAME: is already set on line 1"),
        ("APP_NAM=a\n", "f:1: APP_NAM: is not a setting; did you mean APP_NAME?"),
        ("app_name=a\n", "f:1: is not a setting; did you mean APP_NAME?"),
        ("FAVOURITE_COLOUR=a\n", "f:1: FAVOURITE_COLOUR: is not a setting"),
        ("BACKEND_ENV_=a\n", "f:1: is not a setting"),
        ("BACKEND_ENV_A-B=a\n", "f:1: is not a setting"),
        ("REDIS_PASSWORD=abc #def\n", "f:1: REDIS_PASSWORD: has a # after a space"),
        ("BACKEND_ENV_X=abc\t#def\n", "f:1: BACKEND_ENV_X: has a # after a space"),
        ("APP_NAME=a\0b\n", "f:1: APP_NAME: contains a NUL byte"),
        ("APP_NAME='a\nPOSTGRES_DB='\n", "f:1: APP_NAME: a quote that is not closed here swallows POSTGRES_DB"),
    ],
)
def test_what_is_not_one_well_formed_known_assignment_is_a_problem(text: str, problem: str) -> None:
    assert parse(text).problems[0].at("f").startswith(problem)


def test_a_comment_behind_a_harmless_value_is_fine() -> None:
    parsed = parse("APP_NAME=shop # the name\nREDIS_PASSWORD='a=b #c' # quoted\n")
    assert parsed.problems == []
    assert parsed.entries["APP_NAME"].value == "shop"
    assert parsed.entries["REDIS_PASSWORD"].value == "a=b #c"


def test_the_first_of_two_values_is_kept_so_that_later_checks_speak_of_one_line() -> None:
    assert parse("APP_NAME=a\nAPP_NAME=b\n").entries["APP_NAME"].value == "a"


def test_names_that_a_stray_quote_hides_are_remembered() -> None:
    assert parse("APP_NAME='shop\nSITE_DOMAIN=x\nPOSTGRES_DB='y'\n").damaged >= {"SITE_DOMAIN", "POSTGRES_DB"}


def test_the_parser_goes_on_after_a_line_it_cannot_read() -> None:
    parsed = parse("a b c\nAPP_NAME=shop\n")
    assert parsed.entries["APP_NAME"].line == 2


def test_another_file_given_by_mistake_is_not_explained_line_by_line() -> None:
    problems = parse("nonsense=1\n" * 5000).problems
    assert len(problems) == MOST_PROBLEMS + 1
    assert "is it a settings file?" in problems[-1].text


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", BOM])
def test_windows_line_ends_and_a_byte_order_mark_do_not_reach_the_values(
    tmp_path: Path, end: str, start: bytes
) -> None:
    path = tmp_path / "f"
    path.write_bytes(start + f"APP_NAME=shop{end}{end}REDIS_PASSWORD='two{end}lines'{end}".encode())
    parsed = parse(read(path)[0])
    assert parsed.problems == []
    assert [(e.value, e.line) for e in parsed.entries.values()] == [("shop", 1), ("two\nlines", 3)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"A=1\nB=\xff\xfe\n", "is not UTF-8 text, see line 2"),
        (b"#" * ((1 << 20) + 1), "bigger than 1 MiB"),
        (b"#\n" * 10_001, "10000 lines"),
    ],
)
def test_what_is_no_text_of_a_sane_size_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=reason) as caught:
        read(path)
    assert caught.value.__cause__ is None


def test_a_missing_file_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="does not exist"):
        read(tmp_path / "none")
    with pytest.raises(UnreadableFile, match="is a directory"):
        read(tmp_path)


def test_something_endless_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="is not a file"):
        read(Path("/dev/zero"))


def test_the_permission_bits_come_with_the_text(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("APP_NAME=a")
    path.chmod(0o640)
    assert read(path) == ("APP_NAME=a", 0o640)
