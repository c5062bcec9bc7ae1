"""sshd as `fab setup --harden` wants it: keys only, no root, and only algorithms without a known weakness.

The lists are those of ssh-audit's guides for each distribution. Debian 13 has post-quantum key exchanges alone; of
these, paramiko knows mlkem768x25519-sha256 since 5.1. What this workstation's own library cannot speak would lock us
out, so what it can speak is asked for before anything is planned.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

from tasks.core.errors import Refused
from tasks.model.facts import Entry, Facts
from tasks.model.provision.step import ARMED, Step, body

_CURVES = ("curve25519-sha256", "curve25519-sha256@libssh.org")
_GROUPS = ("diffie-hellman-group16-sha512", "diffie-hellman-group18-sha512")
# no group-exchange: it would depend on the file of moduli
_KEY_EXCHANGES = {
    "debian-13": ("mlkem768x25519-sha256", "sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com"),
    "debian-12": ("sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com", *_CURVES, *_GROUPS),
    "ubuntu-24.04": ("sntrup761x25519-sha512@openssh.com", *_CURVES, *_GROUPS),
    "ubuntu-22.04": ("sntrup761x25519-sha512@openssh.com", *_CURVES, *_GROUPS),
}
_CIPHERS = (
    *("chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "aes192-ctr"),
    *("aes128-gcm@openssh.com", "aes128-ctr"),
)
_MACS = ("hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "umac-128-etm@openssh.com")
_RSA_BITS = 4096  # of the host's own key; a smaller one is left where it is, and not offered

_TEXT = """\
# Written by `fab setup --harden`. The first value wins, so this file has to come first.
# Who gets in: a key, and nobody as root. The deploy user logged in anew before this came into force.
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
MaxAuthTries 3
MaxSessions 4
LoginGraceTime 30
{rsa}
# With what: see tasks/model/provision/sshd.py
KexAlgorithms {kex}
Ciphers {ciphers}
MACs {macs}
HostKeyAlgorithms {host_keys}

# What a login may do besides. Local forwarding is how the dashboards are reached.
AllowTcpForwarding local
AllowAgentForwarding no
AllowStreamLocalForwarding no
X11Forwarding no
PermitTunnel no
GatewayPorts no
PermitUserEnvironment no
TCPKeepAlive no
ClientAliveInterval 300
ClientAliveCountMax 2
Compression no
UseDNS no

# What is told, and kept
Banner /etc/issue.net
DebianBanner no
LogLevel VERBOSE
"""


def path(app: str) -> str:
    """Where the settings are."""
    return f"/etc/ssh/sshd_config.d/00-{app}.conf"


def is_hardened(facts: Facts, app: str) -> bool:
    """Whether somebody has run `fab setup --harden` on this host."""
    return path(app) in facts.entries


def key_exchanges(os: str, client: Sequence[str], known: Sequence[str] = ()) -> tuple[str, ...]:
    """What sshd is to offer so that a client which knows `client` gets in.

    Of what it has at all: `known`, if that is told. Raises Refused when there is nothing that both would accept.
    """
    wanted = tuple(name for name in _KEY_EXCHANGES[os] if name in known or not known)
    if not set(wanted) & set(client):
        wanted = (*wanted, *_CURVES)
    if not set(wanted) & set(client):
        raise Refused(
            "this workstation's SSH library knows none of the key exchanges a hardened sshd offers",
            hint="make .venv/ anew: paramiko 5.1 or newer has one",
        )
    return wanted


def content(facts: Facts, client: Sequence[str]) -> str:
    """The text of the settings for this host and this workstation."""
    rsa = ("rsa-sha2-512", "rsa-sha2-256") if facts.rsa_host_key_bits >= _RSA_BITS else ()
    return _TEXT.format(
        # OpenSSH 8.9 of Ubuntu 22.04 does not know it
        rsa="" if facts.os == "ubuntu-22.04" else "RequiredRSASize 3072\n",
        kex=",".join(key_exchanges(facts.os, client, facts.ssh_kex)),
        ciphers=",".join(_CIPHERS),
        macs=",".join(_MACS),
        host_keys=",".join(("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", *rsa)),
    )


def steps(facts: Facts, app: str, deploy_user: str, client: Sequence[str]) -> Iterator[Step]:
    """The settings, where they are missing, another, or not the ones in force."""
    methods = facts.sshd.get("authenticationmethods", "any")
    if re.search(r"\S,(password|keyboard-interactive)|(password|keyboard-interactive)\S*,", methods):
        raise Refused(
            f"sshd asks for more than a key (AuthenticationMethods {methods}), and hardening takes the more away",
            hint="leave out --harden, or take AuthenticationMethods out of sshd's settings",
        )
    file, text = path(app), content(facts, client)
    lacks = []
    if facts.files.get(file) != hashlib.sha256(text.encode()).hexdigest():
        lacks.append(f"{file} is missing or another")
    elif facts.entries.get(file) != Entry("regular file", "644", "root", "root"):
        lacks.append(f"{file} has another mode")
    else:
        # sshd tells nothing where systemd holds its port: then the file is all that is known
        lacks += [f"{key} is {value} in force" for key, value in _in_force(facts, text)]
    if lacks:
        variables = {"ARMED": ARMED.format(app=app), "DROPIN": file, "CONTENT": text}
        yield Step(
            "sshd",
            "; ".join(lacks),
            body("file.sh", "sshd.sh", variables=variables),
            undo=body("sshd-undo.sh", variables={"ARMED": variables["ARMED"], "DROPIN": file}),
            login=deploy_user,
        )


def _in_force(facts: Facts, text: str) -> Iterator[tuple[str, str]]:
    wanted = dict(line.lower().split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    for key in ("permitrootlogin", "passwordauthentication", "kbdinteractiveauthentication", "kexalgorithms"):
        if key in facts.sshd and facts.sshd[key] != wanted[key]:
            yield key, facts.sshd[key]
