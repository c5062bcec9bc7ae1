"""A new container beside the old one, nginx pointed at it, the old one ended; and back again whatever happens."""

from __future__ import annotations

import json
import re
import signal

import pytest
from host_world import World, events, eventually, last

from host import edge
from host.edge import Target

SWITCH = {"switch": {"port": 8080, "probe": "/health"}}


def parts(**more):
    """Services of a release whose backend is switched and whose nginx tells what it has loaded."""
    nginx = {"image": "nginx:1", "user": "101:101", "config": ["nginx"], "secrets": [], "check": ["nginx", "-t"],
             "reload": ["nginx", "-s", "reload"], "healthcheck": True, "marker": ["marker"]}  # fmt: skip
    backend = {"image": "backend:1", "user": "65532:65532", "config": [], "secrets": [], "check": None, "reload": None,
               "healthcheck": True, **SWITCH, **more}  # fmt: skip
    return {"services": {"nginx": nginx, "backend": backend}}


@pytest.fixture
def first(world: World) -> str:
    return world.applied(world.spec(1, **parts()))


def names(world: World) -> list[str]:
    return sorted(item["Name"].lstrip("/") for item in world.get()["containers"].values() if "backend" in item["Name"])


def test_the_first_container_is_the_one_nginx_was_told_of_before_it_was_there(world: World, first: str) -> None:
    assert names(world) == ["app-backend-1"]
    assert edge.serving(world.config) == {"backend": "app-backend-1"}
    assert world.get()["loaded"] == (world.config.upstreams / edge.FILE).read_text()


def test_a_new_version_is_started_beside_the_old_and_replaces_it(world: World, first: str) -> None:
    before = world.lives()
    world.forget_calls()
    world.applied(world.spec(2, **parts(image="backend:2")))
    assert names(world) == ["app-backend-2"]
    assert edge.serving(world.config) == {"backend": "app-backend-2"}
    assert world.lives()["nginx"] == before["nginx"]
    calls = world.calls()
    order = [next(i for i, call in enumerate(calls) if word in call) for word in ("--scale", "reload", "docker stop")]
    assert order == sorted(order), "started, then pointed at, then the old one stopped"


def test_nginx_is_told_the_address_first_and_is_left_with_the_name(world: World, first: str) -> None:
    world.forget_calls()
    world.applied(world.spec(2, **parts(image="backend:2")))
    assert len(world.calls("-s reload")) == 2
    assert "127.9.0." not in world.get()["loaded"]
    assert "server app-backend-2:8080 resolve" in world.get()["loaded"]


def test_the_same_release_again_touches_nothing(world: World, first: str) -> None:
    before = world.lives()
    world.forget_calls()
    done = world.run("apply", first)
    assert done.returncode == 0
    assert world.lives() == before
    assert world.calls("reload") == []
    assert world.calls("--scale") == []


def test_a_version_that_is_not_healthy_is_removed_and_the_old_one_serves_on(world: World, first: str) -> None:
    loaded, before = world.get()["loaded"], world.lives()
    world.set(moods={"backend:2": "unhealthy"}, logs={"backend": "fatal: no such table"})
    spec = world.spec(2, **parts(image="backend:2"))
    world.receive(spec)
    done = world.run("apply", spec.id)
    assert done.returncode == 9
    assert "no such table" in last(done.stdout)["data"]["cause"]
    assert last(done.stdout)["data"]["reverted"] is True
    assert (world.lives(), world.get()["loaded"]) == (before, loaded)
    assert world.config.current.readlink().name == first


