"""Going back: to which release, what is warned of, and what is asked of the host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fake_plan import plan
from fake_session import FakeHost

from tasks.core.errors import Locked, Refused
from tasks.operations import prepare, rollback
from tasks.operations.prepare import Options, Prepared

A, B, C = (f"2026010{n}T000000Z-1.{n}.0" for n in (1, 2, 3))


@pytest.fixture
def status() -> dict[str, Any]:
    return {
        "release": C,
        "releases": [A, B, C],
        "results": {
            A: {"result": "healthy"},
            B: {"result": "healthy"},
            C: {"result": "healthy"},
        },
        "busy": None,
    }


@pytest.fixture
def host(status: dict[str, Any], chosen: Any, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A host with these releases; planning and carrying out are noted and not done."""
    host = FakeHost()
    facts = SimpleNamespace(status=status)
    monkeypatch.setattr(rollback.settings, "load", lambda path: chosen)
    monkeypatch.setattr(rollback, "ready", lambda s, settings: facts)
    monkeypatch.setattr(prepare.plan, "describe", lambda plan, host: "the plan")

    def prepare_(s: Any, settings: Any, found: Any, target: str, options: Options) -> Prepared:
        host.done.append(("prepare", target))
        return Prepared("rollback", chosen, {"release": target}, found, b"", plan(previous=C))

    monkeypatch.setattr(rollback, "_prepare", prepare_)
    monkeypatch.setattr(
        rollback.transaction,
        "carry_out",
        lambda s, prepared, options, push: host.done.append(("carry out", prepared.release)),
    )
    return host


def go(host: FakeHost, wanted: str = "", **options: Any) -> Any:
    return rollback.rollback(host, wanted, Options(**options))  # type: ignore[arg-type]


def test_the_last_good_one_is_gone_back_to(host: FakeHost) -> None:
    go(host)
    assert host.done == [("prepare", B), ("carry out", B)]


def test_a_named_one_is_gone_back_to(host: FakeHost) -> None:
    go(host, "1.1.0")
    assert host.done == [("prepare", A), ("carry out", A)]


def test_the_current_release_is_nothing_to_do(host: FakeHost) -> None:
    assert go(host, C).text == f"vps: nothing to do, release {C} serves"
    assert host.done == []


def test_no_is_an_answer(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.out, "confirm", lambda question: False)
    with pytest.raises(Refused, match="not confirmed"):
        go(host)
    assert host.done == [("prepare", B)]


def test_a_busy_host_is_refused(host: FakeHost, status: dict[str, Any]) -> None:
    status["busy"] = {"what": "deploy of r9", "who": "bob@desk"}
    with pytest.raises(Locked, match="deploy of r9 by bob@desk"):
        go(host)


def test_only_the_files_that_may_be_seen_are_fetched_for_the_differences(
    host: FakeHost, status: dict[str, Any], chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    described = {"release": B, "files": {"a": {"secret": False}, "s": {"secret": True}}}
    asked: list[Any] = []
    monkeypatch.setattr(rollback.hostprogram, "manifest", lambda s, app, release: described)
    monkeypatch.setattr(rollback.planning, "files_to_compare", lambda manifest, status: ["a", "s", "live/a", "gone"])
    monkeypatch.setattr(
        rollback.hostprogram, "files", lambda s, app, release, paths: asked.append((release, paths)) or {"a": b"x"}
    )
    monkeypatch.setattr(rollback, "compute", lambda *_, **more: plan(**more))
    facts: Any = SimpleNamespace(status=status)
    made = rollback._prepare(host, chosen, facts, B, Options(accept=("drift",)))  # type: ignore[arg-type]
    assert asked == [(B, ["a"])]
    assert made.kind == "rollback"
    assert made.plan.new == {"a": b"x"}  # type: ignore[attr-defined]
    assert made.plan.accepted == ("drift",)  # type: ignore[attr-defined]
