"""The doctor: content with a host that is well, and naming each thing that is not, with what to type."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Any

import pytest

from tests.e2e.world import APP, FAB, ROOT, Project, Watch, inside, wait_until
from tests.lab.names import container

HOST = container(3)
SETUP = "fab setup -H lab3"

# how to break it by hand, and what the finding is called
BROKEN = {
    "systemctl disable --now certbot.timer": "units",
    f"chmod 0777 /opt/{APP}/shared/state": "directories",
    "ufw delete allow 80/tcp": "firewall",
    "ufw disable": "firewall",
    f"echo '// by hand' >>/etc/apt/apt.conf.d/52{APP}-upgrades": "upgrades",
    f"rm /etc/published-ports/{APP}": "published-ports",
    f"sed -i 's/500M/900M/' /etc/systemd/journald.conf.d/60-{APP}.conf": "journal",
    f"chmod 0700 /usr/local/bin/{APP}": "program",
    f"rm /etc/sudoers.d/{APP}-deploy": "sudo",
    "rm ~deploy/.ssh/authorized_keys": "key",
}


def errors(report: Any) -> dict[str, dict[str, str]]:
    """The errors by name; of several with one name the last."""
    return {finding["name"]: finding for finding in report["findings"] if finding["grade"] == "error"}


@pytest.fixture(scope="module")
def third(project: Project) -> Project:
    """A host that nobody else uses, bare at first."""
    if not os.environ.get("LAB_REUSE"):
        subprocess.run([FAB, "lab.up", "--hosts", "3"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    for name in ("ssh_config", "known_hosts"):
        (project.root / ".lab" / name).write_text((ROOT / ".lab" / name).read_text())
    return project


@pytest.fixture(scope="module")
def set_up(third: Project) -> Project:
    third.fab("setup", "-H", "lab3", "--yes", timeout=900)
    return third


def test_a_bare_host_needs_what_setup_would_do_and_then_nothing(third: Project) -> None:
    plan = [step["name"] for step in third.json("setup", "-H", "lab3", "--dry-run")["steps"]]
    assert "packages" in plan  # else this proves nothing
    found = errors(third.json("doctor", "-H", "lab3", expect=9))
    assert sorted(found) == sorted(plan)
    [fix] = {finding["fix"] for finding in found.values()}
    third.fab(*shlex.split(fix)[1:], "--yes", timeout=900)  # what it says is typed as it stands
    assert third.json("setup", "-H", "lab3", "--dry-run")["steps"] == []
    after = third.json("doctor", "-H", "lab3")
    assert (after["ok"], errors(after)) == (True, {})
    assert [f["fix"] for f in after["findings"] if f["name"] == "release"] == ["fab deploy -H lab3"]


def test_whatever_is_broken_is_named_with_its_fix_and_the_fix_mends_it(set_up: Project) -> None:
    """All at once: one setup mends them, and each has a finding of its own."""
    assert errors(set_up.json("doctor", "-H", "lab3")) == {}
    for command in BROKEN:
        inside("sh", "-c", command, host=HOST)
    found = errors(set_up.json("doctor", "-H", "lab3", expect=9))
    assert {name: found[name]["fix"] for name in BROKEN.values()} == dict.fromkeys(BROKEN.values(), SETUP)
    set_up.fab(*shlex.split(SETUP)[1:], "--yes")
    assert set_up.json("setup", "-H", "lab3", "--dry-run")["steps"] == []
    assert errors(set_up.json("doctor", "-H", "lab3")) == {}


def test_a_port_that_was_opened_by_hand_is_found_from_outside_and_on_the_host(set_up: Project) -> None:
    inside("sh", "-c", "ufw allow 6379/tcp", host=HOST)
    listener = "import socket, time; stray = socket.create_server(('', 6379)); time.sleep(600)"
    inside("systemd-run", "--unit=stray", "python3", "-c", listener, host=HOST)
    try:
        wait_until("something listens", lambda: inside("ss", "-Hltn", "sport = :6379", host=HOST))
        report = set_up.json("doctor", "-H", "lab3", expect=9)
        assert errors(report)["port 6379"]["fix"] == "fab firewall.status -H lab3"
        assert "6379/tcp" in errors(report)["firewall"]["what"]
    finally:
        inside("sh", "-c", "systemctl stop stray; ufw delete allow 6379/tcp", host=HOST)
    assert errors(set_up.json("doctor", "-H", "lab3")) == {}


def test_for_a_person_each_fix_stands_below_what_it_mends(set_up: Project) -> None:
    inside("systemctl", "disable", "certbot.timer", host=HOST)
    lines = set_up.fab("doctor", "-H", "lab3", expect=9).stdout.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("error") and "certbot.timer" in line]
    assert lines[at + 1].strip() == f"fix: {SETUP}"
    assert lines[-1].startswith("lab3: 1 error, ")
    set_up.fab("setup", "-H", "lab3", "--yes")


def test_settings_that_cannot_be_used_are_told_without_asking_a_host(third: Project) -> None:
    file = third.root / ".lab" / "env.unfinished"
    file.write_text(third.env_file.read_text() + "ACME_EMIAL=x\n")
    file.chmod(0o600)
    try:
        [problem] = errors(third.json("doctor", "-H", "lab3", "--env", "unfinished", expect=9)).values()
        assert problem["name"] == "settings"
        assert "ACME_EMAIL" in problem["what"]
        assert "secrets.check" in problem["fix"]
    finally:
        file.unlink()


def test_what_can_be_seen_from_here_is_told_when_the_host_cannot_be_reached(third: Project) -> None:
    report = third.json("doctor", "-H", "lab3:2222", expect=3)
    assert {"login", "port 2222"} == errors(report).keys()
    assert {"settings", "Python", "libraries", "key"} <= {finding["name"] for finding in report["findings"]}


def test_a_host_that_is_well_has_no_error(project: Project, deployed: Watch) -> None:
    report = project.json("doctor", "-H", "lab")
    assert report["ok"] is True
    assert errors(report) == {}
    names = {finding["name"] for finding in report["findings"]}
    assert {
        "settings",
        "libraries",
        "key",
        "port 22",
        "port 443",
        "https /",
        "certificate",
        "firewall",
        "setup",
        "host program",
    } <= names


def test_a_file_that_was_changed_by_hand_and_a_stopped_container_are_named(project: Project, deployed: Watch) -> None:
    path = f"/opt/{APP}/live/nginx/pages/ok.txt"
    inside("sh", "-c", f"echo changed >>{path} && docker stop {APP}-node-exporter-1")
    found = errors(project.json("doctor", "-H", "lab", expect=9))
    assert "nginx/pages/ok.txt" in found["drift"]["what"]
    assert "exited" in found["container node-exporter"]["what"]
    assert found["container node-exporter"]["fix"] == "fab deploy -H lab"
    project.fab(*shlex.split(found["drift"]["fix"])[1:], "--yes")  # which is another: edits are not undone unasked
    assert errors(project.json("doctor", "-H", "lab")) == {}


def test_a_volume_that_nothing_backs_up_is_an_error(project: Project, deployed: Watch) -> None:
    saved = project.saved()
    project.edit("files/docker-compose.prod.yml", "    x-backup: redis\n", "")
    try:
        found = errors(project.json("doctor", "-H", "lab", expect=9))
    finally:
        project.restore(saved)
    assert "x-backup: files" in found[f"volume {APP}_redis_data"]["fix"]
    assert errors(project.json("doctor", "-H", "lab")) == {}
