"""The facts of a host: what the script prints, and how it is read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tasks.core.errors import HostFailed
from tasks.model.facts import Account, Docker, Entry, Facts, Firewall, Rule, Unit, facts_script, parse

FIXTURES = Path(__file__).parents[2] / "fixtures" / "facts"


def text(name: str) -> str:
    return (FIXTURES / f"{name}.txt").read_text(encoding="utf-8")


def facts(name: str, *edits: tuple[str, str]) -> Facts:
    content = text(name)
    for old, new in edits:
        assert content.count(old) == 1, old
        content = content.replace(old, new)
    return parse(content.encode())


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.txt")), ids=lambda path: path.stem)
def test_every_recorded_answer_is_read_as_the_system_it_is_named_after(path: Path) -> None:
    assert path.name.startswith(parse(path.read_bytes()).os)


def test_a_bare_host_has_nothing_of_ours() -> None:
    found = facts("debian-13-bare-root")
    assert (found.python, found.docker, found.compose, found.ufw, found.deploy_user, found.status) == (None,) * 6
    assert {path for path in (*found.directories, *found.files) if "maicivy" in path} == set()
    assert (found.program_head, found.daemon) == (None, None)
    assert found.packages.keys() == {"ca-certificates", "openssl", "sudo"}


def test_the_login_is_the_user_who_came_by_ssh_and_not_the_root_that_sudo_made_of_it() -> None:
    found = facts("debian-13-bare-sudo")
    assert (found.user, found.uid) == ("admin", 0)
    assert isinstance(found.login, Account)
    assert (found.login.home, found.login.groups) == ("/home/admin", ("admin", "sudo"))
    assert [key.split()[0] for key in found.login.keys] == ["ssh-ed25519"]


def test_a_ready_host_is_read_completely() -> None:
    found = facts("debian-13-done-sudo")
    assert found.docker == Docker("26.1.5+dfsg1-9+deb13u1+b1", "distribution")
    assert found.compose == "2.26.1-4"
    assert found.daemon is not None and found.daemon["live-restore"] is True
    assert found.entries["/etc/sudoers.d/maicivy-deploy"] == Entry("regular file", "440", "root", "root")
    assert found.directories["/opt/maicivy/releases"].mode == "700"
    assert "/etc/sudoers.d/maicivy-deploy" not in found.directories
    assert found.units["certbot.timer"] == Unit("enabled", "active")
    assert "maicivy.service" not in found.units
    assert found.status is not None and found.status["app"] == "maicivy"
    assert found.files["/usr/local/bin/maicivy"] == found.status["program"]
    assert found.deploy_user is not None and "docker" in found.deploy_user.groups


def test_the_firewall_is_active_only_when_its_chains_are_in_the_kernel() -> None:
    assert isinstance(facts("debian-13-done-sudo").ufw, Firewall)
    assert facts("debian-13-done-sudo").ufw.active  # type: ignore[union-attr]
    assert not facts("debian-13-done-sudo", ("LOADED=yes\n", "")).ufw.active  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("v4 allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", ("v4", "allow", "tcp", "22", "0.0.0.0/0", "0.0.0.0/0", "in")),
        (
            "v4 limit_log tcp 22 0.0.0.0/0 any 10.0.0.0/8 OpenSSH - in_eth0 comment=41",
            ("v4", "limit", "tcp", "22", "0.0.0.0/0", "10.0.0.0/8", "in_eth0"),
        ),
        ("v6 deny any 6000:6007 ::/0 any ::/0 out", ("v6", "deny", "any", "6000:6007", "::/0", "::/0", "out")),
    ],
)
def test_rules_are_read_as_ufw_keeps_them(line: str, rule: tuple[str, ...]) -> None:
    found = facts("ubuntu-24.04-bare-sudo.constructed", ('POLICY="DROP"\n', f'POLICY="DROP"\n{line}\n'))
    assert found.ufw is not None
    assert found.ufw.rules == (Rule(*rule),)


def test_the_port_of_the_connection_comes_before_the_ones_sshd_is_configured_for() -> None:
    found = facts("debian-13-bare-root", ("203.0.113.10 22\n", "203.0.113.10 2222\n"))
    assert (found.sshd_port, found.sshd_ports) == (2222, (2222, 22))


def test_a_listening_socket_unit_overrules_the_settings_of_sshd() -> None:
    ports = ("socket Listen=0.0.0.0:22 (Stream)\nsocket Listen=[::]:22", "socket Listen=[::]:2022")
    found = facts("ubuntu-24.04-bare-sudo.constructed", ports, ("203.0.113.10 22\n", "203.0.113.10 2022\n"))
    assert found.sshd_ports == (2022,)


def test_an_idle_socket_unit_does_not() -> None:
    assert facts("debian-13-bare-root", ("port 22\n", "port 2022\n")).sshd_ports == (22, 2022)


def test_without_a_connection_and_an_answer_of_sshd_the_port_is_22() -> None:
    edits = (("ssh_connection=198.51.100.7 50022 203.0.113.10 22\n", "ssh_connection=\n"), ("port 22\n", ""))
    found = facts("debian-13-bare-root", *edits)
    assert (found.sshd_port, found.client_address) == (22, None)


def test_compose_1_is_no_compose() -> None:
    edit = ("installed openssl ", "installed docker-compose 1.29.2-3\ninstalled openssl ")
    assert facts("debian-12-bare-root.constructed", edit).compose is None


def test_a_program_that_cannot_tell_its_status_does_not_hide_the_other_facts() -> None:
    content = text("debian-13-done-sudo")
    begin = content.index('{"app"')
    broken = content[:begin] + "Traceback (most recent call last):\n" + content[content.index("\n", begin) :]
    found = parse(broken.encode())
    assert found.status is None
    assert found.python == "3.13.5"


def test_whatever_a_login_shell_prints_around_the_answer_is_passed_over() -> None:
    noise = b"Welcome!\nos_id=fedora\n@@facts section host\nno newline at the end"
    assert parse(noise + text("debian-13-bare-root").encode() + b"\nlogout\n") == facts("debian-13-bare-root")


def test_an_answer_that_was_cut_off_is_an_error_however_much_of_it_arrived() -> None:
    content = text("debian-13-done-sudo").encode()
    for length in (content.index(b"begin 1\n") + 8, len(content) // 2, len(content) - 5):
        with pytest.raises(HostFailed, match="cut off"):
            parse(content[:length])


def test_no_answer_at_all_is_an_error() -> None:
    with pytest.raises(HostFailed, match="did not answer"):
        parse(b"This account is currently not available.\n")


def test_the_marks_are_new_in_every_script() -> None:
    assert facts_script("maicivy", "deploy") != facts_script("maicivy", "deploy")


def test_the_script_answers_on_any_host_without_reading_its_own_stdin_away(tmp_path: Path) -> None:
    # As nobody: the script looks at the keys of whoever logged in, and these tests look at nobody's.
    environment = {**os.environ, "SUDO_USER": "nobody"}
    script = facts_script("no-such-app", "no-such-user").encode()
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, env=environment, check=True, cwd=tmp_path)
    found = parse(done.stdout)
    assert found.user == "nobody"
    assert found.deploy_user is None
    assert found.memory > 0
    assert found.root_free > 0


def test_the_script_is_plain_posix_shell() -> None:
    subprocess.run(["sh", "-n"], input=facts_script("maicivy", "deploy").encode(), check=True)
