"""The host comes back by itself: after a reboot and after a power cut."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.world import HOST, Project, Watch, inside, sql, wait_until

ROWS = "SELECT count(*) FROM promises"


@pytest.mark.parametrize(
    ("how", "commands"),
    [("reboot", [["restart", "-t", "60"]]), ("power cut", [["kill"], ["start"]])],
)
def test_everything_is_healthy_again_without_us(
    project: Project, deployed: Watch, how: str, commands: list[list[str]]
) -> None:
    sql("CREATE TABLE IF NOT EXISTS promises (made text)")
    sql(f"INSERT INTO promises VALUES ('{how}')")
    kept = sql(ROWS)
    before = inside("cat", "/proc/1/stat").split()[21]
    for command in commands:
        subprocess.run(["docker", *command, HOST], check=True, capture_output=True, timeout=120)
    assert inside("cat", "/proc/1/stat").split()[21] != before, "it really was another boot"

    def healthy() -> bool:
        return project.fab("health", "-H", "lab", expect=None).returncode == 0

    wait_until(f"healthy after the {how}", healthy, seconds=180, every=5)
    assert sql(ROWS) == kept
    assert project.json("plan", "-H", "lab")["empty"] is True
    assert "Status: active" in inside("ufw", "status")
