"""Several hosts: all at once, or in batches that stop at the first failure."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import ExitStatus, Unhealthy, Unreachable, UsageError
from tasks.core.fleet import Fleet, run_everywhere
from tasks.core.login import Credentials
from tasks.core.output import Console
from tasks.core.reporting import show
from tasks.core.session import Session
from tasks.core.sshconfig import hop_from_settings
from tasks.core.target import Target
from tasks.core.task import Report, host_task


def fleet(*names: str) -> Fleet:
    targets = [Target(name, hop_from_settings(name, {}), (), Path(".env"), Path("known")) for name in names]
    return Fleet(targets, Console(stdout=io.StringIO(), stderr=io.StringIO()), Credentials())


class Rollout:
    """A task that notes who was worked on together, and fails on some hosts."""

    def __init__(self, *bad: str) -> None:
        self.bad, self.order = bad, list[str]()
        self.running, self.together = set[str](), list[set[str]]()
        self.lock = threading.Lock()
        self.task = host_task(serving=self.serving)(self.body)

    def body(self, s: Session) -> Report:
        """Deploy."""
        with self.lock:
            self.running.add(s.name)
            self.order.append(s.name)
        threading.Event().wait(0.05)
        with self.lock:
            self.together.append(set(self.running))
            self.running.discard(s.name)
        if s.name in self.bad:
            raise Unhealthy("not well", host=s.name)
        return Report({"done": s.name}, "fine")

    def serving(self, s: Session) -> str:
        if s.name == "gone":
            raise Unreachable("nobody answers", host="gone")
        return f"release of {s.name} serves"


def test_without_a_number_all_hosts_are_worked_on_at_once_and_nobody_is_asked_afterwards() -> None:
    rollout = Rollout("b")
    endings = run_everywhere(rollout.task, {}, fleet("a", "b", "c"))
    assert {"a", "b", "c"} in rollout.together
    assert [ending.serving for ending in endings] == ["", "", ""]


def test_batches_go_in_the_given_order_one_after_the_other() -> None:
    rollout = Rollout()
    endings = run_everywhere(rollout.task, {}, fleet("d", "c", "b", "a", "e"), at_once=2)
    assert [set(rollout.order[i : i + 2]) for i in (0, 2, 4)] == [{"d", "c"}, {"b", "a"}, {"e"}]
    assert all(len(group) <= 2 for group in rollout.together)
    assert [ending.host for ending in endings] == ["d", "c", "b", "a", "e"]
    assert all(ending.status == ExitStatus.OK and not ending.serving for ending in endings)


def test_the_first_failure_stops_the_rollout_and_every_host_is_asked_what_runs_there() -> None:
    rollout = Rollout("b")
    endings = run_everywhere(rollout.task, {}, fleet("a", "b", "c", "gone"), at_once=1)
    assert rollout.order == ["a", "b"]
    out, err = io.StringIO(), io.StringIO()
    status = show(endings, Console(stdout=out, stderr=err))
    assert status is ExitStatus.UNHEALTHY
    assert err.getvalue().splitlines() == [
        "[b] error: not well",
        "1 of 4 hosts failed: b (exit 9)",
        "  a (done): release of a serves",
        "  b (failed): release of b serves",
        "  c (not begun): release of c serves",
        "  gone (not begun): cannot be asked: nobody answers",
    ]
    out = io.StringIO()
    show(endings, Console(stdout=out, stderr=io.StringIO()), as_json=True)
    document: dict[str, Any] = json.loads(out.getvalue())
    assert document["c"] == {"begun": False, "serving": "release of c serves"}
    assert document["b"]["serving"] == "release of b serves"


def test_of_a_batch_all_are_brought_to_their_end_before_it_stops() -> None:
    rollout = Rollout("a")
    endings = run_everywhere(rollout.task, {}, fleet("a", "b", "c"), at_once=2)
    assert sorted(rollout.order) == ["a", "b"]
    assert [ending.begun for ending in endings] == [True, True, False]


def test_a_batch_larger_than_the_fleet_is_the_fleet_and_less_than_none_is_refused() -> None:
    assert len(run_everywhere(Rollout().task, {}, fleet("a", "b"), at_once=9)) == 2
    with pytest.raises(UsageError, match="--rolling 1"):
        run_everywhere(Rollout().task, {}, fleet("a", "b"), at_once=-1)


def test_only_a_task_that_can_say_what_runs_has_the_flag() -> None:
    assert "rolling" in {argument.name for argument in Rollout().task.get_arguments()}
    plain = host_task()(lambda s: None)
    assert "rolling" not in {argument.name for argument in plain.get_arguments()}
