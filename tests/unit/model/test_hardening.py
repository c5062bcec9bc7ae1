"""What `fab setup --harden` makes of a host: the settings of sshd, the files beside it, and the way back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tasks.core.errors import Refused
from tasks.model.facts import Facts, facts_script, parse
from tasks.model.provision import docker, hardening, sshd, system
from tasks.model.provision.step import PROLOGUE

FIXTURES = Path(__file__).parents[2] / "fixtures" / "facts"
PARAMIKO_5_1 = ("mlkem768x25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
PARAMIKO_4 = ("curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")


def facts(name: str, *edits: tuple[str, str]) -> Facts:
    text = (FIXTURES / f"{name}.txt").read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parse(text.encode())


def command(directory: Path, name: str, script: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


class Machine:
    """Stands in for a host: its sshd takes the drop-in when that is well, and systemctl notes what it is told."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.armed, self.bin, self.told = place / "armed", place / "bin", place / "told"
        self.dropin = place / "sshd_config.d" / "00-app.conf"
        for directory in (self.armed, self.bin, self.dropin.parent):
            directory.mkdir()
        command(
            self.bin,
            "sshd",
            f'case "$1" in -t) ! grep -qs bad {self.dropin} ;; -T) grep -qsx "PermitRootLogin no" {self.dropin} && '
            f"[ ! -e {place}/not-included ] && echo permitrootlogin no ;; esac",
        )
        command(
            self.bin, "systemctl", f'echo "$*" >>{self.told}; case "$*" in *is-active*) [ ! -e {place}/dead ] ;; esac'
        )
        command(self.bin, "ssh-keygen", f'echo "ssh-keygen $*" >>{self.told}')
        command(self.bin, "install", "exit 0")  # /run/sshd is not ours here

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        assert script.startswith(PROLOGUE)
        script = script.replace("PATH=/usr/local/sbin", f"PATH={self.bin}:/usr/local/sbin", 1)
        return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)

    def step(self, *, content: str = "") -> tuple[str, str]:
        """The step's script and its undo, for this machine's places."""
        (step,) = sshd.steps(facts("debian-13-done-sudo"), "app", "deploy", PARAMIKO_5_1)
        scripts = []
        for script in (step.script, step.undo):
            moved = script.replace("/etc/ssh/sshd_config.d/00-app.conf", str(self.dropin))
            moved = moved.replace("/opt/app/shared/state/armed", str(self.armed))
            scripts.append(moved.replace("PermitRootLogin no\n", content or "PermitRootLogin no\n"))
        return scripts[0], scripts[1]

    @property
    def calls(self) -> list[str]:
        return self.told.read_text().splitlines() if self.told.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


RELOAD = "try-reload-or-restart ssh.service"


def test_the_settings_are_tried_put_and_loaded_and_the_undo_takes_them_away(machine: Machine) -> None:
    script, undo = machine.step()
    done = machine.run(script)
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.dropin.read_text() == sshd.content(facts("debian-13-done-sudo"), PARAMIKO_5_1)
    assert oct(machine.dropin.stat().st_mode & 0o777) == "0o644"
    assert machine.calls[-1] == RELOAD
    assert machine.run(undo).returncode == 0
    assert list(machine.dropin.parent.iterdir()) == []
    assert machine.calls.count(RELOAD) == 2


def test_the_undo_brings_back_what_was_there_to_the_letter(machine: Machine) -> None:
    machine.dropin.write_text("PermitRootLogin no\n# from before\n")
    machine.dropin.chmod(0o600)
    script, undo = machine.step()
    assert machine.run(script).returncode == 0
    assert "from before" not in machine.dropin.read_text()
    assert machine.run(undo).returncode == 0
    assert machine.dropin.read_text() == "PermitRootLogin no\n# from before\n"
    assert oct(machine.dropin.stat().st_mode & 0o777) == "0o600"
    assert list(machine.dropin.parent.iterdir()) == [machine.dropin]


def test_settings_that_sshd_does_not_take_are_never_loaded(machine: Machine) -> None:
    script, undo = machine.step(content="bad\n")
    assert machine.run(script).returncode != 0
    assert machine.calls == []
    assert machine.run(undo).returncode == 0
    assert not machine.dropin.exists()


