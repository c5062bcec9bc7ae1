"""What `fab setup --harden` does to the system besides sshd: kernel settings, what is never needed here, file modes.

Files of our own wherever the system takes them, else single lines. A file that the user has changed stays.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator

from tasks.model.facts import Entry, Facts
from tasks.model.provision.step import Step, body

KERNEL = {
    # links and pipes of others in /tmp are no trap
    "fs.protected_fifos": "2",
    "fs.protected_hardlinks": "1",
    "fs.protected_regular": "2",
    "fs.protected_symlinks": "1",
    "fs.suid_dumpable": "0",
    # what the kernel tells whom: addresses and its log to root alone
    "kernel.dmesg_restrict": "1",
    "kernel.kptr_restrict": "2",
    "kernel.perf_event_paranoid": "3",
    "kernel.sysrq": "0",
    "kernel.core_uses_pid": "1",
    "kernel.unprivileged_bpf_disabled": "1",
    "kernel.yama.ptrace_scope": "1",
    "net.core.bpf_jit_harden": "2",
    "dev.tty.ldisc_autoload": "0",
    # nobody else decides where packets go. Loose reverse paths: strict ones shut out hosts with two lines
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.all.accept_source_route": "0",
    "net.ipv4.conf.all.bootp_relay": "0",
    "net.ipv4.conf.all.proxy_arp": "0",
    "net.ipv4.conf.all.rp_filter": "2",
    "net.ipv4.conf.all.secure_redirects": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.accept_redirects": "0",
    "net.ipv4.conf.default.accept_source_route": "0",
    "net.ipv4.conf.default.rp_filter": "2",
    "net.ipv4.icmp_echo_ignore_broadcasts": "1",
    "net.ipv4.icmp_ignore_bogus_error_responses": "1",
    "net.ipv4.tcp_rfc1337": "1",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv6.conf.all.accept_redirects": "0",
    "net.ipv6.conf.all.accept_source_route": "0",
    "net.ipv6.conf.default.accept_redirects": "0",
    "net.ipv6.conf.default.accept_source_route": "0",
}
"""Never net.ipv4.ip_forward=0 or kernel.modules_disabled=1, which lists like this often have: Docker needs both.

Nor log_martians: UFW sets it to 0 whenever it starts.
"""

IN_A_CONTAINER = (
    "the kernel is that of the machine under this container: of its settings only those of the network are made"
)

# Protocols and file systems that no server like this one uses. Not udf and squashfs: cloud-init and snap read them.
_MODULES = (
    "dccp",
    "sctp",
    "rds",
    "tipc",
    "cramfs",
    "freevxfs",
    "hfs",
    "hfsplus",
    "jffs2",
    "firewire-core",
    "usb-storage",
)

_BANNER = """\
This system is private: access is for authorized users only.
All activity is monitored and logged. By going on you consent to this.
Unauthorized use is prohibited and may be prosecuted by law.
"""
_DUMPS = "# Written by `fab setup --harden`: a core dump is a copy of all that a program had in memory.\n"
_LIMITS = f"{_DUMPS}* - core 0\nroot - core 0\n"  # * is not root
_COREDUMP = f"{_DUMPS}[Coredump]\nStorage=none\nProcessSizeMax=0\n"
LOGIN = {"UMASK": "027", "PASS_MIN_DAYS": "1", "SHA_CRYPT_MIN_ROUNDS": "65536"}
"""Lines of /etc/login.defs, which knows no directory for others; they count for accounts that are still to come.

