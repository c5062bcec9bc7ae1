"""What happens to a command from outside: its caller dies, the network goes, the host goes."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.e2e.world import HOST, inside


def kill_fab(fab: subprocess.Popen[str]) -> None:
    os.killpg(fab.pid, signal.SIGKILL)


def cut() -> None:
    # every session of sshd dies, as when the network goes; the listener stays
    inside("sh", "-c", "pkill -KILL -f '^sshd-session: ' || pkill -KILL -f '^sshd: .*@'")


def docker(*words: str) -> None:
    subprocess.run(["docker", *words, HOST], check=True, capture_output=True, timeout=120)


def reboot() -> None:
    docker("restart", "-t", "60")


def power_cut() -> None:
    docker("kill")
    docker("start")
