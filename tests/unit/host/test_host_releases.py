"""What releases came to: noted once each, and what has served has served."""

from __future__ import annotations

import pytest
from host_world import World

from host import durable, releases


def names(world: World, count: int) -> list[str]:
    return [world.receive(world.spec(number)) for number in range(1, count + 1)]


def test_before_anything_was_noted_there_are_no_results(world: World) -> None:
    assert releases.results(world.config) == {}
    assert not releases.served(world.config, "20261122T100100Z-1.1.0")


def test_how_a_release_ended_is_noted_with_when_and_what_else_is_known(world: World) -> None:
    [name] = names(world, 1)
    releases.note(world.config, name, "failed", "postgres is unhealthy", kind="deploy", by="me@here")
    result = releases.results(world.config)[name]
    assert isinstance(result.pop("finished"), float)
    assert result == {"result": "failed", "cause": "postgres is unhealthy", "kind": "deploy", "by": "me@here"}
    assert (world.config.state / "results.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("result", ["healthy", "incomplete"])
def test_a_release_that_once_served_has_served_whatever_comes_later(world: World, result: str) -> None:
    [name] = names(world, 1)
    releases.note(world.config, name, result)
    releases.note(world.config, name, "failed", "no room")
    noted = releases.results(world.config)[name]
    assert (noted["result"], noted["last_cause"]) == (result, "no room")
    assert releases.served(world.config, name)


def test_a_release_that_failed_first_and_serves_now_is_healthy(world: World) -> None:
    [name] = names(world, 1)
    releases.note(world.config, name, "failed", "no room")
    assert not releases.served(world.config, name)
    releases.note(world.config, name, "healthy")
    noted = releases.results(world.config)[name]
    assert (noted["result"], noted["cause"]) == ("healthy", "")


def test_one_that_got_its_certificate_later_is_healthy_then(world: World) -> None:
    [name] = names(world, 1)
    releases.note(world.config, name, "incomplete", "no certificate")
    releases.note(world.config, name, "healthy")
    noted = releases.results(world.config)[name]
    assert (noted["result"], noted["cause"]) == ("healthy", "")


def test_that_it_was_migrated_and_its_backup_are_not_forgotten_by_a_later_apply(world: World) -> None:
    [name] = names(world, 1)
    releases.note(world.config, name, "failed", "late", migrated=True, backup="b-1", switch={"failed": 0}, by="a")
    releases.note(world.config, name, "healthy", by="b")
    noted = releases.results(world.config)[name]
    assert (noted["migrated"], noted["backup"], noted["switch"]) == (True, "b-1", {"failed": 0})
    assert noted["by"] == "b"


def test_results_are_kept_for_the_releases_that_are_here(world: World) -> None:
    first, second = names(world, 2)
    releases.note(world.config, first, "healthy")
    releases.note(world.config, second, "healthy")
    releases.remove(world.config, first)
    assert set(releases.results(world.config)) == {first, second}, "until the next one is noted"
    releases.note(world.config, "20261122T110000Z-never-arrived", "failed", "damaged")
    assert set(releases.results(world.config)) == {second, "20261122T110000Z-never-arrived"}


def test_what_served_before_results_were_noted_has_served_too(world: World) -> None:
    [name] = names(world, 1)
    releases.remember(world.config, name, 1.0)
    assert releases.results(world.config) == {}
    assert releases.served(world.config, name)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1}', '{"a": ["healthy"]}'])
def test_a_file_that_makes_no_sense_counts_as_none_and_is_replaced(world: World, text: str) -> None:
    [name] = names(world, 1)
    (world.config.state / "results.json").write_text(text)
    assert releases.results(world.config) == {}
    releases.note(world.config, name, "healthy")
    assert set(releases.results(world.config)) == {name}


def test_the_history_tells_each_change_once_and_the_last_fifty_of_them(world: World) -> None:
    for number in (1, 1, 2, 1):
        releases.remember(world.config, f"r{number}", float(number))
    assert [item["release"] for item in releases.history(world.config)] == ["r1", "r2", "r1"]
    for number in range(100):
        releases.remember(world.config, f"r{number}", float(number))
    assert [item["release"] for item in releases.history(world.config)] == [f"r{number}" for number in range(50, 100)]
    durable.write_json(world.config.state / "history.json", {"release": "x"})
    assert releases.history(world.config) == []


def test_a_removed_release_is_gone_as_a_whole_and_what_was_left_of_one_is_swept_up(world: World) -> None:
    first, second = names(world, 2)
    releases.remove(world.config, first)
    assert releases.ids(world.config) == [second]
    (world.config.releases / f".removed-{first}").mkdir()
    assert releases.ids(world.config) == [second], "half of one is not one"
    releases.sweep(world.config)
    assert [path.name for path in world.config.releases.iterdir()] == [second]
