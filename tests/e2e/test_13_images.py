"""Images without a registry: sent over the SSH connection, layer by layer as the host lacks them, and deployed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.world import (
    APP,
    SITE,
    Project,
    audit,
    busy,
    containers,
    current,
    inside,
    manifest,
    touched,
    visit,
    wait_until,
)
from tests.lab.docker import docker, environment

BASE = "lab/backend-1.0.0"  # its layers are on the host: they came from the registry with the first deploy
PUSHED = "lab-push-test:1"
LARGE = "lab-push-test:large"
LOCAL = "maicivy-local/backend"  # a name no registry has
MEGABYTE = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def cleaned() -> Iterator[None]:
    """Nothing of this is left afterwards, here or there."""
    yield
    tags = [PUSHED, LARGE, *(f"{LOCAL}:{version}" for version in ("3.0.0", "3.1.0"))]
    for tag in tags:
        docker("image", "rm", tag, check=False)
    for tag in (PUSHED, LARGE):
        inside("docker", "image", "rm", tag, check=False)


def build(directory: Path, tag: str, **files: bytes) -> str:
    """An image of BASE with these files, each a layer of its own; returns its id."""
    for name, content in files.items():
        (directory / name).write_bytes(content)
    copies = "".join(f"COPY {name} /{name}\n" for name in files)
    (directory / "Dockerfile").write_text(f"FROM {BASE}\n{copies}")
    docker("build", "--quiet", "--tag", tag, str(directory))
    return id_here(tag)


def id_here(tag: str) -> str:
    return docker("image", "inspect", "--format", "{{.Id}}", tag)


def id_there(tag: str) -> str:
    return inside("docker", "image", "inspect", "--format", "{{.Id}}", tag, check=False).strip()


def push(project: Project, tag: str) -> Any:
    return project.json("images.push", "-H", "lab", "--images", tag)


def test_only_layers_the_host_lacks_are_sent(ground: Project, tmp_path: Path) -> None:
    noise = os.urandom(2 * MEGABYTE)
    before = containers()
    first = build(tmp_path, PUSHED, noise=noise, note=b"one")
    done = push(ground, PUSHED)
    assert id_there(PUSHED) == first
    assert done["sent"] == [PUSHED]
    assert 2 * MEGABYTE < done["layers"] < 2.1 * MEGABYTE, "the layers of its base, 10 MB, are there"
    assert done["wire"] < 2.2 * MEGABYTE

    second = build(tmp_path, PUSHED, noise=noise, note=b"two")
    done = push(ground, PUSHED)
    assert id_there(PUSHED) == second != first
    assert done["layers"] < 10_000, "one small layer has changed"
    assert done["wire"] < 20_000

    done = push(ground, PUSHED)
    assert (done["sent"], done["wire"]) == ([], 0)
    assert "nothing to send" in ground.fab("images.push", "-H", "lab", "--images", PUSHED).stdout
    assert touched(before) == {}, "no container has noticed"


def test_an_image_that_is_not_here_is_said_to_be_so_in_one_line(ground: Project) -> None:
    done = ground.fab("images.push", "-H", "lab", "--images", "no-such/image:1", expect=2)
    assert "not among the images here: no-such/image:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_transfer_that_is_cut_off_leaves_nothing_and_can_be_repeated(ground: Project, tmp_path: Path) -> None:
    made = build(tmp_path, LARGE, noise=os.urandom(150 * MEGABYTE))
    process = ground.start("images.push", "-H", "lab", "--images", LARGE)
    wait_until("loading", lambda: inside("pgrep", "-f", "docker load", check=False), seconds=60, every=0.05)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until("the lock is free", lambda: busy() is None, seconds=30)
    assert id_there(LARGE) == ""
    assert inside("pgrep", "-f", "docker load", check=False) == ""
    assert inside("sh", "-c", "ls -d /var/lib/docker/tmp/docker-import-* 2>/dev/null", check=False) == ""
    assert (audit()[-1]["what"], audit()[-1]["result"]) in (("images", "failed"), ("images", "interrupted"))
    push(ground, LARGE)
    assert id_there(LARGE) == made
    assert (audit()[-1]["what"], audit()[-1]["result"]) == ("images", "done")


def test_a_foreign_stream_is_refused_and_changes_no_tag(ground: Project) -> None:
    tag = inside("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "nginx").split()[0]
    before = id_there(tag)
    said = inside(f"/usr/local/bin/{APP}", "load", f"{tag}={before}", stdin="no tar\n" * 1000, check=False)
    last = json.loads(said.splitlines()[-1])
    assert (last["event"], last["data"]["status"]) == ("failed", 12)
    assert "nothing was taken in" in last["data"]["cause"]
    assert id_there(tag) == before


def served(project: Project, version: str) -> None:
    """The site is served by that version, which is pinned by its id; and there is nothing left to do."""
    assert visit(f"https://{SITE}/health").headers["x-app-version"] == version
    service = manifest(current())["services"]["backend"]
    assert service["reference"] == f"{LOCAL}:{version}"
    assert service["pin"] == {"digest": None, "id": id_here(f"{LOCAL}:{version}")}
    assert project.json("plan", "-H", "lab")["empty"] is True


def test_an_image_that_was_pushed_is_deployed_although_no_registry_has_it(ground: Project, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nENV APP_VERSION=3.0.0\n")
    docker("build", "--quiet", "--tag", f"{LOCAL}:3.0.0", str(tmp_path))
    ground.set(BACKEND_IMAGE=f"{LOCAL}:3.0.0")
    ground.fab("images.push", "-H", "lab", "--images", f"{LOCAL}:3.0.0")
    before = containers()
    ground.fab("deploy", "-H", "lab", "--yes")
    assert touched(before) == {"backend": "switched"}
    served(ground, "3.0.0")


def test_deploy_build_builds_sends_and_switches(ground: Project) -> None:
    source = ground.root / "backend"
    source.mkdir(exist_ok=True)
    (source / "Dockerfile").write_text(f"FROM {BASE}\nENV APP_VERSION=3.1.0\nLABEL lab.built=here\n")
    ground.set(BACKEND_IMAGE=f"{LOCAL}:3.1.0", BACKEND_BUILD=str(source))
    before = containers()
    done = ground.fab("deploy", "-H", "lab", "--build", "--yes", env=environment())
    assert f"build: {LOCAL}:3.1.0" in done.stdout
    assert touched(before) == {"backend": "switched"}
    served(ground, "3.1.0")


def test_a_build_that_fails_changes_nothing(ground: Project) -> None:
    source = ground.root / "backend"
    (source / "Dockerfile").write_text(f"FROM {BASE}\nCOPY no-such-file /\n")
    before, release = containers(), current()
    done = ground.fab("deploy", "-H", "lab", "--build", "--yes", expect=1, env=environment())
    assert f"{LOCAL}:3.1.0 could not be built" in done.stderr
    assert "Traceback" not in done.stderr
    assert (touched(before), current()) == ({}, release)
