"""Several hosts at once: in parallel, told apart, and the failed ones named."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.world import FAB, ROOT, Project, Watch


@pytest.fixture(scope="module")
def two(deployed: Watch, project: Project) -> Project:
    """A second host, bare, beside the first."""
    subprocess.run([FAB, "lab.up", "--hosts", "2"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    for name in ("ssh_config", "known_hosts"):
        (project.root / ".lab" / name).write_text((ROOT / ".lab" / name).read_text())
    return project


def test_each_line_says_whose_it_is_and_the_end_names_the_failed(two: Project) -> None:
    done = two.fab("health", "-H", "lab,lab2", expect=11)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert [line for line in lines if not line.startswith(("[lab] ", "[lab2] ", "1 of 2 hosts failed: lab2"))] == []
    assert any(line.startswith("[lab] lab: healthy") or "[lab] lab: healthy" in line for line in lines)
    assert "1 of 2 hosts failed: lab2 (exit 11)" in done.stderr


def test_json_is_one_document_by_host(two: Project) -> None:
    document = two.json("health", "-H", "lab,lab2", expect=11)
    assert document["lab"]["ok"] is True
    assert "fab setup" in document["lab2"]["hint"]


def test_hosts_are_worked_on_at_the_same_time(two: Project) -> None:
    plan = two.json("setup", "-H", "lab,lab2", "--dry-run")
    assert plan["lab"]["steps"] == []
    assert "packages" in [step["name"] for step in plan["lab2"]["steps"]]
