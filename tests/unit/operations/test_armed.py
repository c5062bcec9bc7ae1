"""A change that could shut us out: what is said when the confirmation does not come through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.core.errors import ConnectionLost, HostFailed
from tasks.model.provision.step import Step
from tasks.operations import armed

STEP = Step("firewall", "closed", "true", undo="true")


def perform(monkeypatch: pytest.MonkeyPatch, *, reverted: bool) -> str:
    """What is said when every confirmation ends in a lost connection, and the host then answers to `revert` so."""

    def ask(s: Any, app: str, word: str) -> Any:
        if word == "confirm":
            raise ConnectionLost("the connection broke off", host="vps")
        return {"reverted": reverted}

    @contextmanager
    def anew(s: Any, login: str) -> Iterator[Any]:
        yield s

    monkeypatch.setattr(armed, "_PAUSE", 0)
    monkeypatch.setattr(armed, "_anew", anew)
    monkeypatch.setattr(armed.hostprogram, "ask", ask)
    monkeypatch.setattr(armed.events, "follow", lambda *_, **__: {})
    host: Any = SimpleNamespace(name="vps", user="admin", target=SimpleNamespace(environment=""))
    with pytest.raises(HostFailed) as caught:
        armed.perform(host, "shop", STEP, seconds=60, wait=0)
    return caught.value.one_line()


def test_a_change_that_was_undone_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "so it was undone: everything is as before" in perform(monkeypatch, reverted=True)


def test_it_is_not_said_to_be_undone_when_the_host_had_nothing_to_undo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The confirmation may have arrived, and its answer been lost: then the change holds."""
    said = perform(monkeypatch, reverted=False)
    assert "everything is as before" not in said
    assert "the change was confirmed, or undone in time" in said
