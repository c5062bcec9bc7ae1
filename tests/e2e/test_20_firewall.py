"""Who gets in: nobody by a port that Docker published, and always the user, whatever went wrong."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.world import HOST, ROOT, Project, Watch, inside, visit, wait_until
from tests.lab.names import address, address6

LEAK = "leak"  # a container of the user's own, published to everybody by mistake
PORT = 6379


def reachable(port: int = PORT) -> list[str]:
    """The addresses of the host at which this port answers us; we are a neighbour on its network."""
    found = []
    for at in (address(1), address6(1)):
        try:
            socket.create_connection((at, port), 1).close()
        except OSError:
            continue
        found.append(at)
    return found


def from_another_container(at: str, port: int = PORT) -> bool:
    """Whether a container beside the host reaches the port there."""
    brackets = f"exec 3<>/dev/tcp/{at}/{port}"
    words = ["docker", "run", "--rm", "--network", "lab", "lab/base-trixie", "timeout", "3", "bash", "-c", brackets]
    return subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == 0


class Knocking:
    """Tries the port all the time, in both families, from another thread."""

    def __enter__(self) -> Knocking:
        self.tries, self.let_in = 0, set[str]()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            for at in (address(1), address6(1)):
                try:
                    socket.create_connection((at, PORT), 0.2).close()
                    self.let_in.add(at)
                except OSError:
                    pass
                self.tries += 1


@pytest.fixture(scope="module")
def leak(deployed: Watch) -> Iterator[str]:
    """A published 6379 in both families, the engine's default overruled; it comes back by itself."""
    image = inside("docker", "inspect", "-f", "{{.Config.Image}}", "maicivy-redis-1").strip()
    words = ["docker", "run", "-d", "--name", LEAK, "--restart", "always"]
    words += ["-p", f"0.0.0.0:{PORT}:{PORT}", "-p", f"[::]:{PORT}:{PORT}", "--entrypoint", "redis-server"]
    inside(*words, image, "--protected-mode", "no")
    try:
        inside("sh", "-c", f"for i in 1 2 3 4 5; do docker exec {LEAK} redis-cli ping && break; sleep 1; done")
        yield LEAK
    finally:
        inside("docker", "rm", "-f", LEAK)


def test_a_published_database_answers_the_host_and_nobody_outside(leak: str) -> None:
    assert "0.0.0.0:6379" in inside("docker", "port", leak)
    assert inside("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{PORT} && echo it answers").strip() == "it answers"
    assert reachable() == []
    assert reachable(443) == [address(1), address6(1)], "we would have got in if it were open"
    for at in (address(1), address6(1)):
        assert not from_another_container(at)
        assert from_another_container(at, 443)


def test_a_neighbour_cannot_go_to_a_containers_own_address(leak: str) -> None:
    inner = inside("docker", "inspect", "-f", "{{.NetworkSettings.IPAddress}}", leak).strip()
    route = ["ip", "route", "replace", f"{inner}/32", "via", address(1)]
    subprocess.run(route, check=True)
    try:
        with pytest.raises(OSError, match=r"timed out|unreachable|refused"):
            socket.create_connection((inner, PORT), 2).close()
    finally:
        subprocess.run(["ip", "route", "del", f"{inner}/32"], check=True)


def test_what_is_published_without_an_address_is_for_the_host_alone(deployed: Watch) -> None:
    image = inside("docker", "inspect", "-f", "{{.Config.Image}}", "maicivy-redis-1").strip()
    inside("docker", "network", "create", "made-later")
    try:
        inside("docker", "run", "-d", "--name", "careless", "--network", "made-later", "-p", "6380:6379", image)
        assert inside("docker", "port", "careless").strip().endswith("127.0.0.1:6380")
    finally:
        inside("docker", "rm", "-f", "careless", check=False)
        inside("docker", "network", "rm", "made-later")


def test_it_stays_closed_while_docker_restarts_and_after(leak: str) -> None:
    with Knocking() as knocking:
        inside("systemctl", "restart", "docker.service")
        wait_until("the container", lambda: "PONG" in inside("docker", "exec", leak, "redis-cli", "ping", check=False))
        time.sleep(1)
    assert knocking.tries > 10
    assert knocking.let_in == set()
    assert inside("published-ports", "check") == ""


def test_it_stays_closed_through_a_reboot(leak: str) -> None:
    with Knocking() as knocking:
        subprocess.run(["docker", "restart", "-t", "60", HOST], check=True, capture_output=True, timeout=120)
        wait_until(
            "the container", lambda: "PONG" in inside("docker", "exec", leak, "redis-cli", "ping", check=False), 90, 1
        )
        wait_until("the site", lambda: visit("https://maicivy.lab.test/health").status == 200, 120, 1)
    assert knocking.tries > 50
    assert knocking.let_in == set()


def test_what_is_open_is_told_and_what_is_not_meant_to_be_is_a_fault(project: Project, leak: str) -> None:
    told = project.json("firewall.status", "-H", "lab")
    ports = {(port["port"], port["protocol"], port["reach"]) for port in told["ports"]}
    assert {(22, "tcp", "open"), (80, "tcp", "open"), (443, "tcp", "open"), (PORT, "tcp", "closed")} <= ports
    inside("sh", "-c", "iptables -F PUBLISHED-PORTS")
    try:
        told = project.json("firewall.status", "-H", "lab", expect=9)
        assert "the rules were changed (iptables)" in " ".join(told["faults"])
        assert reachable() == [address(1)], "so it really was these rules"
    finally:
        project.fab("firewall.apply", "-H", "lab", "--yes")
    assert reachable() == []
    assert project.json("firewall.status", "-H", "lab")["ok"] is True


