"""What is kept: releases to go back to, and every image one of them needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from host_world import World

from host import releases, retention
from host.events import Journal

R = [f"2026112{day}T100000Z-1.{day}.0" for day in range(1, 8)]


def test_the_last_ones_that_served_are_kept() -> None:
    assert retention.expendable(R[:5], R[:5], R[4], 3) == R[:2]


def test_the_current_and_the_one_before_are_kept_whatever_the_number() -> None:
    assert retention.expendable(R[:4], R[:4], R[3], 1) == R[:2]


def test_releases_that_never_served_go_first_and_push_out_no_good_one() -> None:
    assert retention.expendable(R[:5], [R[0], R[4]], R[4], 3) == R[1:4]


def test_what_came_after_the_current_one_is_kept_it_may_be_the_next() -> None:
    assert retention.expendable(R[:3], [R[0], R[1]], R[1], 2) == []


def test_after_going_back_the_one_gone_back_to_counts_as_the_newest() -> None:
    assert retention.expendable(R[:4], [*R[:4], R[1]], R[1], 2) == [R[0], R[2]]


def served(world: World, count: int) -> list[str]:
    """`count` releases that served one after the other, then what the last of them tidies up; returns what went."""
    world.set(images=["nginx:1", "postgres:17", *[f"backend:1.{number}.0" for number in range(1, count + 1)]])
    for number in range(1, count + 1):
        name = world.receive(world.spec(number))
        releases.switch(world.config, name)
        releases.remember(world.config, name, float(number))
    with Journal().step("retention", "") as step:
        return retention.tidy(world.config, releases.load(world.config, "current"), step)


def test_images_of_removed_releases_go_and_those_of_kept_ones_stay(world: World) -> None:
    gone = [world.spec(number).id for number in (1, 2)]
    assert served(world, 5) == gone
    assert releases.ids(world.config) == [world.spec(number).id for number in (3, 4, 5)]
    assert world.calls("docker image rm") == ["docker image rm backend:1.1.0", "docker image rm backend:1.2.0"]
    assert "backend:1.1.0" not in world.get()["images"]
    assert {"backend:1.4.0", "backend:1.5.0", "nginx:1"} <= set(world.get()["images"])


def test_an_image_that_another_application_of_the_host_keeps_stays(world: World) -> None:
    other = world.config.root.parent / "other" / "releases" / R[0]
    other.mkdir(parents=True)
    (other / "manifest.json").write_text(json.dumps({"services": {"x": {"image": "backend:1.1.0"}}}))
    served(world, 5)
    assert "backend:1.1.0" in world.get()["images"]
    assert "backend:1.2.0" not in world.get()["images"]


def test_no_volume_is_ever_touched_and_nothing_is_pruned(world: World) -> None:
    for number in range(1, 6):
        world.applied(world.spec(number))
    assert not [call for call in world.calls("docker volume") if "docker volume ls" not in call]
    assert world.calls("prune") == []


def test_an_image_that_came_without_a_registry_is_known_by_its_id(tmp_path: Path) -> None:
    service = {"image": "shop:1", "pin": {"digest": None, "id": "sha256:abc"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"services": {"x": service}}))
    assert retention.wanted(tmp_path) == {"shop:1", "sha256:abc"}


def test_a_release_that_cannot_be_read_needs_nothing(tmp_path: Path) -> None:
    assert retention.wanted(tmp_path) == set()
    (tmp_path / "manifest.json").write_text("{")
    assert retention.wanted(tmp_path) == set()


@pytest.mark.parametrize("text", ["[]", "{}", '{"services": ["x"]}', '{"services": {"x": "y"}}', '{"services": null}'])
def test_what_is_no_manifest_of_ours_needs_nothing_and_stands_in_nobodys_way(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert retention.wanted(tmp_path) == set()


def test_a_pin_that_makes_no_sense_does_not_hide_the_image(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"services": {"x": {"image": "redis:8", "pin": "abc"}}}')
    assert retention.wanted(tmp_path) == {"redis:8"}


def test_only_directories_of_releases_count(tmp_path: Path) -> None:
    for name in (R[0], ".removed-" + R[1], "notes"):
        (tmp_path / "shop/releases" / name).mkdir(parents=True)
        (tmp_path / "shop/releases" / name / "manifest.json").write_text(
            json.dumps({"services": {"x": {"image": f"x:{name}"}}})
        )
    assert retention.needed(tmp_path) == {f"x:{R[0]}"}
