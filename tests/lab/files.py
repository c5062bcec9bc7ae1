"""What the lab leaves on this machine: .lab/, so that ssh and the toolkit find their way in."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import env
from .docker import LabError, docker
from .names import CACHE, PEBBLE, REGISTRY, REGISTRY_USER, STATE, address, alias, container

KEY = STATE / "id_ed25519"
SSH_CONFIG = STATE / "ssh_config"
KNOWN_HOSTS = STATE / "known_hosts"
ENV = STATE / "env"
CA = STATE / "ca.pem"


def write(path: Path, text: str, mode: int = 0o644) -> bool:
    """Put `text` at `path` in one step and never with another mode; false when it was there already."""
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made 0600
    with os.fdopen(handle, "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    Path(temporary).replace(path)
    return True


def key() -> str:
    """The public key that opens every host; made at the first call."""
    if not KEY.exists():
        STATE.mkdir(exist_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(KEY)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"ssh-keygen: {done.stderr.strip()}")
    return KEY.with_suffix(".pub").read_text().strip()


def admit(number: int, key: str) -> list[str]:
    """Let `key` into host `number` as admin and root; return the host's own public keys, read inside of it."""
    script = """
        read -r key
        for home in /root /home/admin; do
            grep -qxF "$key" "$home/.ssh/authorized_keys" 2>/dev/null && continue
            printf '%s\\n' "$key" >> "$home/.ssh/authorized_keys" && chmod 0600 "$home/.ssh/authorized_keys"
            chown --reference="$home" "$home/.ssh/authorized_keys"
        done
        cut -d' ' -f1,2 /etc/ssh/ssh_host_*_key.pub"""
    return docker("exec", "-i", container(number), "sh", "-c", script, stdin=f"{key}\n".encode()).splitlines()


def trust(number: int, authority: str) -> None:
    """Make host `number` trust the HTTPS of pebble's API, as every server trusts that of Let's Encrypt."""
    script = """
        file=/usr/local/share/ca-certificates/lab-pebble.crt
        cat > /run/lab-ca.pem
        cmp -s /run/lab-ca.pem $file || { cp /run/lab-ca.pem $file && update-ca-certificates >/dev/null 2>&1; }
        rm /run/lab-ca.pem"""
    docker("exec", "-i", container(number), "sh", "-c", script, stdin=authority.encode())


def ssh_config(numbers: list[int]) -> str:
    """The client configuration for these hosts, with absolute paths: it is used from any directory."""
    blocks = [
        f"Host {alias(n)}\n    HostName {address(n)}\n    Port 22\n    User admin\n"
        f'    IdentityFile "{KEY}"\n    IdentitiesOnly yes\n'
        f'    UserKnownHostsFile "{KNOWN_HOSTS}"\n    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n'
        for n in numbers
    ]
    return "# Written by `fab lab.up`.\n" + "\n".join(blocks)


def known_hosts(keys: dict[int, list[str]]) -> str:
    """One line per host key, under the address, the alias and the container's name."""
    return "".join(
        f"{address(n)},{alias(n)},{container(n)} {line}\n" for n, lines in sorted(keys.items()) for line in lines
    )


def settings() -> dict[str, str]:
    """Write .lab/env, keeping the secrets it has, and return its values."""
    found = env.values(env.parse(ENV.read_text()) if ENV.exists() else {})
    write(ENV, env.render(found), 0o600)
    return found


def registry_password(password: str) -> None:
    """Make the private door of the registry take this password. The registry reads the file again when it changes."""
    script = """
        read -r password
        file=/etc/lab-registry/htpasswd
        if [ -s $file ] && printf '%s\\n' "$password" | htpasswd -iv $file "$1" 2>/dev/null; then exit 0; fi
        printf '%s\\n' "$password" | htpasswd -iBC 5 -c $file "$1" 2>&1"""
    docker("exec", "-i", REGISTRY, "sh", "-c", script, "sh", REGISTRY_USER, stdin=f"{password}\n".encode())


def authorities() -> str:
    """Add the root of the running pebble to .lab/ca.pem.

    It makes a new one at every start, and certificates of older ones live on.
    Returns the authority behind pebble's own HTTPS, which is another one.
    """
    answer = docker(
        "exec", PEBBLE, "sh", "-c",
        "cat /lab-ca/ca.pem; curl -sS --fail --retry 50 --retry-all-errors --retry-delay 0 --cacert /lab-ca/ca.pem https://localhost:15000/roots/0",
    )  # fmt: skip
    end = "-----END CERTIFICATE-----\n"
    own, _, root = answer.partition(end)
    before = CA.read_text() if CA.exists() else ""
    if root.strip() not in before:
        write(CA, before + root.strip() + "\n")
    return own + end


def remove() -> None:
    """Remove everything below .lab/ but the caches and the log of an engine that still writes to it."""
    keep = {CACHE.name, "dockerd.log"}
    for path in STATE.iterdir() if STATE.exists() else ():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
