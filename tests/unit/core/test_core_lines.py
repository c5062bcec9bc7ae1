"""Bytes become lines across chunk borders."""

import pytest

from tasks.core.lines import LineSplitter


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_lines_are_whole_whatever_the_chunks(step: int) -> None:
    seen: list[str] = []
    splitter = LineSplitter(seen.append)
    data = "é one\r\ntwo\n\n€ three".encode()
    for start in range(0, len(data), step):
        splitter.feed(data[start : start + step])
    splitter.finish()
    assert seen == ["é one", "two", "", "€ three"]


def test_bytes_that_are_no_text_do_not_raise() -> None:
    seen: list[str] = []
    splitter = LineSplitter(seen.append)
    splitter.feed(b"a\xff\n\xe2")
    splitter.finish()
    assert seen == ["a\ufffd", "\ufffd"]


def test_no_line_is_made_of_nothing() -> None:
    seen: list[str] = []
    LineSplitter(seen.append).finish()
    assert seen == []
