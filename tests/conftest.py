"""No test reads the developer's environment: not the home directory, not the agent, not exported settings."""

import os
from pathlib import Path

import pytest

_FOREIGN = ("SSH_AUTH_SOCK", "INFRA_ENV", "NO_COLOR", "FORCE_COLOR")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name in _FOREIGN or name.startswith(("FABRIC_", "INVOKE_")):
            monkeypatch.delenv(name)
