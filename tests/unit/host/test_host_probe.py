"""Requests all through a switch: what is counted, and when the site is taken to answer."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from host import probe
from host.errors import Failure
from host.events import Journal
from host.probe import Probe


def probing(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], str], *paths: str) -> Probe:
    monkeypatch.setattr(probe, "_PACE", 0.001)
    monkeypatch.setattr(probe, "_PATIENCE", 0.3)
    made = Probe("192.0.2.1", "shop.test", paths)
    monkeypatch.setattr(made, "_ask", answer)
    return made


def satisfied(watching: Probe) -> None:
    with Journal().step("probe", "asking") as step:
        watching.satisfied(step)


def test_a_site_that_answers_is_content_with_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with probing(monkeypatch, lambda path: "", "/", "/health") as watching:
        satisfied(watching)
        tally = watching.tally()
    assert tally.requests >= 6
    assert (tally.failed, tally.first_failure) == (0, "")
    assert set(tally.public()) == {"requests", "failed", "slowest_ms", "first_failure"}


def test_a_path_that_never_answers_well_is_named_with_what_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        probing(monkeypatch, lambda path: "status 502" if path == "/health" else "", "/", "/health") as watching,
        pytest.raises(Failure, match=r"/health is not answered well: status 502"),
    ):
        satisfied(watching)


def test_answers_from_before_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"wrong": ""}
    with probing(monkeypatch, lambda path: now["wrong"], "/") as watching:
        time.sleep(0.05)
        now["wrong"] = "connection refused"
        with pytest.raises(Failure, match="refused"):
            satisfied(watching)


def test_the_first_failure_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["", "status 502", "timed out", *[""] * 100000])
    with probing(monkeypatch, lambda path: next(said), "/") as watching:
        satisfied(watching)
        tally = watching.tally()
    assert (tally.failed, tally.first_failure) == (2, "/: status 502")


def test_without_anything_to_ask_nothing_is_asked() -> None:
    with Probe("", "", []) as watching:
        assert not watching.active
    assert watching.tally().requests == 0


def test_nobody_there_is_a_failure_and_no_exception() -> None:
    assert Probe("127.0.0.254", "shop.test", ["/"])._ask("/") != ""
