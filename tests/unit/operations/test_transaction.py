"""Carrying out what was agreed to: the order of things, what is told to whom, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_session import FakeHost

from tasks.core.errors import ConnectionLost, ExitStatus, HostFailed, Refused, Unhealthy
from tasks.core.session import Result
from tasks.model.health import Check
from tasks.operations import outside, transaction
from tasks.operations.prepare import Options, Prepared

SWITCH = {"requests": 412, "failed": 0, "slowest_ms": 84}
APPLIED = {
    "event": "done",
    "data": {"status": 0, "release": "r2", "serving": "r2", "previous": "r1", "switch": SWITCH},
}
SITE, GRAFANA = "https /", "https grafana"


def failed(status: int, cause: str) -> dict[str, Any]:
    return {"event": "failed", "data": {"status": status, "cause": cause}}


class World:
    """A prepared change, a host, a site whose answers are scripted, and hooks that write down what they see."""

    def __init__(self, root: Path, chosen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.host = FakeHost(apply=APPLIED)
        self.views: Iterator[list[str]] = iter(())
        plan = SimpleNamespace(
            id="aaaaaa-bbbbbb", previous="r1", migration=None, to_json=lambda: {"id": "aaaaaa-bbbbbb"}
        )
        manifest = {"release": "r2", "version": "2.0", "revision": "abc"}
        facts: Any = SimpleNamespace(status={})
        self.prepared = Prepared("deploy", chosen, manifest, facts, b"", plan)  # type: ignore[arg-type]
        monkeypatch.setattr(transaction, "project_root", lambda: root)
        monkeypatch.setattr(transaction.health, "outside", lambda s, settings, closed: self._look())
        monkeypatch.setattr(outside, "SETTLE", -1.0)

    def _look(self) -> list[Check]:
        ill = next(self.views)
        self.host.done.append(("look",))
        return [Check(name, name not in ill, "502" if name in ill else "200") for name in (SITE, GRAFANA)]

    def seen(self, *views: list[str]) -> None:
        """What is ill each time somebody looks."""
        self.views = iter(views)

    def hook(self, name: str, script: str = "") -> None:
        (self.root / "hooks").mkdir(exist_ok=True)
        path = self.root / "hooks" / name
        path.write_text(f"#!/bin/sh\nenv | grep ^INFRA_ | sort > hooks/{name}.env\n{script}\n")
        path.chmod(0o755)

    def told(self, name: str) -> dict[str, str]:
        path = self.root / "hooks" / f"{name}.env"
        return dict(line.split("=", 1) for line in path.read_text().splitlines()) if path.exists() else {}

    def carry_out(self, push: Callable[[], None] | None = None, **options: Any) -> Any:
        steps = push or (lambda: self.host.done.append(("push",)))
        return transaction.carry_out(self.host, self.prepared, Options(**options), steps)  # type: ignore[arg-type]

    @property
    def order(self) -> list[str]:
        return [words[0] for words in self.host.done]


@pytest.fixture
def world(tmp_path: Path, chosen: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, chosen, monkeypatch)


def test_the_site_is_looked_at_before_the_push_and_after_the_apply(world: World) -> None:
    world.seen([], [])
    report = world.carry_out(wait=30)
    assert world.order == ["look", "push", "apply", "look"]
    (words,) = world.host.words("apply")
    assert words[:2] == ("apply", "r2")
    assert words[4:] == ("--wait", "30", "--kind", "deploy", "--plan", "aaaaaa-bbbbbb", "--after", "r1")
    assert report.status is ExitStatus.OK
    assert report.text == "vps: release r2 serves https://cv.site.test"
    assert report.data["switch"] == SWITCH
    assert "412 requests during the switch, 0 failed, slowest 84 ms" in world.host.shown.getvalue()


def test_hooks_are_told_the_facts_around_it(world: World) -> None:
    for name in ("pre-deploy", "post-deploy", "failed"):
        world.hook(name)
    world.seen([], [])
    world.carry_out()
    expected = {
        "INFRA_COMMAND": "deploy", "INFRA_HOST": "vps", "INFRA_ADDRESS": "203.0.113.10", "INFRA_APP": "maicivy",
        "INFRA_ENVIRONMENT": "", "INFRA_VERSION": "2.0", "INFRA_RELEASE": "r2", "INFRA_PREVIOUS": "r1",
        "INFRA_PLAN": "aaaaaa-bbbbbb", "INFRA_REVISION": "abc", "INFRA_DOMAIN": "cv.site.test",
    }  # fmt: skip
    for name in ("pre-deploy", "post-deploy"):
        assert world.told(name) | expected == world.told(name)
        assert world.told(name)["INFRA_BY"]
    assert world.told("failed") == {}


def test_a_hook_that_declines_leaves_the_host_untouched_and_nothing_has_failed(world: World) -> None:
    world.hook("pre-deploy", "exit 1")
    world.hook("failed")
    with pytest.raises(Refused, match="pre-deploy"):
        world.carry_out()
    assert (world.order, world.told("failed")) == ([], {})


@pytest.mark.parametrize(
    ("answer", "error", "status"),
    [
        (failed(9, "backend is not healthy"), Unhealthy, 9),
        (failed(12, "no space left"), HostFailed, 12),
        (ConnectionLost("the line broke", host="vps"), ConnectionLost, 6),
    ],
)
def test_a_failure_on_the_host_is_told_to_the_hook_with_its_cause(
    world: World, answer: Any, error: type[Exception], status: int
) -> None:
    for name in ("post-deploy", "failed"):
        world.hook(name)
    world.host.answers["apply"] = answer
    world.seen([])
    with pytest.raises(error):
        world.carry_out()
    assert (world.told("failed")["INFRA_STATUS"], world.told("post-deploy")) == (str(status), {})
    assert world.told("failed")["INFRA_CAUSE"]


def test_a_push_that_fails_is_a_failure_too(world: World) -> None:
    def broken() -> None:
        raise HostFailed("no space left", host="vps")

    world.hook("failed")
    world.seen([])
    with pytest.raises(HostFailed):
        world.carry_out(broken)
    assert world.told("failed")["INFRA_CAUSE"] == "no space left"


def test_a_site_that_is_worse_than_before_is_rolled_back_by_the_host(world: World) -> None:
    world.hook("failed")
    world.seen([], [SITE], [])
    report = world.carry_out()
    first, second = world.host.words("apply")
    assert (first[1], second[1]) == ("r2", "r1")
    assert second[second.index("--kind") + 1] == "rollback"
    assert report.status is ExitStatus.UNHEALTHY
    assert report.data["rolled_back"] is True
    last = world.host.errors.getvalue().splitlines()[-1]
    assert last == (
        "error: [vps] well before release r2 and not any more: https /: 502; release r1 serves again. "
        "Next: fab health -H vps"
    )
    assert "release r1 serves again" in world.told("failed")["INFRA_CAUSE"]


def test_a_site_that_is_no_better_after_the_rollback_is_said_to_be_so(world: World) -> None:
    world.seen([], [SITE], [SITE])
    world.carry_out()
    assert "release r1 serves again, but it is not well either: https /: 502" in world.host.errors.getvalue()


def test_a_rollback_that_fails_as_well_is_said(world: World) -> None:
    world.host.answers["apply"] = lambda words: APPLIED if words[1] == "r2" else failed(12, "r1 is damaged")
    world.seen([], [SITE])
    report = world.carry_out()
    assert (report.status, report.data["rolled_back"]) == (ExitStatus.UNHEALTHY, False)
    assert "rolling back to r1 failed: r1 is damaged" in world.host.errors.getvalue()


def test_a_migration_that_has_run_is_mentioned_when_going_back(world: World) -> None:
    world.prepared.plan.migration = {"command": ["m"], "backup": True}  # type: ignore[misc]
    world.seen([], [SITE], [])
    world.carry_out()
    assert "the migration of r2 stays" in world.host.errors.getvalue()


def test_what_was_ill_before_is_no_reason_to_go_back(world: World) -> None:
    world.seen([GRAFANA], [GRAFANA])
    report = world.carry_out()
    assert (report.status, report.data["rolled_back"]) == (ExitStatus.UNHEALTHY, False)
    assert len(world.host.words("apply")) == 1
    assert "it was not well before either" in world.host.errors.getvalue()


def test_a_first_deploy_has_nothing_to_compare_with_and_nothing_to_go_back_to(world: World) -> None:
    world.prepared.plan.previous = None  # type: ignore[misc]
    world.host.answers["apply"] = {"event": "done", "data": {"status": 0, "previous": None, "switch": None}}
    world.seen([SITE])
    report = world.carry_out()
    assert world.order == ["push", "apply", "look"]
    assert report.status is ExitStatus.UNHEALTHY
    assert "nothing to compare with" in world.host.errors.getvalue()


def test_a_rollback_is_not_rolled_back(world: World, chosen: Any) -> None:
    old = world.prepared
    world.prepared = Prepared("rollback", chosen, old.manifest, old.facts, b"", old.plan)
    world.hook("pre-deploy")
    world.seen([], [SITE])
    report = world.carry_out()
    assert len(world.host.words("apply")) == 1
    assert world.host.words("apply")[0][6:] == ("--kind", "rollback", "--plan", "aaaaaa-bbbbbb", "--after", "r1")
    assert report.status is ExitStatus.UNHEALTHY
    assert world.told("pre-deploy")["INFRA_COMMAND"] == "rollback"


def test_the_site_is_given_time_to_show_the_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "SETTLE", 20.0)
    monkeypatch.setattr(outside.time, "sleep", lambda seconds: None)
    world.seen([], [SITE], [SITE], [])
    assert world.carry_out().status is ExitStatus.OK


def test_hooks_can_be_skipped(world: World) -> None:
    world.hook("pre-deploy", "exit 1")
    world.seen([], [])
    assert world.carry_out(skip_hooks=True).status is ExitStatus.OK


def test_the_report_is_a_document(world: World) -> None:
    world.seen([], [SITE], [])
    document = json.loads(json.dumps(world.carry_out().data))
    assert document["release"] == "r2"
    assert [check["ok"] for check in document["checks"]] == [False, True]
    assert [check["ok"] for check in document["checks_before"]] == [True, True]


def test_an_end_without_a_word_is_a_failure(world: World) -> None:
    world.host.answers["apply"] = Result(1, b"", "Killed\n")
    world.seen([])
    with pytest.raises(HostFailed, match="ended without a result: Killed"):
        world.carry_out()
