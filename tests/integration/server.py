"""A private OpenSSH server on a high port of the loopback: its own keys, configuration and log."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM = "/usr/sbin/sshd"


def free_port() -> int:
    """A TCP port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def generate_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A new key pair at `path` and `path`.pub."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True)
    return path


@dataclass
class PrivateSshd:
    """`sshd -D` under `directory`; `key` is the user key it accepts."""

    directory: Path
    key: Path
    host_key_kinds: tuple[str, ...] = ("ed25519",)
    extra: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> "PrivateSshd":
        """Write the configuration and wait until the server listens."""
        if not Path(PROGRAM).exists():
            raise RuntimeError(f"{PROGRAM} is not installed: apt-get install openssh-server")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd started by root wants to chroot
        self.directory.mkdir(parents=True, exist_ok=True)
        for kind in self.host_key_kinds:
            if not self.host_key(kind).exists():
                generate_key(self.host_key(kind), kind)
        accepted = self.directory / "authorized_keys"
        shutil.copyfile(f"{self.key}.pub", accepted)
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            *(f"HostKey {self.host_key(kind)}" for kind in self.host_key_kinds),
            f"AuthorizedKeysFile {accepted}",
            f"PidFile {self.directory / 'pid'}",
            "UsePAM no",
            "StrictModes no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "UseDNS no",
            "MaxStartups 100",
            self.extra,
        ]
        config = self.directory / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [PROGRAM, "-D", "-f", str(config), "-E", str(self.directory / "log")],
            stdin=subprocess.DEVNULL,
        )
        self._wait()
        return self

    def stop(self) -> None:
        """End the server and every session of it."""
        if self.process is None:
            return
        for pid in self.session_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 18)  # SIGCONT: a test may have frozen it
                os.kill(pid, 9)
        self.process.terminate()
        self.process.wait(timeout=10)
        self.process = None

    def session_pids(self) -> list[int]:
        """The processes that serve connections, children first."""
        found: list[int] = []
        queue = [self.process.pid] if self.process else []
        while queue:
            parent = queue.pop()
            for pid in _children(parent):
                if _name(pid).startswith("sshd"):
                    found.insert(0, pid)
                    queue.append(pid)
        return found

    def host_key(self, kind: str) -> Path:
        """The private host key of that kind."""
        return self.directory / f"host_{kind}"

    def known_line(self, kind: str = "ed25519", port: int | None = None) -> str:
        """The known_hosts line that is true for this server."""
        public = Path(f"{self.host_key(kind)}.pub").read_text().split()
        return f"[127.0.0.1]:{port or self.port} {public[0]} {public[1]}\n"

    def ssh_config(self, alias: str, known_hosts: Path, extra: str = "", port: int | None = None) -> str:
        """A Host block that reaches this server and reads nothing of the developer's."""
        return (
            f"Host {alias}\n  HostName 127.0.0.1\n  Port {port or self.port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {self.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known_hosts}\n"
            f"  GlobalKnownHostsFile /dev/null\n  {extra}\n"
        )

    def _wait(self) -> None:
        for _ in range(200):
            if self.process and self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise RuntimeError(f"sshd did not start: {(self.directory / 'log').read_text()}")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _name(pid: int) -> str:
    """What a process is called; "" for one that is gone, be it in this very moment."""
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""
