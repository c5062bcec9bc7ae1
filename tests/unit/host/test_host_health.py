"""When a service counts as well, when there is no use in waiting, and which line of a log names the cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from host.compose import Container
from host.health import Verdict, Watch, cause_line, judge, of_service
from host.manifest import Service

WELL = Container("web", "app-web-1", "web:1", "running", "healthy", 0, 0, False, "2026-11-22T10:00:00Z", "c1")
SERVICE = Service("web:1", "", (), (), (), (), healthcheck=True)
BARE = replace(SERVICE, healthcheck=False)


def verdict(container: Container | None, service: Service = SERVICE, fresh: bool = True, now: float = 0) -> Verdict:
    return judge(container, service, Watch(frozenset({"c1"} if fresh else ())), now, 3.0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Verdict("ok")),
        ({"health": "starting"}, Verdict("wait", "starting")),
        ({"health": ""}, Verdict("wait", "has no healthcheck")),
        (
            {"health": "unhealthy", "probe": "connection\nrefused"},
            Verdict("failed", "is unhealthy (connection refused)"),
        ),
        ({"state": "exited", "exit_code": 3}, Verdict("failed", "exited with status 3")),
        ({"state": "exited", "error": "no such file: /app"}, Verdict("failed", "no such file: /app")),
        ({"state": "restarting", "restarts": 1}, Verdict("wait", "restarting")),
        ({"state": "created"}, Verdict("wait", "created")),
        ({"restarts": 3, "exit_code": 1}, Verdict("failed", "keeps dying: 3 restarts, exit status 1")),
        (
            {"restarts": 4, "exit_code": 137},
            Verdict("failed", "keeps dying: 4 restarts, exit status 137 (killed for using too much memory)"),
        ),
    ],
)
def test_the_verdict_on_a_container(change: dict[str, object], expected: Verdict) -> None:
    assert verdict(replace(WELL, **change)) == expected  # type: ignore[arg-type]


def test_a_service_without_container_is_waited_for() -> None:
    assert verdict(None) == Verdict("wait", "has no container")


def test_without_healthcheck_a_new_container_has_to_stay_up_for_a_while() -> None:
    watch, bare = Watch(frozenset({"c1"})), replace(WELL, health="")
    assert judge(bare, BARE, watch, 10.0, 3.0).state == "wait"
    again = replace(bare, started="2026-11-22T10:00:02Z")
    assert judge(again, BARE, watch, 12.9, 3.0).state == "wait"  # it was started again: counted anew
    assert judge(again, BARE, watch, 15.9, 3.0).state == "ok"


def test_without_healthcheck_a_container_that_ran_before_is_well_at_once() -> None:
    assert verdict(replace(WELL, health=""), BARE, fresh=False) == Verdict("ok")


def test_restarts_from_before_do_not_count() -> None:
    watch = Watch(frozenset(), {"c1": 40})
    assert judge(replace(WELL, restarts=41), SERVICE, watch, 0, 3).state == "ok"
    assert judge(replace(WELL, restarts=43), SERVICE, watch, 0, 3).state == "failed"


def test_an_older_container_may_be_unhealthy_for_a_while_what_it_needs_has_just_been_replaced() -> None:
    watch, sick = Watch(frozenset()), replace(WELL, health="unhealthy")
    assert judge(sick, SERVICE, watch, 100.0, 3.0).state == "wait"
    assert judge(WELL, SERVICE, watch, 110.0, 3.0).state == "ok"
    assert judge(sick, SERVICE, watch, 120.0, 3.0).state == "wait"
    assert judge(sick, SERVICE, watch, 151.0, 3.0).state == "failed"


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (["starting", "panic: dial tcp: connection refused", "goroutine 1 [running]:", "exit"],
         "panic: dial tcp: connection refused"),
        (["Traceback", '  File "x.py", line 1, in error', "KeyError: 'DB'", "bye"], "KeyError: 'DB'"),
        (["one", "two"], "two"),
        ([], ""),
    ],
)  # fmt: skip
def test_the_line_that_names_the_cause(log: list[str], line: str) -> None:
    assert cause_line(log) == line


def test_of_two_containers_of_a_service_the_running_one_counts() -> None:
    old = replace(WELL, name="app-web-0", state="exited")
    assert of_service([old, WELL], "web") is WELL
