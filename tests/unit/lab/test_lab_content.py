from pathlib import Path

import pytest

from tests.lab.content import digest


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "sub" / "start").write_text("#!/bin/sh\n")
    return tmp_path


def of(context: Path, **arguments: str) -> str:
    return digest(context, arguments, ["parent"])


def test_the_same_content_has_the_same_digest_whatever_its_times_are(context: Path) -> None:
    before = of(context)
    (context / "Dockerfile").touch()
    assert of(context) == before


def test_bytes_names_the_executable_bit_arguments_and_parents_all_count(context: Path) -> None:
    seen = {of(context)}
    (context / "Dockerfile").write_text("FROM y\n")
    seen.add(of(context))
    (context / "sub" / "start").chmod(0o755)
    seen.add(of(context))
    (context / "sub" / "start").rename(context / "sub" / "begin")
    seen.add(of(context))
    seen.add(of(context, VERSION="1"))
    seen.add(of(context, VERSION="2"))
    seen.add(digest(context, {"VERSION": "2"}, ["another parent"]))
    assert len(seen) == 7


@pytest.mark.parametrize("rubbish", ["__pycache__", "node_modules", ".next"])
def test_what_tools_leave_behind_does_not_count(context: Path, rubbish: str) -> None:
    before = of(context)
    (context / "sub" / rubbish).mkdir()
    (context / "sub" / rubbish / "x").write_text("x")
    assert of(context) == before


def test_moving_bytes_from_one_file_to_the_next_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("12")
    (tmp_path / "b").write_text("3")
    before = of(tmp_path)
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("23")
    assert of(tmp_path) != before