def test_settings_that_no_file_includes_are_an_error_and_not_a_success(machine: Machine) -> None:
    (machine.place / "not-included").touch()
    script, _ = machine.step()
    done = machine.run(script)
    assert done.returncode == 1
    assert "does /etc/ssh/sshd_config still include sshd_config.d" in done.stderr
    assert RELOAD not in machine.calls


def test_an_undo_of_what_never_began_changes_nothing(machine: Machine) -> None:
    machine.dropin.write_text("# the user's\n")
    _, undo = machine.step()
    assert machine.run(undo).returncode == 0
    assert machine.dropin.read_text() == "# the user's\n"
    assert machine.calls == []


def test_the_undo_starts_an_sshd_that_did_not_survive_the_change(machine: Machine) -> None:
    script, undo = machine.step()
    assert machine.run(script).returncode == 0
    (machine.place / "dead").touch()
    assert machine.run(undo).returncode == 0
    assert machine.calls[-2:] == ["reset-failed ssh.service", "start ssh.service"]


@pytest.mark.parametrize(
    ("name", "client", "expected"),
    [
        ("debian-13-done-sudo", PARAMIKO_5_1, {"mlkem768x25519-sha256"}),
        ("debian-13-done-sudo", PARAMIKO_4, {"curve25519-sha256@libssh.org"}),
        ("debian-12-bare-root.constructed", PARAMIKO_5_1, {"curve25519-sha256@libssh.org"}),
        ("ubuntu-22.04-bare-sudo.constructed", PARAMIKO_5_1, {"curve25519-sha256@libssh.org"}),
        ("ubuntu-24.04-bare-sudo.constructed", PARAMIKO_4, {"curve25519-sha256@libssh.org"}),
    ],
)
def test_sshd_offers_what_the_workstation_knows_and_has_itself(
    name: str, client: tuple[str, ...], expected: set[str]
) -> None:
    host = facts(name)
    offered = sshd.key_exchanges(host.os, client, host.ssh_kex)
    assert set(offered) & set(client) == expected
    assert set(offered) <= set(host.ssh_kex)
    assert not [name for name in offered if "nistp" in name or "sha1" in name or "group-exchange" in name]


def test_debian_13_offers_nothing_that_a_quantum_computer_breaks() -> None:
    offered = sshd.key_exchanges("debian-13", PARAMIKO_5_1)
    assert all(name.startswith(("mlkem", "sntrup")) for name in offered)


def test_the_library_of_this_workstation_has_what_debian_13_offers() -> None:
    import paramiko

    ours = tuple(paramiko.Transport._preferred_kex)  # type: ignore[attr-defined]
    assert set(sshd.key_exchanges("debian-13", ours)) & set(ours) == {"mlkem768x25519-sha256"}


@pytest.mark.parametrize("methods", ["publickey,password", "publickey,keyboard-interactive", "password,publickey"])
def test_a_second_factor_is_not_taken_away(methods: str) -> None:
    host = facts("debian-13-done-sudo", ("authenticationmethods any", f"authenticationmethods {methods}"))
    with pytest.raises(Refused, match="asks for more than a key"):
        list(sshd.steps(host, "app", "deploy", PARAMIKO_5_1))


@pytest.mark.parametrize("methods", ["any", "publickey", "publickey,publickey", "publickey password"])
def test_a_key_or_two_are_no_second_factor(methods: str) -> None:
    host = facts("debian-13-done-sudo", ("authenticationmethods any", f"authenticationmethods {methods}"))
    assert [step.name for step in sshd.steps(host, "app", "deploy", PARAMIKO_5_1)] == ["sshd"]


def test_lines_of_login_defs_are_changed_added_and_else_kept(tmp_path: Path) -> None:
    defs = tmp_path / "etc" / "login.defs"
    defs.parent.mkdir()
    defs.write_text("# UMASK in prose\nUMASK\t\t022\n#PASS_MIN_DAYS 7\nMAIL_DIR /var/mail\n")
    (step,) = (s for s in hardening.steps(facts("debian-13-done-sudo"), "app") if s.name == "hardening-system")
    script = step.script.replace("/etc/login.defs", str(defs))
    script = script[: script.index("chmod 0700 /etc/cron")]  # the rest is not for this machine
    subprocess.run(["sh", "-s"], input=script, text=True, check=True)
    kept = ["# UMASK in prose", "UMASK 027", "#PASS_MIN_DAYS 7", "MAIL_DIR /var/mail"]
    assert defs.read_text().splitlines() == [*kept, "PASS_MIN_DAYS 1", "SHA_CRYPT_MIN_ROUNDS 65536"]
    assert list(defs.parent.iterdir()) == [defs]


