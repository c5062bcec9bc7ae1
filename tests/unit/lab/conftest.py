import pytest


@pytest.fixture(autouse=True)
def _no_mirror_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables are looked at as they are where nothing is known about this machine's packages."""
    monkeypatch.setenv("LAB_BASE", "registry")
