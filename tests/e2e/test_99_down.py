"""`lab.down` leaves nothing behind."""

from __future__ import annotations

import subprocess

from tests.e2e.world import FAB, ROOT


def docker(*words: str) -> list[str]:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.split()


def test_nothing_is_left_behind(lab: None) -> None:
    subprocess.run([FAB, "lab.down"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    assert [name for name in docker("ps", "-a", "--format", "{{.Names}}") if name.startswith("lab-")] == []
    assert "lab" not in docker("network", "ls", "--format", "{{.Name}}")
    assert [name for name in docker("volume", "ls", "--format", "{{.Name}}") if name.startswith("lab-")] == []
    assert not (ROOT / ".lab" / "ssh_config").exists()
    assert not (ROOT / ".lab" / "env").exists()


def test_a_lab_that_is_not_up_is_said_to_be_so(lab: None) -> None:
    done = subprocess.run(
        [FAB, "health", "-H", "lab"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert "fab lab.up" in done.stderr
