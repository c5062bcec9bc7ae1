"""What goes wrong is told in one line, and the site serves on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.test_05_changes import visit
from tests.e2e.world import APP, SITE, Project, Watch, containers, current, inside, touched, wait_until


@pytest.fixture
def settings(project: Project, deployed: Watch) -> Iterator[Project]:
    """The checkout, its settings put back and deployed again afterwards."""
    saved = project.env_file.read_text()
    yield project
    if project.env_file.read_text() != saved:
        project.env_file.write_text(saved)
        project.fab("deploy", "-H", "lab", "--yes")


def busy() -> dict[str, str] | None:
    holder: dict[str, str] | None = json.loads(inside(f"/usr/local/bin/{APP}", "status"))["busy"]
    return holder


def test_a_version_that_never_becomes_healthy_leaves_the_old_one_serving(settings: Project) -> None:
    release, before = current(), visit(f"https://{SITE}/health").headers["x-app-version"]
    settings.set(BACKEND_IMAGE="lab-registry:5001/maicivy/backend:2.0.0-broken", HEALTH_TIMEOUT="40")
    done = settings.fab("deploy", "-H", "lab", "--yes", expect=9)
    assert "backend" in done.stderr.strip().splitlines()[-1], "the last line names the service"
    logs = in_container_logs_of_the_broken_version(done.stdout + done.stderr)
    assert logs, "the container's last lines are shown"
    assert current() == release
    assert visit(f"https://{SITE}/health/deep").status == 200
    assert visit(f"https://{SITE}/health").headers["x-app-version"] == before


def in_container_logs_of_the_broken_version(output: str) -> list[str]:
    return [line for line in output.splitlines() if "2.0.0-broken" in line and "{" in line]


def test_an_image_that_does_not_exist_is_named_before_anything_is_touched(settings: Project) -> None:
    before = containers()
    settings.set(BACKEND_IMAGE="lab-registry:5001/maicivy/backend:9.9.9")
    done = settings.fab("deploy", "-H", "lab", "--yes", expect=12)
    assert "maicivy/backend:9.9.9" in done.stderr
    assert touched(before) == {}


def test_a_wrong_registry_password_is_said_to_be_one_and_stays_secret(settings: Project) -> None:
    settings.set(BACKEND_IMAGE="lab-registry:5001/maicivy/backend:1.1.0", REGISTRY_PASSWORD="wrong-password-987")
    inside("sh", "-c", "docker rmi lab-registry:5001/maicivy/backend:1.1.0 || test $? = 1")
    done = settings.fab("deploy", "-H", "lab", "--yes", expect=12)
    assert "REGISTRY_PASSWORD" in done.stderr
    assert "wrong-password-987" not in done.stdout + done.stderr


@pytest.mark.parametrize("how", ["connection cut", "fab killed"])
def test_a_deploy_goes_on_without_us_and_the_next_one_is_content(settings: Project, how: str) -> None:
    settings.set(BACKEND_ENV_ROUND=how)
    deploy = settings.start("deploy", "-H", "lab", "--yes")
    try:
        wait_until("the host at work", busy, seconds=60)
        if how == "fab killed":
            os.killpg(deploy.pid, signal.SIGKILL)
        else:
            # every session of sshd dies, as when the network goes; the listener stays
            inside("sh", "-c", "pkill -KILL -f '^sshd-session: ' || pkill -KILL -f '^sshd: .*@'")
        output, _ = deploy.communicate(timeout=60)
    finally:
        if deploy.poll() is None:
            os.killpg(deploy.pid, signal.SIGKILL)
    if how == "connection cut":
        assert deploy.returncode == 6, output
        assert "the host goes on without us" in output
    wait_until("the host done", lambda: not busy(), seconds=180)
    assert visit(f"https://{SITE}/health/deep").status == 200
    done = settings.fab("deploy", "-H", "lab", "--yes")
    assert "nothing to do" in done.stdout
    assert settings.json("health", "-H", "lab")["ok"] is True


def test_a_host_program_killed_at_work_leaves_the_stack_running_and_the_next_deploy_succeeds(settings: Project) -> None:
    settings.set(BACKEND_ENV_ROUND="unit killed")
    deploy = settings.start("deploy", "-H", "lab", "--yes")
    holder = wait_until("the host at work", busy, seconds=60)
    inside("systemctl", "kill", "--signal=KILL", holder["unit"])
    output, _ = deploy.communicate(timeout=60)
    assert deploy.returncode == 12, output
    assert "Traceback" not in output
    assert visit(f"https://{SITE}/health").status != 0, "nginx answers, whatever the backend does"
    settings.fab("deploy", "-H", "lab", "--yes")
    assert settings.json("health", "-H", "lab")["ok"] is True


def test_what_a_killed_compose_left_half_made_does_not_stand_in_the_way(settings: Project) -> None:
    """Compose makes the new container as <old id>_<name>; killed then, it can never again make one of that name."""
    old = containers()["backend"][0]
    labels = {"project": APP, "service": "backend", "oneoff": "False", "container-number": "1"}
    flags = [word for key, value in labels.items() for word in ("--label", f"com.docker.compose.{key}={value}")]
    image = inside("docker", "inspect", "-f", "{{.Config.Image}}", old).strip()
    inside("docker", "create", "--name", f"{old[:12]}_{APP}-backend-1", *flags, image)
    settings.set(BACKEND_ENV_ROUND="after a killed Compose")
    settings.fab("deploy", "-H", "lab", "--yes")
    assert "_" not in inside("docker", "ps", "-a", "--format", "{{.Names}}")
    assert settings.json("health", "-H", "lab")["ok"] is True


def test_two_deploys_at_once_do_not_run_into_each_other(settings: Project) -> None:
    settings.set(BACKEND_ENV_ROUND="first of two")
    first = settings.start("deploy", "-H", "lab", "--yes")
    wait_until("the first at work", busy, seconds=60)
    second = settings.fab("deploy", "-H", "lab", "--yes", expect=None)
    output, _ = first.communicate(timeout=180)
    assert first.returncode == 0, output
    assert second.returncode == 8, second.stdout + second.stderr
    assert "deploy of" in second.stderr, "the holder is named"


def test_a_full_disk_is_said_to_be_one_and_nothing_is_lost(settings: Project) -> None:
    releases = f"/opt/{APP}/releases"
    before, release = containers(), current()
    kept = inside("sh", "-c", f"cp -a {releases} /opt/{APP}/releases.kept && echo kept").strip()
    assert kept == "kept"
    # a small file system in its place that holds what is there and hardly more
    inside("mount", "-t", "tmpfs", "-o", "size=1200k,mode=700", "tmpfs", releases)
    try:
        inside(
            "sh",
            "-c",
            f"cp -a /opt/{APP}/releases.kept/{release} {releases}/ && head -c 2M /dev/zero > {releases}/fill || true",
        )
        settings.set(BACKEND_ENV_ROUND="disk full")
        done = settings.fab("deploy", "-H", "lab", "--yes", expect=12)
        assert "space" in done.stderr or "full" in done.stderr
        assert inside("sh", "-c", f"ls -A {releases}").split() == sorted([release, "fill"])
    finally:
        inside("umount", releases)
        inside("rm", "-rf", f"/opt/{APP}/releases.kept")
    assert touched(before) == {}
    assert current() == release


def test_a_frozen_host_is_noticed_within_fifteen_seconds(project: Project, deployed: Watch) -> None:
    import subprocess

    from tests.e2e.world import HOST

    health = project.start("health", "-H", "lab")
    time.sleep(0.3)
    subprocess.run(["docker", "pause", HOST], check=True, capture_output=True)
    try:
        began = time.monotonic()
        output, _ = health.communicate(timeout=60)
        took = time.monotonic() - began
    finally:
        subprocess.run(["docker", "unpause", HOST], check=True, capture_output=True)
    assert health.returncode in (3, 6, 7), output
    assert took < 20, "15 s for the dead peer, and what fab needs to start"
    assert "Traceback" not in output
