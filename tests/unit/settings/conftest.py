"""A private settings file, and an environment from which nothing may be taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from settings_samples import GOOD, WriteSettings, WriteText, single_quoted


@pytest.fixture
def write_text(tmp_path: Path) -> WriteText:
    """Write a private settings file with exactly this content."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / ".env"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def write_settings(write_text: WriteText) -> WriteSettings:
    """Write the good settings with changes, each value quoted; a change to None leaves the line out."""

    def write(changes: dict[str, str | None] | None = None, /, **more: str | None) -> Path:
        settings = {**GOOD, **(changes or {}), **more}
        lines = [f"{name}={single_quoted(value)}" for name, value in settings.items() if value is not None]
        return write_text("\n".join(lines) + "\n")

    return write


@pytest.fixture(autouse=True)
def hostile_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may come from the environment, least of all what has the name of a setting."""
    for name in GOOD:
        monkeypatch.setenv(name, "from-the-environment")
    monkeypatch.delenv("INFRA_ENV", raising=False)
    assert os.environ["SITE_DOMAIN"] == "from-the-environment"
