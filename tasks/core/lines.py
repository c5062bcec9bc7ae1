"""Bytes to lines, across chunk borders."""

import codecs
from collections.abc import Callable


class LineSplitter:
    """Feed it chunks; it calls back with each whole line as UTF-8 text, without the newline."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""

    def feed(self, data: bytes) -> None:
        """Take a chunk, which may end in the middle of a character."""
        *whole, self._pending = (self._pending + self._decoder.decode(data)).split("\n")
        for line in whole:
            self._on_line(line.removesuffix("\r"))

    def finish(self) -> None:
        """Hand over a last line that has no newline."""
        rest = self._pending + self._decoder.decode(b"", True)
        self._pending = ""
        if rest:
            self._on_line(rest)
