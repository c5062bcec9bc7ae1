"""`fab setup --harden`: who still gets in, what sshd says of itself, and that a later setup keeps it so."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.world import APP, FAB, ROOT, Project, inside
from tests.lab.names import container

HOST = container(2)
DROPIN = f"/etc/ssh/sshd_config.d/00-{APP}.conf"
TOLERANT = "/etc/ssh/sshd_config.d/20-lab.conf"  # these tests fail to log in more often than sshd puts up with
KEYS = "/home/deploy/.ssh/authorized_keys"


def ssh(user: str, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    flags = [word for option in ("BatchMode=yes", *options) for word in ("-o", option)]
    command = ["ssh", "-F", str(ROOT / ".lab/ssh_config"), "-l", user, *flags, "lab2", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def effective() -> dict[str, str]:
    """What sshd says of itself, by lower case keyword."""
    return dict(line.split(" ", 1) for line in inside("sshd", "-T", host=HOST).splitlines())


@pytest.fixture(scope="module")
def second(project: Project) -> Iterator[Project]:
    """A second host, set up and not hardened, neither before nor afterwards."""
    subprocess.run([FAB, "lab.up", "--hosts", "2"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    for name in ("ssh_config", "known_hosts"):
        (project.root / ".lab" / name).write_text((ROOT / ".lab" / name).read_text())
    inside("sh", "-c", f"rm -f {DROPIN}; echo 'PerSourcePenalties no' >{TOLERANT}", host=HOST)
    inside("systemctl", "reload", "ssh.service", host=HOST)
    project.fab("setup", "-H", "lab2", "--yes", timeout=900)
    yield project
    inside("rm", "-f", DROPIN, TOLERANT, host=HOST)  # nobody else here expects a hardened host
    inside("systemctl", "reload", "ssh.service", host=HOST)


@pytest.fixture(scope="module")
def hardened(second: Project) -> Project:
    second.fab("setup", "-H", "lab2", "--yes", "--harden", timeout=900)
    return second


def test_root_gets_in_before(second: Project) -> None:
    """Else what follows would prove nothing."""
    assert ssh("root", "id", "-un").stdout.strip() == "root"
    assert effective()["passwordauthentication"] == "yes"


def test_the_deploy_user_gets_in_and_can_become_root(hardened: Project) -> None:
    assert ssh("deploy", "sudo", "-n", "id", "-un").stdout.strip() == "root"


def test_root_is_refused_and_so_is_a_password(hardened: Project) -> None:
    refused = ssh("root", "id")
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr
    asked = ssh("deploy", "id", options=("PubkeyAuthentication=no", "PreferredAuthentications=password"))
    assert asked.returncode == 255
    assert "Permission denied (publickey)" in asked.stderr  # a password is not even asked for


def test_sshd_has_these_settings_in_force(hardened: Project) -> None:
    wanted = {
        "permitrootlogin": "no",
        "passwordauthentication": "no",
        "kbdinteractiveauthentication": "no",
        "kexalgorithms": "mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com",
        "allowtcpforwarding": "local",
        "allowagentforwarding": "no",
        "x11forwarding": "no",
        "requiredrsasize": "3072",
        "loglevel": "VERBOSE",
        "debianbanner": "no",
    }
    found = effective()
    assert {key: found[key] for key in wanted} == wanted
    assert not [word for word in found["macs"].split(",") if "sha1" in word or "-etm@" not in word]


def test_a_tunnel_to_a_port_of_the_host_still_works(hardened: Project) -> None:
    """The way to the dashboards: -W asks for the same channel as -L."""
    command = ["ssh", "-F", str(ROOT / ".lab/ssh_config"), "-l", "deploy", "-W", "127.0.0.1:22", "lab2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    assert done.stdout.startswith("SSH-2.0-OpenSSH")
    assert "Debian" not in done.stdout.splitlines()[0]


def test_a_second_time_there_is_nothing_to_do_asked_for_or_not(hardened: Project) -> None:
    for words in (["--harden"], []):
        assert "nothing to do" in hardened.fab("setup", "-H", "lab2", "--yes", *words).stdout


def test_the_host_keeps_what_it_needs(hardened: Project) -> None:
    """Docker forwards packets, and others read what a release mounts, though new files of logins are private now."""
    assert inside("sysctl", "-n", "net.ipv4.ip_forward", host=HOST).strip() == "1"
    inside("docker", "version", host=HOST)
    assert ssh("deploy", "umask").stdout.strip().endswith("7")
    assert inside("stat", "-c", "%a", f"/opt/{APP}/live", host=HOST).strip() == "755"
    assert inside("systemctl", "--failed", "--no-legend", host=HOST) == ""


def test_settings_that_come_before_ours_are_found(hardened: Project) -> None:
    first = "/etc/ssh/sshd_config.d/00-aaa.conf"
    inside("sh", "-c", f"echo 'PasswordAuthentication yes' >{first}; systemctl reload ssh.service", host=HOST)
    try:
        plan = hardened.json("setup", "-H", "lab2", "--dry-run")
        assert plan["steps"] == [{"name": "sshd", "why": "passwordauthentication is yes in force"}]
    finally:
        inside("sh", "-c", f"rm {first}; systemctl reload ssh.service", host=HOST)


def test_a_deploy_user_who_cannot_log_in_is_not_left_alone_with_the_host(hardened: Project) -> None:
    """Root's login is the only one left then: it stays until the deploy user's works."""
    inside("sh", "-c", f"rm {DROPIN}; systemctl reload ssh.service", host=HOST)
    inside("sh", "-c", "echo 'DenyUsers deploy' >/etc/ssh/sshd_config.d/10-deny.conf", host=HOST)
    inside("systemctl", "reload", "ssh.service", host=HOST)
    try:
        done = hardened.fab("setup", "-H", "root@lab2", "--yes", "--harden", expect=None)
        assert done.returncode != 0
        assert "deploy cannot log in" in done.stderr
        assert ssh("root", "id", "-un").stdout.strip() == "root"
        inside("test", "!", "-e", DROPIN, host=HOST)
    finally:
        inside("sh", "-c", "rm /etc/ssh/sshd_config.d/10-deny.conf; systemctl reload ssh.service", host=HOST)
    hardened.fab("setup", "-H", "lab2", "--yes", "--harden")
    assert effective()["permitrootlogin"] == "no"


def test_a_change_that_shuts_the_deploy_user_out_is_undone(hardened: Project) -> None:
    """Really: with an RSA key that is too short for the new settings, and good enough until then."""
    key = hardened.root / ".lab" / "id_rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key], check=True)
    config = hardened.root / ".lab" / "ssh_config"
    before, settings = config.read_text(), hardened.env_file.read_text()
    config.write_text(before.replace("Host lab2\n", f'Host lab2\n    IdentityFile "{key}"\n'))
    hardened.set(DEPLOY_PUBLIC_KEY_FILE=f"{key}.pub")
    inside("sh", "-c", f"rm {DROPIN}; systemctl reload ssh.service; cp -p {KEYS} {KEYS}.kept", host=HOST)
    inside("sh", "-c", f"cat >{KEYS}", host=HOST, stdin=key.with_suffix(".pub").read_text())
    try:
        done = hardened.fab("setup", "-H", "lab2", "--yes", "--harden", expect=None)
        assert done.returncode != 0
        assert "sshd would have shut deploy out" in done.stderr
        inside("test", "!", "-e", DROPIN, host=HOST)
        assert ssh("root", "id", "-un").stdout.strip() == "root"
        assert ssh("deploy", "id", "-un", options=(f"IdentityFile={key}",)).stdout.strip() == "deploy"
    finally:
        config.write_text(before)
        hardened.env_file.write_text(settings)
        inside("mv", f"{KEYS}.kept", KEYS, host=HOST)
    hardened.fab("setup", "-H", "lab2", "--yes", "--harden")
    assert effective()["permitrootlogin"] == "no"
