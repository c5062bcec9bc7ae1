"""What tags stand for and what is still to be transferred: the question as a whole, with a Docker that has images."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from host_world import World

from host import registry, resolve
from host.errors import Failure
from host.registry import Access, Found, NotAvailable

D1, D2 = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
DOWN = "Cannot connect to the Docker daemon at unix:///x"
REDIS = Found(D1, (100, 20, 3), ("a", "b", "c"), ("/data",))


def image(
    number: int, *, digests: list[str] | None = None, layers: list[str] | None = None, volumes: list[str] | None = None
) -> dict[str, Any]:
    """What `docker image inspect` tells of an image."""
    return {
        "Id": f"sha256:{number:064x}", "RepoDigests": digests or [], "RootFS": {"Layers": layers or []},
        "Config": {"Volumes": {path: {} for path in volumes} if volumes else None},
    }  # fmt: skip


def ask(world: World, *images: str, **login: str) -> dict[str, dict[str, Any]]:
    return resolve.resolve(world.config, json.dumps({"images": images, **login}).encode())["images"]  # type: ignore[no-any-return]


class Registries:
    """All registries of the world: what they have (or why not), and what they were asked."""

    def __init__(self) -> None:
        self.has: dict[str, Found] = {}
        self.down = ""
        self.asked: list[tuple[str, str]] = []
        self.access = Access()

    def look_up(self, reference: str, access: Access, architecture: str) -> Found:
        self.asked.append((reference, architecture))
        self.access = access
        if self.down or reference not in self.has:
            raise NotAvailable(self.down or "manifest unknown")
        return self.has[reference]


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> Registries:
    made = Registries()
    monkeypatch.setattr(registry, "look_up", made.look_up)
    return made


def test_an_image_that_is_not_here_costs_all_its_layers(world: World, registries: Registries) -> None:
    registries.has["redis:8"] = REDIS
    assert ask(world, "redis:8") == {
        "redis:8": {"digest": D1, "id": None, "present": False, "bytes": 123, "source": "registry",
                    "volumes": ["/data"], "error": None, "hint": None},
    }  # fmt: skip


def test_every_image_is_asked_for_once_in_the_host_s_architecture(world: World, registries: Registries) -> None:
    registries.has = {"redis:8": REDIS, "nginx:1": REDIS}
    world.set(info={"ServerVersion": "29", "Architecture": "aarch64", "DockerRootDir": "/"})
    assert set(ask(world, "redis:8", "nginx:1", "redis:8")) == {"redis:8", "nginx:1"}
    assert sorted(registries.asked) == [("nginx:1", "arm64"), ("redis:8", "arm64")]


def test_layers_count_as_here_only_on_top_of_the_same_ones(world: World, registries: Registries) -> None:
    registries.has["redis:8"] = REDIS
    world.set(details={"old": image(1, layers=["a", "x", "c"]), "other": image(2, layers=["b", "c"])})
    assert ask(world, "redis:8")["redis:8"]["bytes"] == 23, "of a, b, c only a: c was made on something else here"
    world.set(details={"old": image(1, layers=["a", "x"]), "base": image(2, layers=["a", "b"])})
    assert ask(world, "redis:8")["redis:8"]["bytes"] == 3, "the image with the most of them counts"


def test_a_pulled_image_whose_tag_did_not_move_is_here(world: World, registries: Registries) -> None:
    registries.has["redis:8"] = REDIS
    world.set(details={"redis:8": image(1, digests=[f"redis@{D1}"])})
    answer = ask(world, "redis:8")["redis:8"]
    assert (answer["digest"], answer["present"], answer["bytes"]) == (D1, True, 0)


def test_a_pulled_image_whose_tag_moved_is_what_the_registry_says_now(world: World, registries: Registries) -> None:
    registries.has["redis:8"] = REDIS
    world.set(details={"redis:8": image(1, digests=[f"redis@{D2}"], layers=["a", "b"])})
    answer = ask(world, "redis:8")["redis:8"]
    assert (answer["digest"], answer["present"], answer["bytes"]) == (D1, False, 3)


def test_an_image_that_was_sent_here_wins_over_any_registry(world: World, registries: Registries) -> None:
    registries.has["shop/app:1"] = REDIS
    world.set(details={"shop/app:1": image(7, volumes=["/up"])})
    answer = ask(world, "shop/app:1")["shop/app:1"]
    assert (answer["digest"], answer["id"], answer["source"]) == (None, f"sha256:{7:064x}", "host")
    assert (answer["present"], answer["volumes"]) == (True, ["/up"])
    assert registries.asked == []


@pytest.mark.parametrize(
    ("reference", "digests"),
    [
        ("redis:8", [f"redis@{D1}"]),
        ("redis:8", [f"r.test/team/redis@{D2}", f"redis@{D1}"]),
        ("r.test/team/app:1", [f"r.test/team/app@{D1}"]),
    ],
)
def test_with_the_registry_down_the_image_that_is_here_will_do(
    world: World, registries: Registries, reference: str, digests: list[str]
) -> None:
    registries.down = "connection refused"
    world.set(details={reference: image(1, digests=digests)})
    answer = ask(world, reference)[reference]
    assert (answer["digest"], answer["source"], answer["error"]) == (D1, "host", None)


def test_a_digest_of_another_registry_is_not_one_of_this(world: World, registries: Registries) -> None:
    registries.down = "connection refused"
    world.set(details={"r.test/app/x:1": image(1, digests=[f"other.test/app/x@{D2}"])})
    answer = ask(world, "r.test/app/x:1")["r.test/app/x:1"]
    assert (answer["digest"], answer["id"], answer["source"]) == (None, f"sha256:{1:064x}", "host")


def test_what_nobody_has_is_an_error_of_that_image_alone(world: World, registries: Registries) -> None:
    registries.has["redis:8"] = REDIS
    answers = ask(world, "r.test/app:9", "redis:8", "NOT an image")
    assert answers["redis:8"]["error"] is None
    assert answers["r.test/app:9"]["error"] == "image r.test/app:9 cannot be pulled: r.test has no such tag"
    assert answers["r.test/app:9"]["hint"] == "check the tag in the settings, or push the image"
    assert [answers["r.test/app:9"][key] for key in ("digest", "id", "bytes", "source")] == [None] * 4
    assert answers["r.test/app:9"]["present"] is False
    assert answers["NOT an image"]["error"]


def test_registries_are_reached_as_the_engine_reaches_them_and_with_the_login_given(
    world: World, registries: Registries
) -> None:
    settings = {
        "Mirrors": ["http://m.test/"],
        "IndexConfigs": {"r.test": {"Secure": False}, "s.test": {"Secure": True}},
    }
    world.set(info={"ServerVersion": "29", "Architecture": "x86_64", "RegistryConfig": settings})
    ask(world, "redis:8", registry="r.test/team", user="me", password="hunter2")
    assert registries.access == Access(("http://m.test",), frozenset({"r.test"}), "r.test", "me", "hunter2")
    assert "hunter2" not in (world.home / "calls.jsonl").read_text()


def test_the_password_is_in_no_answer(world: World, registries: Registries) -> None:
    registries.down = "unauthorized"
    answers = ask(world, "r.test/app:1", registry="r.test", user="me", password="hunter2")
    assert "hunter2" not in json.dumps(answers)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"images": 7}', b"null", b"\xff"])
def test_what_is_no_question_is_refused(world: World, data: bytes) -> None:
    with pytest.raises(Failure, match="not a question about images"):
        resolve.resolve(world.config, data)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda world: (world.bin / "docker").write_text(f"#!/bin/sh\necho {DOWN} >&2; exit 1\n"),
        lambda world: world.set(info={"ServerErrors": [DOWN]}),
    ],
    ids=["fails", "says so in its answer"],
)
def test_without_an_engine_the_question_fails_as_a_whole(world: World, break_it: Callable[[World], object]) -> None:
    break_it(world)
    with pytest.raises(Failure, match="the Docker engine is not running"):
        ask(world, "redis:8")


def test_the_command_answers_in_one_line_and_changes_nothing(world: World) -> None:
    world.set(details={"shop/app:1": image(7)})
    done = world.run("resolve", stdin=b'{"images": ["shop/app:1"]}')
    assert done.returncode == 0
    assert json.loads(done.stdout)["images"]["shop/app:1"]["source"] == "host"
    assert {call.split()[1] for call in world.calls("docker")} == {"info", "image"}
    assert {call.split()[2] for call in world.calls("docker image")} == {"ls", "inspect"}
