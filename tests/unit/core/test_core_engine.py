"""Docker on the workstation: what is asked of it, and what is said when it cannot."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.core import engine
from tasks.core.errors import InfraError, UsageError

DOCKER = """#!{python} -SE
import json, pathlib, sys, time
home = pathlib.Path(sys.argv[0]).parent
with (home / "calls").open("a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
answer = json.loads((home / "answers.json").read_text())[sys.argv[1]]
sys.stdout.write(answer.get("out", ""))
sys.stdout.flush()
sys.stderr.write(answer.get("err", ""))
sys.stderr.flush()
time.sleep(answer.get("sleep", 0))
sys.exit(answer.get("status", 0))
"""
IMAGE = {
    "Id": "sha256:1", "Os": "linux", "Architecture": "arm64", "RootFS": {"Layers": ["sha256:a", "sha256:b"]},
    "Config": {"Volumes": {"/data": {}, "/cache": {}}},
}  # fmt: skip


class Docker:
    def __init__(self, home: Path) -> None:
        self.home = home

    def answers(self, word: str, out: str = "", **more: Any) -> None:
        (self.home / "docker").write_text(DOCKER.format(python=sys.executable))
        (self.home / "docker").chmod(0o755)
        (self.home / "answers.json").write_text(json.dumps({word: {"out": out, **more}}))

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.home / "calls").read_text().splitlines()]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Docker(tmp_path)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path / "source"


def test_without_docker_it_is_said_what_to_install(docker: Docker, context: Path) -> None:
    for attempt in (
        engine.about,
        lambda: engine.inspect(["a:1"]),
        lambda: engine.build("a:1", context, None, print),
        lambda: engine.saving(["a:1"]).__enter__(),
    ):
        with pytest.raises(UsageError, match=r"docker is not installed here.*install it"):
            attempt()


@pytest.mark.parametrize(
    ("status", "machine", "expected"),
    [
        ([["Backing Filesystem", "extfs"]], "x86_64", engine.Engine("classic", "amd64")),
        ([["driver-type", "io.containerd.snapshotter.v1"]], "aarch64", engine.Engine("containerd", "arm64")),
        (None, "riscv64", engine.Engine("classic", "riscv64")),
    ],
)
def test_store_and_architecture_are_found_out(
    docker: Docker, status: object, machine: str, expected: engine.Engine
) -> None:
    docker.answers("info", json.dumps({"ServerVersion": "26", "DriverStatus": status, "Architecture": machine}))
    assert engine.about() == expected


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
         "Docker here is not running"),
        ("permission denied while trying to connect to the Docker daemon", "no permission to talk to Docker here"),
    ],
)  # fmt: skip
def test_an_engine_that_does_not_answer_is_named(docker: Docker, said: str, cause: str) -> None:
    docker.answers("info", json.dumps({"ServerErrors": [said]}))
    with pytest.raises(InfraError, match=cause):
        engine.about()
    docker.answers("image", err=said, status=1)
    with pytest.raises(InfraError, match=cause):
        engine.inspect(["a:1"])


def test_an_image_is_described_and_an_absent_one_left_out(docker: Docker) -> None:
    docker.answers("image", json.dumps([IMAGE]))
    assert engine.inspect(["a:1"]) == {
        "a:1": engine.LocalImage("a:1", "sha256:1", ("sha256:a", "sha256:b"), "linux/arm64", ("/cache", "/data"))
    }
    docker.answers("image", "[]", err="Error response from daemon: No such image: a:1", status=1)
    assert engine.inspect(["a:1"]) == {}


def test_an_image_without_layers_or_volumes_is_one(docker: Docker) -> None:
    docker.answers("image", json.dumps([{**IMAGE, "RootFS": {"Layers": None}, "Config": None}]))
    assert engine.inspect(["a:1"])["a:1"].layers == ()


@pytest.mark.parametrize(("platform", "words"), [(None, []), ("linux/arm64", ["--platform", "linux/arm64"])])
def test_a_build_is_tagged_for_the_platform_and_its_output_shown(
    docker: Docker, context: Path, platform: str | None, words: list[str]
) -> None:
    docker.answers("build", "Step 1/1\n\nDone\n")
    lines: list[str] = []
    engine.build("a:1", context, platform, lines.append)
    assert lines == ["Step 1/1", "Done"]
    assert docker.calls == [["build", "--tag", "a:1", *words, str(context)]]


def test_a_failed_build_ends_with_its_last_line(docker: Docker, context: Path) -> None:
    docker.answers("build", "Step 1/2\n", err="failed to solve: no such file\n", status=1)
    lines: list[str] = []
    with pytest.raises(InfraError, match="a:1 could not be built: failed to solve: no such file"):
        engine.build("a:1", context, None, lines.append)
    assert lines == ["Step 1/2", "failed to solve: no such file"]


def test_a_directory_without_a_dockerfile_is_refused_before_anything_is_started(docker: Docker, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no Dockerfile"):
        engine.build("a:1", tmp_path, None, print)


def test_a_docker_without_its_builder_says_what_to_install(docker: Docker, context: Path) -> None:
    docker.answers("build", err="ERROR: BuildKit is enabled but the buildx component is missing or broken.\n", status=1)
    with pytest.raises(InfraError, match="docker-buildx-plugin"):
        engine.build("a:1", context, None, lambda _line: None)


def test_a_save_is_a_stream(docker: Docker) -> None:
    docker.answers("save", "x" * 200_000)
    with engine.saving(["a:1", "b:1"]) as stream:
        assert stream.read() == b"x" * 200_000
    assert docker.calls == [["save", "a:1", "b:1"]]


def test_a_save_that_nobody_reads_on_is_ended(docker: Docker) -> None:
    docker.answers("save", "x" * 100, sleep=60)
    began = time.monotonic()
    with engine.saving(["a:1"]) as stream:
        assert stream.read(10) == b"x" * 10
    assert time.monotonic() - began < 10


def test_a_save_that_fails_says_why(docker: Docker) -> None:
    docker.answers("save", err="Error response from daemon: reference does not exist\n", status=1)
    with pytest.raises(InfraError, match="reference does not exist"), engine.saving(["a:1"]):
        raise AssertionError("nothing was saved")
