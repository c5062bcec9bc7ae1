"""The example file and the reference page are what the schema says they are."""

from __future__ import annotations

import stat
from pathlib import Path

from tasks.core.project import ROOT
from tasks.core.settings.file import parse
from tasks.core.settings.reference import EXAMPLE, REFERENCE, WIDTH, example, reference, write
from tasks.core.settings.schema import SCHEMA


def test_the_example_file_is_current() -> None:
    assert (ROOT / EXAMPLE).read_text() == example(), "run python -m tasks.core.settings.reference"


def test_the_reference_page_is_current() -> None:
    assert (ROOT / REFERENCE).read_text() == reference(), "run python -m tasks.core.settings.reference"


def test_the_example_parses_and_documents_every_setting_once_in_the_order_of_the_schema() -> None:
    parsed = parse(example())
    assert parsed.problems == []
    assert list(parsed.entries) == [setting.name for setting in SCHEMA]


def test_each_setting_has_its_explanation_right_above_it() -> None:
    lines = example().splitlines()
    for name, entry in parse(example()).entries.items():
        assert lines[entry.line - 2].startswith("# "), name


def test_what_has_a_default_shows_it_in_the_example() -> None:
    entries = parse(example()).entries
    assert all(entries[s.name].value == s.default for s in SCHEMA if s.default)


def test_the_example_holds_no_secret_and_no_long_line() -> None:
    entries = parse(example()).entries
    assert {entries[s.name].value for s in SCHEMA if s.secret} == {"CHANGE_ME", ""}
    assert max(len(line) for line in example().splitlines() if line.startswith("#")) <= WIDTH


def test_the_example_may_be_read_by_anyone() -> None:
    assert stat.S_IMODE((ROOT / EXAMPLE).stat().st_mode) & 0o444 == 0o444


def test_every_setting_has_a_row_of_four_cells_in_the_reference() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    for setting in SCHEMA:
        row = next(row for row in rows if row.startswith(f"| `{setting.name}` "))
        assert row.replace("\\|", "").count("|") == 5


def test_writing_makes_both_files(tmp_path: Path) -> None:
    write(tmp_path)
    assert (tmp_path / EXAMPLE).read_text() == example()
    assert (tmp_path / REFERENCE).read_text() == reference()
