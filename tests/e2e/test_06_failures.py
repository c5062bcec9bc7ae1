"""What goes wrong is told in one line, and the site serves on."""

from __future__ import annotations

import subprocess
import time

from tests.e2e.world import APP, HOST, Project, Watch, containers, inside, touched


def test_an_image_that_does_not_exist_is_named_before_anything_is_touched(restored: Project) -> None:
    before = containers()
    restored.set(BACKEND_IMAGE="lab-registry:5001/maicivy/backend:9.9.9")
    done = restored.fab("deploy", "-H", "lab", "--yes", expect=12)
    assert "maicivy/backend:9.9.9" in done.stderr
    assert touched(before) == {}


def test_a_wrong_registry_password_is_said_to_be_one_and_stays_secret(restored: Project) -> None:
    restored.set(BACKEND_IMAGE="lab-registry:5001/maicivy/backend:1.1.0", REGISTRY_PASSWORD="wrong-password-987")
    inside("sh", "-c", "docker rmi lab-registry:5001/maicivy/backend:1.1.0 || test $? = 1")
    done = restored.fab("deploy", "-H", "lab", "--yes", expect=12)
    assert "REGISTRY_PASSWORD" in done.stderr
    assert "wrong-password-987" not in done.stdout + done.stderr


def test_what_a_killed_compose_left_half_made_does_not_stand_in_the_way(restored: Project) -> None:
    """Compose makes the new container as <old id>_<name>; killed then, it can never again make one of that name."""
    old = containers()["prometheus"][0]
    labels = {"project": APP, "service": "prometheus", "oneoff": "False", "container-number": "1"}
    flags = [word for key, value in labels.items() for word in ("--label", f"com.docker.compose.{key}={value}")]
    image = inside("docker", "inspect", "-f", "{{.Config.Image}}", old).strip()
    inside("docker", "create", "--name", f"{old[:12]}_{APP}-prometheus-1", *flags, image)
    restored.set(PROMETHEUS_RETENTION="14d")
    planned = restored.json("plan", "-H", "lab")["services"]
    assert {change["service"]: change["action"] for change in planned} == {"prometheus": "recreate"}
    restored.fab("deploy", "-H", "lab", "--yes")
    assert "_" not in inside("docker", "ps", "-a", "--format", "{{.Names}}")
    assert restored.json("health", "-H", "lab")["ok"] is True


def test_a_frozen_host_is_noticed_within_fifteen_seconds(project: Project, deployed: Watch) -> None:
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
