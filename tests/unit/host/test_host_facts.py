"""Facts of the host: the engine, the room there is, and what the status tells of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from host_world import World

from host import facts, releases, status
from host.errors import Failure


@pytest.mark.parametrize(
    ("machine", "name"),
    [("x86_64", "amd64"), ("aarch64", "arm64"), ("armv7l", "arm"), ("riscv64", "riscv64"), ("arm64", "arm64")],
)
def test_the_architecture_has_dockers_name(world: World, machine: str, name: str) -> None:
    world.set(info={"ServerVersion": "29", "Architecture": machine})
    assert facts.engine().architecture == name


@pytest.mark.parametrize(
    ("driver", "store"),
    [
        ([["Backing Filesystem", "extfs"]], "classic"),
        (None, "classic"),
        ([["driver-type", "io.containerd.snapshotter.v1"]], "containerd"),
    ],
)
def test_the_engine_tells_how_it_keeps_images(world: World, driver: Any, store: str) -> None:
    world.set(info={"ServerVersion": "29", "DriverStatus": driver, "DockerRootDir": "/data"})
    assert (facts.engine().store, facts.engine().root) == (store, Path("/data"))


def test_an_engine_that_says_little_is_taken_to_be_as_usual(world: World) -> None:
    world.set(info={"ServerVersion": "29"})
    assert facts.engine() == facts.Engine(Path("/var/lib/docker"), "classic", "", {})


def test_an_answer_without_an_engine_behind_it_is_a_failure(world: World) -> None:
    world.set(info={"ServerErrors": ["Cannot connect to the Docker daemon at unix:///x. Is it running?"]})
    with pytest.raises(Failure, match="the Docker engine is not running"):
        facts.engine()


def test_the_room_is_told_for_each_purpose_also_for_directories_that_are_still_to_come(tmp_path: Path) -> None:
    found = facts.space({"images": tmp_path / "not/there/yet", "backups": tmp_path})
    assert [(item["purpose"], item["path"]) for item in found] == [
        ("images", str(tmp_path / "not/there/yet")), ("backups", str(tmp_path))
    ]  # fmt: skip
    assert found[0]["mount"] == found[1]["mount"]
    assert 0 <= found[0]["free"] <= found[0]["total"]


def test_the_status_tells_engine_room_volumes_and_results(world: World) -> None:
    name = world.receive(world.spec(1))
    releases.note(world.config, name, "failed", "no room")
    world.set(volumes=["app_redis_data", "app_postgres_data"])
    found = status.status(world.config)
    assert found["docker"] == {"store": "classic", "arch": "amd64"}
    assert found["volumes"] == ["app_postgres_data", "app_redis_data"]
    assert found["results"][name]["cause"] == "no room"
    assert {item["purpose"]: item["path"] for item in found["space"]} == {
        "releases": str(world.config.releases), "images": "/", "backups": str(world.config.root / "shared/backups"),
    }  # fmt: skip
    assert found["problems"] == []
    json.dumps(found)


def test_without_an_engine_the_status_is_whole_and_names_that_once(world: World) -> None:
    (world.bin / "docker").write_text("#!/bin/sh\necho Cannot connect to the Docker daemon >&2; exit 1\n")
    found = status.status(world.config)
    assert found["problems"] == ["the Docker engine is not running"]
    assert (found["docker"], found["volumes"], found["containers"]) == (None, [], [])
    assert "/var/lib/docker" in [item["path"] for item in found["space"]]


def neighbour(world: World, name: str, manifest: object) -> None:
    path = world.config.root.parent / name / "current"
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))


def test_the_other_applications_of_the_host_are_told_with_domains_and_memory(world: World) -> None:
    neighbour(world, "blog", {
        "app": "blog", "release": "r7", "settings": {"domains": ["blog.test"]},
        "services": {"web": {"memory": 100}, "db": {"memory": 20}, "free": {}},
    })  # fmt: skip
    neighbour(world, "bare", {"app": "bare"})
    neighbour(world, "same", {"app": "app", "release": "me"})
    assert status.neighbours(world.config) == [
        {"app": "bare", "domains": [], "release": None, "memory": 0},
        {"app": "blog", "domains": ["blog.test"], "release": "r7", "memory": 120},
    ]


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "{",
        "[]",
        {"services": {}},
        {"app": "x", "services": ["web"]},
        {"app": "x", "services": {"web": "image"}},
        {"app": "x", "services": {"web": {"memory": "much"}}},
        {"app": "x", "settings": ["a"]},
    ],
    ids=["empty", "torn", "list", "no app", "services", "service", "memory", "settings"],
)
def test_what_is_no_application_of_ours_is_no_neighbour(world: World, manifest: object) -> None:
    neighbour(world, "other", manifest)
    assert status.neighbours(world.config) == []