def test_nginx_that_goes_on_with_its_old_configuration_is_found_out(
    world: World, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set(deaf=True)
    spec = world.spec(2, **parts(image="backend:2"))
    world.receive(spec)
    process = world.start("apply", spec.id)
    eventually(lambda: "reload" in " ".join(world.calls("reload")))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 9
    assert "old configuration" in last(out)["data"]["cause"]
    assert names(world) == ["app-backend-1"]


def test_the_old_container_stays_until_the_old_workers_are_done(world: World, first: str) -> None:
    world.set(busy=6)
    spec = world.spec(2, **parts(image="backend:2"))
    world.receive(spec)
    world.forget_calls()
    done = world.run("apply", spec.id)
    assert done.returncode == 0
    calls = world.calls()
    looks = [i for i, call in enumerate(calls) if "docker top" in call]
    stop = next(i for i, call in enumerate(calls) if "docker stop" in call)
    assert len(looks) >= 5
    assert max(looks) < stop


def test_workers_that_never_end_are_waited_for_as_long_as_the_drain_time_and_no_longer(
    world: World, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set(busy=100000)
    spec = world.spec(2, **parts(image="backend:2"), settings={"drain_time": 1})
    world.receive(spec)
    done = world.run("apply", spec.id)
    assert done.returncode == 0
    assert names(world) == ["app-backend-2"]
    assert any("not done after 1 s" in event["message"] for event in events(done.stdout))


@pytest.mark.parametrize(
    ("on", "serves"),
    [
        ("--scale backend=2", 1),  # while the new one is started
        ("exec", 1),  # while nginx is told
        ("docker top", 1),
        ("docker stop", 2),  # the release is the current one already
        ("docker rm -f 000", 2),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_anywhere_one_release_serves_whole_and_nothing_is_left_over(
    world: World, first: str, on: str, serves: int, when: str
) -> None:
    second = world.spec(2, **parts(image="backend:2"))
    world.receive(second)
    world.trap(on, when, signal.SIGKILL)
    done = world.run("apply", second.id)
    assert done.returncode == 12, done.stdout.decode()[-2000:]
    assert "cut off" in last(done.stdout)["data"]["cause"]
    assert world.config.current.readlink().name == (first if serves == 1 else second.id)
    assert len(names(world)) == 1
    assert edge.serving(world.config) == {"backend": names(world)[0]}
    assert world.get()["loaded"] == (world.config.upstreams / edge.FILE).read_text()
    assert "release" in last(done.stdout)["data"]["cause"], "it says which one serves"
    again = world.run("apply", second.id)
    assert again.returncode == 0, again.stdout.decode()[-2000:]
    assert len(names(world)) == 1
    assert (
        world.get()["containers"][next(iter(k for k in world.get()["containers"] if "backend" in k))]["spec"]["image"]
        == "backend:2"
    )


def test_a_stopped_container_that_fits_is_started_again(world: World, first: str) -> None:
    value = world.get()["containers"]
    value["backend"]["State"]["Status"] = "exited"
    world.set(containers=value)
    assert world.run("apply", first).returncode == 0
    assert world.get()["containers"]["backend"]["State"]["Status"] == "running"
    assert names(world) == ["app-backend-1"]


def test_services_that_are_gone_from_the_file_are_removed_after_the_switch(world: World, first: str) -> None:
    extra = parts()
    extra["services"]["cache"] = {"image": "cache:1", "user": "", "config": [], "secrets": [], "check": None,
                                  "reload": None, "healthcheck": False}  # fmt: skip
    world.applied(world.spec(2, **extra))
    assert "cache" in world.get()["containers"]
    world.applied(world.spec(3, **parts()))
    assert "cache" not in world.get()["containers"]


def test_a_rollback_goes_only_to_a_release_that_has_served(world: World, first: str) -> None:
    world.set(moods={"backend:2": "unhealthy"})
    second = world.spec(2, **parts(image="backend:2"))
    world.receive(second)
    assert world.run("apply", second.id).returncode == 9
    world.applied(world.spec(3, **parts(image="backend:3")))
    for name in (second.id, "20200101T000000Z-none"):
        done = world.run("apply", name, "--kind", "rollback")
        assert done.returncode == 11, done.stdout.decode()
    assert world.run("apply", first, "--kind", "rollback").returncode == 0
    assert world.config.current.readlink().name == first


def test_a_changed_file_of_a_switched_service_makes_a_new_container_of_it(world: World, first: str) -> None:
    def spec(number: int, text: bytes):
        made = world.spec(number, **parts(config=["settings"]), files={"settings/app.conf": text})
        compose = json.loads(made.files["docker-compose.prod.yml"])
        assert compose["services"]["backend"]["volumes"]
        return made

    world.applied(spec(2, b"one"))
    [before] = names(world)
    world.forget_calls()
    world.applied(spec(3, b"two"))
    assert names(world) != [before]
    assert len(names(world)) == 1
    assert world.calls("docker restart") == []


def test_the_upstreams_file_says_what_it_says_whatever_the_order() -> None:
    targets = {"backend": Target("a-backend-2", 8080, "10.0.0.2"), "frontend": Target("a-frontend-1", 3000)}
    text = edge.render(targets, "x")
    assert text == edge.render(dict(reversed(list(targets.items()))), "x")
    assert edge.marker(text) != edge.marker(edge.render(targets, "y"))
    assert re.fullmatch("[0-9a-f]{16}", edge.marker(text))
    assert b"server 10.0.0.2:8080 max_fails" in text
