from __future__ import annotations

from pathlib import Path

import pytest
from host_world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(tmp_path / "world")
    monkeypatch.setenv("PATH", found.environment()["PATH"])
    return found
