"""`fab setup`: from bare to ready, and nothing to do the second time."""

from __future__ import annotations

import statistics
import subprocess
import time

import pytest

from tests.e2e.world import APP, ROOT, Project, Watch, containers, inside, snapshot


def ssh(user: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["ssh", "-F", str(ROOT / ".lab/ssh_config"), "-l", user, "-o", "BatchMode=yes", "lab", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def test_the_host_has_what_a_deploy_needs(ready: Watch) -> None:
    inside("docker", "compose", "version")
    assert inside("systemctl", "is-enabled", "docker.service", "certbot.timer").split() == ["enabled", "enabled"]
    assert inside(f"/usr/local/bin/{APP}", "status").startswith("{")


def test_the_firewall_lets_in_ssh_and_the_web_alone(ready: Watch) -> None:
    status = inside("ufw", "status", "verbose")
    assert "Status: active" in status
    assert "deny (incoming)" in status
    allowed = {line.split()[0] for line in status.splitlines() if "ALLOW" in line}
    assert {port.split("/")[0] for port in allowed} == {"22", "80", "443"}


def test_the_deploy_user_logs_in_with_the_key_and_can_become_root(ready: Watch) -> None:
    assert ssh("deploy", "sudo", "-n", "id", "-un").stdout.strip() == "root"


def test_the_directories_keep_secrets_to_root(ready: Watch) -> None:
    modes = inside("stat", "-c", "%n %a %U", f"/opt/{APP}/releases", f"/opt/{APP}/shared/state").split("\n")
    assert modes[0] == f"/opt/{APP}/releases 700 root"
    assert modes[1] == f"/opt/{APP}/shared/state 700 root"


def test_the_security_updates_that_waited_are_installed(ready: Watch) -> None:
    log = inside("cat", "/var/log/unattended-upgrades/unattended-upgrades.log")
    assert "Starting unattended upgrades script" in log
    waiting = inside("sh", "-c", "apt-get -s dist-upgrade | awk '/^Inst / && /-[Ss]ecurity/'")
    assert [line for line in waiting.splitlines() if not line.startswith(("Inst docker", "Inst containerd"))] == []


@pytest.mark.parametrize("user", ["admin", "root", "deploy"])
def test_a_second_run_has_nothing_to_do_whoever_logs_in(project: Project, ready: Watch, user: str) -> None:
    before = snapshot()
    done = project.fab("setup", "-H", f"{user}@lab")
    assert "nothing to do" in done.stdout
    assert snapshot() == before


def test_a_second_run_takes_less_than_three_seconds(project: Project, ready: Watch) -> None:
    took = []
    for _ in range(3):
        began = time.monotonic()
        project.fab("setup", "-H", "lab")
        took.append(time.monotonic() - began)
    assert statistics.median(took) < 3


def test_no_secret_was_in_the_arguments_of_any_process(ready: Watch) -> None:
    assert ready.sweeps > 100
    assert ready.seen == set()


def test_setup_starts_no_container(ready: Watch) -> None:
    assert containers() == {}