Never PASS_MAX_DAYS: a password that ran out, even one that nobody logs in with, shuts its owner's key out as well.
"""

MODES = {
    **{f"/etc/cron.{name}": "700" for name in ("d", "daily", "hourly", "weekly", "monthly")},
    "/etc/crontab": "600",
    "/etc/sudoers.d": "750",
}
_PROFILE = """\
# Written by `fab setup --harden`: no core dumps, and a shell that nobody has used for an hour ends.
ulimit -c 0 2>/dev/null
export TMOUT=3600
"""
PACKAGES = ("apt-listchanges", "apt-show-versions", "debsums", "libpam-passwdqc", "libpam-tmpdir", "needrestart")
"""Small ones: what updates change, which are pending, which services still run old code; changed files; own /tmp; and
no weak password for an account that sudo asks for one."""


def kernel(facts: Facts) -> dict[str, str]:
    """The settings that are the host's to make: a container may only set those of its own network."""
    return {key: value for key, value in KERNEL.items() if not facts.is_container or key.startswith("net.ipv")}


def files(facts: Facts, app: str) -> dict[str, str]:
    """The text of each file of our own, by path."""
    unused = [name for name in _MODULES if name.replace("-", "_") not in facts.modules]  # a host may boot from USB
    head = "# Written by `fab setup --harden`; the reasons are in docs/reference/hardening.md.\n"
    return {
        f"/etc/sysctl.d/60-{app}-hardening.conf": head + "".join(f"{k} = {v}\n" for k, v in kernel(facts).items()),
        f"/etc/modprobe.d/60-{app}.conf": head + "".join(f"install {name} /bin/false\n" for name in unused),
        f"/etc/security/limits.d/60-{app}.conf": _LIMITS,
        f"/etc/systemd/coredump.conf.d/60-{app}.conf": _COREDUMP,
        f"/etc/profile.d/60-{app}.sh": _PROFILE,
    }


def steps(facts: Facts, app: str) -> Iterator[Step]:
    """What is not yet so."""
    wanted = files(facts, app)
    wrong = [path for path, text in wanted.items() if not _is(facts, path, text)]
    if wrong:
        puts = "".join(f"put {path} 0644 {shlex.quote(wanted[path])}\n" for path in wrong)
        variables = {"APP": app, "KEYS": "\n".join(f"{key} {value}" for key, value in kernel(facts).items())}
        script = body("kernel.sh", "file.sh", variables=variables) + puts
        yield Step("hardening", f"missing or another: {', '.join(wrong)}", script)
    missing = [name for name in PACKAGES if name not in facts.packages]
    if missing:
        script = body("apt.sh", "packages.sh", variables={"PACKAGES": " ".join(missing)})
        yield Step("hardening-packages", f"missing: {', '.join(missing)}", script)
    yield from _system(facts)


def _system(facts: Facts) -> Iterator[Step]:
    lines = {key: value for key, value in LOGIN.items() if facts.login_defs.get(key) != value}
    modes = {path: mode for path, mode in MODES.items() if path in facts.entries and facts.entries[path].mode != mode}
    banners = [path for path in ("/etc/issue", "/etc/issue.net") if path in facts.stock_banners]
    debsums = (
        facts.debsums_check != "weekly"
    )  # installed by the step before, where it is missing; it never looks unasked
    why = [f"/etc/login.defs: {', '.join(lines)}"] if lines else []
    why += [f"others can read {', '.join(modes)}"] if modes else []
    why += [f"{', '.join(banners)} tell the version of the system"] if banners else []
    why += ["debsums does not look every week"] if debsums else []
    if why:
        script = body("login.sh", variables={"LINES": "\n".join(f"{k} {v}" for k, v in lines.items())})
        script += "".join(f"chmod 0{mode} {path}\n" for path, mode in modes.items())
        script += "".join(f"printf '%s' {shlex.quote(_BANNER)} >{path}\n" for path in banners)
        script += "sed -i 's/^CRON_CHECK=.*/CRON_CHECK=weekly/' /etc/default/debsums\n" if debsums else ""
        yield Step("hardening-system", "; ".join(why), script)


def _is(facts: Facts, path: str, text: str) -> bool:
    right = facts.files.get(path) == hashlib.sha256(text.encode()).hexdigest()
    return right and facts.entries.get(path) == Entry("regular file", "644", "root", "root")
