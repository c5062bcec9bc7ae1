"""The exit codes that are documented are the ones there are."""

from __future__ import annotations

import re

from tasks.core.errors import ExitStatus
from tasks.core.project import ROOT


def test_every_exit_code_is_documented_with_its_number() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = {name: int(number) for number, name in re.findall(r"^\| (\d+) \| ([A-Z_]+) \| .+ \|$", text, re.MULTILINE)}
    assert rows == {status.name: int(status) for status in ExitStatus}
