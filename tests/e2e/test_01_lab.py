"""The lab: a whole bare host, quickly there, known by its key."""

from __future__ import annotations

import json
import subprocess
import time

from tests.e2e.world import FAB, HOST, ROOT, Project, inside


def test_a_running_lab_is_up_again_within_three_seconds(lab: None) -> None:
    began = time.monotonic()
    subprocess.run([FAB, "lab.up"], cwd=ROOT, check=True, capture_output=True, timeout=60)
    assert time.monotonic() - began < 3


def test_status_tells_what_there_is(lab: None) -> None:
    done = subprocess.run([FAB, "lab.status", "--json"], cwd=ROOT, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["up"] is True
    assert [host["container"] for host in found["hosts"]] == [HOST]


def test_the_host_is_bare(lab: None) -> None:
    assert inside("sh", "-c", "command -v docker python3 ufw certbot; true").strip() == ""
    assert inside("systemctl", "is-system-running").strip() == "running"


def test_a_deploy_to_a_bare_host_is_refused_and_says_what_to_do(project: Project) -> None:
    if inside("sh", "-c", "command -v docker; true").strip():
        raise AssertionError("this test must run before the host is set up")
    done = project.fab("deploy", "-H", "lab", "--yes", expect=11)
    assert "fab setup -H lab" in done.stderr
    assert "Traceback" not in done.stderr
