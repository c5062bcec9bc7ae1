"""A host where somebody is at work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fake_session import FakeHost

from tasks.core.errors import ConnectionLost, HostFailed, Locked, TimedOut, Unhealthy
from tasks.operations import busy

HOLDER = {"what": "deploy of r2", "who": "ann@desk", "since": 3600.0, "unit": "maicivy-apply-r2"}
FREE: Any = SimpleNamespace(status={"busy": None})
BUSY: Any = SimpleNamespace(status={"busy": HOLDER})
FAILED = {"event": "failed", "data": {"status": 9, "cause": "backend is not healthy"}}


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch, chosen: Any) -> Any:
    """`until_free` for a host that is in these states one after the other."""

    def until_free(host: FakeHost, *states: Any, ours: str = "", wait: float = 0, **more: Any) -> Any:
        later = iter(states[1:])
        monkeypatch.setattr(busy, "observe", lambda s, settings: next(later))
        return busy.until_free(
            host, chosen, states[0], wait=wait, again="fab deploy", ours=lambda what: what == ours, **more
        )

    return until_free


def test_a_free_host_is_not_asked_again(free: Any) -> None:
    host = FakeHost()
    assert free(host, FREE) == (FREE, False)
    assert host.done == []


def test_a_busy_host_says_who_does_what_since_when_and_how_to_wait(free: Any) -> None:
    host = FakeHost()
    with pytest.raises(Locked) as caught:
        free(host, BUSY)
    assert caught.value.one_line() == (
        "error: [vps] busy: deploy of r2 by ann@desk since 01:00:00 UTC. Next: --wait 300 waits for it"
    )
    assert host.done == []


def test_what_we_came_for_is_watched_to_its_end_without_being_asked_to_wait(free: Any) -> None:
    host = FakeHost()
    assert free(host, BUSY, FREE, ours="deploy of r2") == (FREE, True)
    assert host.done == [("attach",)]


def test_what_we_came_for_fails_for_us_too_unless_we_can_go_on(free: Any) -> None:
    with pytest.raises(Unhealthy, match="backend is not healthy"):
        free(FakeHost(attach=FAILED), BUSY, FREE, ours="deploy of r2")
    host = FakeHost(attach=FAILED)
    assert free(host, BUSY, FREE, ours="deploy of r2", forgiving=True) == (FREE, True)
    assert "it failed: backend is not healthy" in host.errors.getvalue()


def test_somebody_elses_command_is_waited_for_however_it_ends(free: Any) -> None:
    for answer in ({"event": "done", "data": {"status": 0}}, FAILED):
        assert free(FakeHost(attach=answer), BUSY, FREE, wait=60) == (FREE, False)


def test_the_wait_has_an_end(free: Any) -> None:
    host = FakeHost(attach=TimedOut("too long", host="vps"))
    with pytest.raises(Locked, match=r"still after 0\.01 s"):
        free(host, *[BUSY] * 100_000, wait=0.01)


def test_a_connection_that_breaks_meanwhile_is_told(free: Any) -> None:
    with pytest.raises(ConnectionLost, match="fab deploy"):
        free(FakeHost(attach=ConnectionLost("the line broke", host="vps")), BUSY, wait=60)
    with pytest.raises(HostFailed):
        free(FakeHost(attach=HostFailed("x")), BUSY, ours="deploy of r2")


def test_a_command_without_a_unit_is_looked_at_until_it_is_over(free: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy.time, "sleep", lambda seconds: None)
    loading: Any = SimpleNamespace(status={"busy": {"what": "sending of images", "who": "ann@desk", "unit": None}})
    host = FakeHost()
    assert free(host, loading, loading, FREE, wait=60) == (FREE, False)
    assert host.done == []