# Nobody locks themselves out. The mistakes are made in the code of this checkout: it is as wrong as a user could be.


def ssh(user: str = "admin") -> int:
    """The exit status of a login with the lab's key."""
    words = ["ssh", "-F", str(ROOT / ".lab/ssh_config"), "-l", user, "-o", "BatchMode=yes", "-o", "ConnectTimeout=3"]
    return subprocess.run([*words, "lab", "true"], capture_output=True, timeout=30, check=False).returncode


def state() -> str:
    """What decides who gets in."""
    files = "cat /etc/default/ufw /etc/ufw/ufw.conf /etc/ufw/user.rules /etc/ufw/user6.rules; ls /etc/ssh/sshd_config.d"
    return inside("sh", "-c", f"{files}; ufw status numbered; sshd -T | sort")


@pytest.fixture
def before_the_firewall(project: Project, deployed: Watch) -> Iterator[Project]:
    """The host as it is before UFW is active."""
    saved = project.saved()
    code = {path: path.read_bytes() for path in (project.root / "tasks").rglob("*.py")}
    inside("sh", "-c", "ufw --force reset >/dev/null && rm -f /etc/ufw/*.2*")
    yield project
    for path, content in code.items():
        path.write_bytes(content)
    project.restore(saved)
    project.fab("firewall.apply", "-H", "lab", "--yes")
    assert "Status: active" in inside("ufw", "status")
    assert ssh() == 0


def test_ssh_at_another_port_than_the_one_that_was_opened(before_the_firewall: Project) -> None:
    before = state()
    before_the_firewall.edit(
        "tasks/model/provision/firewall.py", 'lines.append(_allow(port, "SSH"))', 'lines.append(_allow(2222, "SSH"))'
    )
    done = before_the_firewall.fab("firewall.apply", "-H", "lab", "--yes", expect=12)
    assert "would have shut admin out" in done.stderr
    assert "everything is as before" in done.stderr
    assert state() == before
    assert ssh() == 0


def test_our_own_address_banned(before_the_firewall: Project) -> None:
    before = state()
    before_the_firewall.edit(
        "tasks/model/provision/firewall.py",
        'lines.append(Command("ufw", "--force", "enable"))',
        'lines += [Command("ufw", "prepend", "deny", "from", "172.31.213.1"), Command("ufw", "--force", "enable")]',
    )
    done = before_the_firewall.fab("firewall.apply", "-H", "lab", "--yes", expect=12)
    assert "would have shut admin out" in done.stderr
    assert state() == before
    assert ssh() == 0


def test_the_host_undoes_it_by_itself_when_nobody_is_left_to_say_so(before_the_firewall: Project) -> None:
    """The workstation is killed in the middle, and no new connection would work: only the timer is left."""
    before = state()
    before_the_firewall.edit(
        "tasks/model/provision/firewall.py", 'lines.append(_allow(port, "SSH"))', 'lines.append(_allow(2222, "SSH"))'
    )
    running = before_the_firewall.start("firewall.apply", "-H", "lab", "--yes", "--revert-after", "8")
    wait_until("the firewall", lambda: "Status: active" in inside("ufw", "status"), 30, 0.05)
    running.kill()
    running.wait(10)
    assert ssh() != 0, "nobody gets in now"
    wait_until("the undo", lambda: ssh() == 0, 40, 1)
    wait_until("its end", lambda: inside("ls", "/opt/maicivy/shared/state").split().count("armed") == 0, 20)
    assert state() == before
    assert "firewall" in inside("cat", "/opt/maicivy/shared/state/undone")


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        ("wrong key", "UseDNS no", "AuthorizedKeysFile /etc/nobodys-keys"),
        ("wrong port", "MaxAuthTries 3", "Port 2200"),
        ("no key exchange of ours", "KexAlgorithms {kex}", "KexAlgorithms sntrup761x25519-sha512"),
    ],
)
def test_sshd_that_lets_nobody_in(project: Project, deployed: Watch, what: str, old: str, new: str) -> None:
    before = state()
    path = project.root / "tasks/model/provision/sshd.py"
    code = path.read_bytes()
    project.edit("tasks/model/provision/sshd.py", old, new)
    try:
        done = project.fab("setup", "-H", "lab", "--yes", "--harden", expect=12)
    finally:
        path.write_bytes(code)
    assert re.search(r"would have shut deploy out|everything is as before", done.stderr), done.stderr
    assert state() == before
    assert ssh() == ssh("deploy") == 0


def test_a_deploy_user_who_cannot_log_in_is_found_out_before_anything_is_changed(
    project: Project, deployed: Watch
) -> None:
    before, mode = state(), inside("stat", "-c", "%a", "/home/deploy").strip()
    inside("chmod", "0777", "/home/deploy")  # sshd trusts no keys there
    try:
        done = project.fab("setup", "-H", "lab", "--yes", "--harden", expect=None)
        assert done.returncode != 0
        assert "deploy cannot log in" in done.stderr
    finally:
        inside("chmod", mode, "/home/deploy")
    assert state() == before
