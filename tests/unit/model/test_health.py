"""Judging what was observed."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.model import health

GIB = 1 << 30


def status(**changes: Any) -> dict[str, Any]:
    container = {
        "service": "redis",
        "name": "shop-redis-1",
        "image": "redis:8",
        "state": "running",
        "health": "healthy",
        "exit_code": 0,
        "restarts": 0,
        "oom_killed": False,
    }
    return {
        "release": "20261122T100000Z-1",
        "manifest": {"version": "1", "services": {"redis": {"healthcheck": True}}},
        "containers": [container],
        "drift": [],
        "disk": [{"mount": "/", "total": 100 * GIB, "free": 50 * GIB}],
        "memory": {"total": 4 * GIB, "available": 2 * GIB},
        "clock": {"time": 1000.0, "synchronized": True},
        "unit": {"shop.service": "enabled"},
        "last": {"release": "20261122T100000Z-1", "result": "done"},
        **changes,
    }


def failed(report: dict[str, Any]) -> dict[str, str]:
    return {check.name: check.detail for check in health.inside(report, now=1001.0) if not check.ok}


def container(**changes: Any) -> list[dict[str, Any]]:
    return [status()["containers"][0] | changes]


def test_a_host_in_order_passes_every_check() -> None:
    assert failed(status()) == {}


def test_an_empty_host_says_what_to_do() -> None:
    assert "fab deploy" in failed(status(manifest=None))["release"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": "exited", "health": None, "exit_code": 137}, "exited, exit code 137"),
        ({"health": "unhealthy"}, "running, unhealthy"),
        ({"health": "starting"}, "running, starting"),
        ({"health": None}, "running"),
        ({"oom_killed": True}, "lack of memory"),
        ({"state": "restarting", "restarts": 7}, "7 restarts"),
    ],
)
def test_a_container_that_is_not_well_is_named_with_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    assert said in failed(status(containers=container(**changes)))["container redis"]


def test_a_service_without_a_container_is_named() -> None:
    assert failed(status(containers=[])) == {"container redis": "does not exist"}


def test_past_restarts_of_a_healthy_container_are_told_but_are_no_failure() -> None:
    checks = health.inside(status(containers=container(restarts=3)), now=1001.0)
    assert [c.detail for c in checks if c.name == "container redis" and c.ok] == ["running, healthy, 3 restarts"]


@pytest.mark.parametrize(
    ("total", "free", "ok"),
    [(100, 50, True), (100, 9.9, False), (100, 10, True), (1000, 20, True), (10, 0.5, False), (0, 0, False)],
)
def test_a_disk_is_low_when_both_share_and_room_are(total: float, free: float, ok: bool) -> None:
    report = status(disk=[{"mount": "/", "total": total * GIB, "free": free * GIB}])
    assert ("disk /" not in failed(report)) is ok


def test_little_memory_a_wrong_clock_and_a_disabled_unit_are_named() -> None:
    report = status(
        memory={"total": 4 * GIB, "available": GIB / 10},
        clock={"time": 2000.0, "synchronized": False},
        unit={"shop.service": "disabled"},
    )
    assert set(failed(report)) == {"memory", "clock", "unit shop.service"}


def test_files_that_were_edited_on_the_host_are_named() -> None:
    report = status(drift=[{"path": "nginx/nginx.conf", "state": "changed"}])
    assert "nginx/nginx.conf (changed)" in failed(report)["drift"]


def test_a_change_that_failed_is_told_with_its_cause() -> None:
    report = status(last={"release": "x", "result": "failed", "cause": "backend is unhealthy"})
    assert "backend is unhealthy" in failed(report)["release"]


@pytest.mark.parametrize(("days_left", "life", "ok"), [(60, 90, True), (22, 90, False), (30, 45, True), (2, 6, True)])
def test_a_certificate_needs_a_quarter_of_its_life(days_left: int, life: int, ok: bool) -> None:
    now = 1e9
    check = health.certificate(now + days_left * 86400, now - (life - days_left) * 86400, "CA", now=now)
    assert check.ok is ok
    assert f"{days_left} days left" in check.detail


def test_the_table_shows_failures_without_colour_too() -> None:
    text = health.table([health.Check("a", True, "x"), health.Check("longer", False, "y")], colour=False)
    assert text.splitlines() == ["ok    a       x", "FAIL  longer  y"]
