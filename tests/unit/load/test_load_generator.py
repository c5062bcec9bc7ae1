"""The load generator counts right: a proof that it cannot fail would be none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.load import Load
from tests.unit.load.visited import visited


def test_every_request_is_answered_and_each_post_arrives_once(tmp_path: Path) -> None:
    with visited(tmp_path) as server:
        with Load(server.site, rate=150, slow=2, slow_seconds=1) as load:
            time.sleep(3)
        assert load.failures == [], load.describe()
        assert load.achieved > 110, load.describe()
        assert sorted(server.posts) == sorted(load.posted)
        assert len(set(load.posted)) == len(load.posted) == load.sent["visit"]
        assert load.sent == load.answered
        assert load.sent["slow"] >= 4
        assert {"page", "health", "version", "visit", "slow"} == set(load.sent)
        assert list(load.versions) == ["1.0.0"]


def test_connections_are_kept_and_made_anew(tmp_path: Path) -> None:
    with visited(tmp_path) as server:
        with Load(server.site, rate=100, slow=0) as load:
            time.sleep(1.5)
        fresh = load.total * 4 / 16
        assert 0.5 * fresh < load.connections < 1.5 * fresh + 20, load.describe()


@pytest.mark.parametrize(
    ("path", "how", "kind", "said"),
    [
        ("/health", "close", "health", "without an answer"),
        ("/api/version", "half", "version", "in the middle of its answer"),
        ("/api/visits", "502", "visit", "502"),
        ("/", "problem", "page", "did not reach the API"),
    ],
)
def test_a_request_that_is_not_answered_well_is_a_failure(
    tmp_path: Path, path: str, how: str, kind: str, said: str
) -> None:
    with visited(tmp_path, misbehave={(path, 7): how}) as server:
        with Load(server.site, rate=150, slow=0) as load:
            time.sleep(0.8)
        assert [failure.kind for failure in load.failures] == [kind], load.describe()
        assert said in load.failures[0].error
        assert load.sent[kind] == load.answered[kind] + 1
        if kind == "visit":
            assert len(server.posts) == len(load.posted) + 1, "it was counted by the server, and not sent again"


def test_what_the_server_counted_twice_shows_in_its_count(tmp_path: Path) -> None:
    with visited(tmp_path, misbehave={("/api/visits", 3): "twice"}) as server:
        with Load(server.site, rate=100, slow=0) as load:
            time.sleep(1)
        assert load.failures == []
        assert len(server.posts) == len(load.posted) + 1


def test_an_announced_end_of_a_connection_is_no_failure(tmp_path: Path) -> None:
    with visited(tmp_path, announce=True) as server:
        with Load(server.site, rate=60, slow=0) as load:
            time.sleep(1)
        assert load.failures == [], load.describe()
        assert load.announced == load.connections == load.total


def test_a_connection_closed_while_idle_is_counted_and_no_failure(tmp_path: Path) -> None:
    with visited(tmp_path, idle=0.25) as server:
        with Load(server.site, rate=30, slow=0) as load:
            time.sleep(2.5)
        assert load.closed_idle > 0
        lost = [failure for failure in load.failures if not failure.reused]
        assert lost == [], load.describe()


def test_a_server_that_is_not_there_is_a_failure_each_time(tmp_path: Path) -> None:
    with visited(tmp_path) as server:
        site = server.site
    with Load(site, rate=50, slow=0) as load:
        time.sleep(0.5)
    assert load.failures
    assert load.answered.total() == 0
    assert "no connection" in load.failures[0].error


def test_a_certificate_of_another_authority_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with visited(tmp_path) as server, visited(tmp_path / "other") as other:
        from dataclasses import replace

        assert other.site.ca_file
        with Load(replace(server.site, ca_file=other.site.ca_file), rate=50, slow=0) as load:
            time.sleep(0.3)
    assert load.answered.total() == 0
    assert load.failures
