"""Images: pulled when missing, with credentials nobody else sees, and failures that say what to do."""

from __future__ import annotations

import base64
import json

import pytest
from host_world import World

from host import images, releases
from host.errors import Failure
from host.events import Journal


def ensure(world: World, **settings: object) -> None:
    world.receive(world.spec(1, settings=settings))
    with Journal().step("images", "") as step:
        images.ensure(world.config, releases.load(world.config, world.spec(1).id), step)


def test_only_missing_images_are_pulled(world: World) -> None:
    world.set(images=["nginx:1", "postgres:17"])
    ensure(world)
    assert world.calls("docker pull") == ["docker pull backend:1.1.0"]


def test_the_registry_password_is_in_a_private_file_for_the_time_of_the_pull_and_in_no_command_line(
    world: World,
) -> None:
    ensure(world, registry="registry.example:5000/team", registry_user="ann")
    seen = json.loads((world.home / "docker_config_seen.json").read_text())
    assert (seen["dir"][-3:], seen["file"][-3:]) == ("700", "600")
    auth = json.loads(seen["text"])["auths"]["registry.example:5000"]["auth"]
    assert base64.b64decode(auth) == b"ann:hunter2"
    assert list(world.config.run.glob("docker-*")) == []
    assert "hunter2" not in (world.home / "calls.jsonl").read_text()
    assert auth not in (world.home / "calls.jsonl").read_text()


def test_the_credentials_are_gone_after_a_failed_pull_too(world: World) -> None:
    world.set(pull_errors={"backend:1.1.0": "Error response from daemon: unauthorized: authentication required"})
    with pytest.raises(Failure):
        ensure(world, registry="r.example", registry_user="ann")
    assert list(world.config.run.glob("docker-*")) == []


def test_credentials_a_kill_left_behind_are_removed_by_the_next_pull(world: World) -> None:
    (world.config.run / "docker-stale").mkdir()
    (world.config.run / "docker-stale/config.json").write_text("{}")
    ensure(world, registry="r.example", registry_user="ann")
    assert list(world.config.run.glob("docker-*")) == []


@pytest.mark.parametrize(
    ("image", "said", "cause"),
    [
        ("r.example/a:1", "Error response from daemon: unauthorized: authentication required",
         "r.example refuses the user or password"),
        ("r.example/a:1", 'Get "https://r.example/v2/": no basic auth credentials',
         "r.example wants a user and a password"),
        ("r.example/a:9", "manifest for r.example/a:9 not found: manifest unknown: manifest unknown",
         "r.example has no such tag"),
        ("team/a:1", "pull access denied for team/a, repository does not exist or may require 'docker login'",
         "Docker Hub has no such image, or it is private"),
        ("r.exmple/a:1", "dial tcp: lookup r.exmple on 10.0.0.1:53: no such host",
         "the name of r.exmple cannot be resolved"),
        ("nginx:1", "toomanyrequests: You have reached your pull rate limit",
         "Docker Hub limits how often this host may pull"),
        ("nginx:1", "failed to register layer: write /usr/x: no space left on device", "no space left on the disk"),
        ("r:5000/a:1", 'Get "https://r:5000/v2/": http: server gave HTTP response to HTTPS client',
         "r:5000 speaks plain http"),
        ("r:5000/a:1", "x509: certificate signed by unknown authority", "the certificate of r:5000 is not trusted"),
        ("nginx:1", "something nobody has seen", "something nobody has seen"),
    ],
)  # fmt: skip
def test_why_an_image_cannot_be_pulled_is_said_in_one_line_with_what_to_do(image: str, said: str, cause: str) -> None:
    failure = images.explain(image, said)
    assert failure.cause == f"image {image} cannot be pulled: {cause}"
    assert failure.hint


def test_a_passing_trouble_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.time, "sleep", lambda _seconds: world.set(pull_errors={}))
    world.set(pull_errors={"backend:1.1.0": "net/http: TLS handshake timeout"})
    ensure(world)
    assert len(world.calls("docker pull backend")) == 2


SENT, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def ensure_sent(world: World, pin: dict[str, str | None], image: str = "backend:1.1.0") -> None:
    """Have the images of a release whose backend is pinned."""
    backend = {"image": image, "reference": "backend:1.1.0", "pin": pin, "user": "65532:65532", "config": [],
               "secrets": [], "check": None, "reload": None, "healthcheck": False}  # fmt: skip
    spec = world.spec(1, services={"backend": backend})
    world.receive(spec)
    with Journal().step("images", "") as step:
        images.ensure(world.config, releases.load(world.config, spec.id), step)


def here(world: World, **ids: str) -> None:
    """Everything is here; `ids` of what came without a registry, by the name of its tag."""
    world.set(images=["nginx:1", "postgres:17", *(["backend:1.1.0"] if "backend" in ids else [])],
              ids={{"backend": "backend:1.1.0"}.get(name, name): value for name, value in ids.items()})  # fmt: skip


def test_an_image_that_was_sent_and_whose_tag_stands_for_it_is_left_alone(world: World) -> None:
    here(world, backend=SENT)
    ensure_sent(world, {"digest": None, "id": SENT})
    assert world.calls("docker tag") == world.calls("docker pull") == []


def test_a_tag_that_stands_for_another_image_since_stands_for_the_one_of_the_release_again(world: World) -> None:
    here(world, backend=OTHER, older=SENT)
    ensure_sent(world, {"digest": None, "id": SENT})
    assert world.calls("docker tag") == [f"docker tag {SENT} backend:1.1.0"]
    assert world.calls("docker pull") == []


def test_a_tag_that_is_gone_is_made_again_and_not_pulled(world: World) -> None:
    here(world, older=SENT)
    ensure_sent(world, {"digest": None, "id": SENT})
    assert world.get()["ids"]["backend:1.1.0"] == SENT
    assert world.calls("docker pull") == []


@pytest.mark.parametrize("ids", [{}, {"backend": OTHER}], ids=["nothing", "another of that name"])
def test_an_image_that_was_sent_and_is_gone_is_not_replaced_by_one_of_that_name(
    world: World, ids: dict[str, str]
) -> None:
    here(world, **ids)
    with pytest.raises(Failure, match=r"image backend:1\.1\.0 is not here as it was sent") as caught:
        ensure_sent(world, {"digest": None, "id": SENT})
    assert "fab images.push" in caught.value.hint
    assert world.calls("docker tag") == world.calls("docker pull") == []


@pytest.mark.parametrize("known", [None, SENT], ids=["digest", "digest and id"])
def test_an_image_with_a_digest_is_pulled_by_that_whatever_the_tag_stands_for(world: World, known: str | None) -> None:
    here(world, backend=OTHER)
    ensure_sent(world, {"digest": SENT, "id": known}, f"backend:1.1.0@{SENT}")
    assert world.calls("docker pull") == [f"docker pull backend:1.1.0@{SENT}"]
    assert world.calls("docker tag") == []
