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