def test_a_key_that_is_not_there_or_that_the_user_has_set_is_named_and_the_others_are_set(tmp_path: Path) -> None:
    told = tmp_path / "told"
    command(tmp_path, "sysctl", f'echo "$3" >>{told}; case "$3" in kernel.sysrq=*) exit 1 ;; esac')
    host = facts("debian-13-done-sudo", ("container=docker", "container=none"))
    (step,) = (s for s in hardening.steps(host, "app") if s.name == "hardening")
    files = tmp_path / "sysctl.d"
    files.mkdir()
    (files / "10-before.conf").write_text("kernel.dmesg_restrict=0\n")
    (files / "60-app-hardening.conf").write_text("kernel.kptr_restrict = 1\n")
    (files / "99-own.conf").write_text("# kernel.kptr_restrict=0\n-net/ipv4/conf/all/rp_filter = 0\n")
    script = step.script[: step.script.index("put() {")].replace("PATH=/usr", f"PATH={tmp_path}:/usr", 1)
    script = script.replace("/etc/sysctl.d", str(files))
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "not settable here: kernel.sysrq",
        f"left as {files}/99-own.conf says: net.ipv4.conf.all.rp_filter",
    ]
    others = {key: value for key, value in hardening.KERNEL.items() if key != "net.ipv4.conf.all.rp_filter"}
    assert told.read_text().splitlines() == [f"{key}={value}" for key, value in others.items()]


def test_a_container_makes_the_settings_of_its_own_network_alone() -> None:
    """The kernel under the lab's hosts is the workstation's: setup must leave it as it is."""
    inside = hardening.kernel(facts("debian-13-done-sudo"))
    assert inside
    assert all(key.startswith("net.ipv") for key in inside)
    machine = facts("debian-13-done-sudo", ("container=docker", "container=none"))
    assert hardening.kernel(machine) == hardening.KERNEL
    assert [step.name for step in system.memory(facts("debian-13-bare-root"), "app")] == []
    assert [
        step.name for step in system.memory(facts("debian-13-bare-root", ("container=docker", "container=none")), "app")
    ] == ["memory"]


@pytest.mark.parametrize(
    "own", [{"ip6tables": False}, {"experimental": False}, {"ip6tables": True, "experimental": True}]
)
def test_what_the_user_said_about_ipv6_or_experiments_is_not_completed(own: dict[str, bool]) -> None:
    """Docker 26 does not start with ip6tables and without experiments."""
    text = (FIXTURES / "debian-13-done-sudo.txt").read_text()
    daemon = next(line for line in text.splitlines() if line.startswith('{"default-address-pools"'))
    host = facts("debian-13-done-sudo", (daemon, json.dumps(own)))
    assert not {"ip6tables", "experimental"} & docker.missing_settings(host).keys()


def test_of_the_daemons_settings_only_what_setup_cares_for_leaves_the_host(tmp_path: Path) -> None:
    daemon = tmp_path / "daemon.json"
    daemon.write_text(
        json.dumps({
            "log-driver": "splunk",
            "log-opts": {"splunk-token": "secret-1", "max-size": "9m"},
            "proxies": {"http-proxy": "http://me:secret-2@proxy.example.com"},
            "icc": True,
        })
    )  # fmt: skip
    with subprocess.Popen(["sh", "-c", "sleep 60; :", "dockerd", "--firewall-backend", "nftables"]) as engine:
        command(tmp_path, "pidof", f"echo {engine.pid}")
        script = facts_script("no-such-app", "no-such-user").replace("/etc/docker/daemon.json", str(daemon))
        script = script.replace("PATH=/usr/local/sbin", f"PATH={tmp_path}:/usr/local/sbin", 1)
        done = subprocess.run(["sh", "-s"], input=script.encode(), capture_output=True, check=True, cwd=tmp_path)
        engine.terminate()
    assert b"secret" not in done.stdout
    assert parse(done.stdout).daemon == {
        "log-driver": "splunk",
        "log-opts": {"max-size": "9m"},
        "icc": True,
        "firewall-backend": "nftables",
    }
