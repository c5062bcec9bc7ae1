"""What keeps the host in order by itself: security updates and the timers that they and the certificate need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tasks.core.command import Command
from tasks.model.facts import Facts
from tasks.model.provision.step import Step, body, commands, source

NEEDED_UNITS = ("docker.service", "certbot.timer")
UPGRADE_UNITS = ("apt-daily.timer", "apt-daily-upgrade.timer")

_HELD_BACK = '"^docker"; "^containerd";'  # not runc: no service runs it, and its holes are the way out of a container
_JOURNAL = """\
# Written by `fab setup`: kept over a restart, and never more than this.
[Journal]
Storage=persistent
SystemMaxUse=500M
MaxRetentionSec=1month
"""
_OVERCOMMIT = """\
# Written by `fab setup`: Redis saves from a copy of itself, which takes memory only in name.
vm.overcommit_memory = 1
"""
_TIME = ("systemd-timesyncd", "chrony", "ntpsec", "openntpd")
_SECURITY = {
    "debian": "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    "ubuntu": "origin=Ubuntu,archive=${distro_codename}-security",
}


def upgrades(facts: Facts, app: str, reboot_time: str | None) -> Iterator[Step]:
    """Security updates now and every day, and nothing else: a new version of Docker comes when somebody is there."""
    path = f"/etc/apt/apt.conf.d/52{app}-upgrades"
    content = upgrade_settings(facts.os_id, reboot_time)
    if facts.files.get(path) != hashlib.sha256(content.encode()).hexdigest():
        variables = {"SETTINGS": path, "CONTENT": content}
        script = body("apt.sh", "file.sh", variables=variables) + 'put "$SETTINGS" 0644 "$CONTENT"\n'
        script += source("security.sh")
        yield Step("upgrades", "security updates are not set to install themselves", script)


def upgrade_settings(os_id: str, reboot_time: str | None = None) -> str:
    """The settings of unattended-upgrades for this distribution; it restarts by itself at `reboot_time` ("HH:MM")."""
    reboot = f'Unattended-Upgrade::Automatic-Reboot "{"true" if reboot_time else "false"}";\n'
    if reboot_time:
        reboot += f'Unattended-Upgrade::Automatic-Reboot-Time "{reboot_time}";\n'
    return (
        "// Written by `fab setup`: only security updates install themselves, and none of the container engine, which\n"
        "// is restarted when somebody is there. The host restarts by itself only at REBOOT_TIME.\n"
        'APT::Periodic::Update-Package-Lists "1";\n'
        'APT::Periodic::Unattended-Upgrade "1";\n'
        "#clear Unattended-Upgrade::Allowed-Origins;\n"
        "#clear Unattended-Upgrade::Origins-Pattern;\n"
        f'Unattended-Upgrade::Origins-Pattern {{ "{_SECURITY[os_id]}"; }};\n'
        f"Unattended-Upgrade::Package-Blacklist {{ {_HELD_BACK} }};\n"
        f"{reboot}"
    )


def journal(facts: Facts, app: str) -> Iterator[Step]:
    """The journal survives a restart, and does not fill the disk."""
    path = f"/etc/systemd/journald.conf.d/60-{app}.conf"
    if facts.files.get(path) != hashlib.sha256(_JOURNAL.encode()).hexdigest():
        variables = {"SETTINGS": path, "CONTENT": _JOURNAL}
        script = body("file.sh", variables=variables)
        script += 'put "$SETTINGS" 0644 "$CONTENT"\nsystemctl try-restart systemd-journald.service\n'
        yield Step("journal", "the journal has no limit of ours", script)


def memory(facts: Facts, app: str) -> Iterator[Step]:
    """What Redis asks of the kernel. In a container that is the machine's under it."""
    if facts.is_container:
        return
    path = f"/etc/sysctl.d/60-{app}.conf"
    if facts.files.get(path) != hashlib.sha256(_OVERCOMMIT.encode()).hexdigest():
        variables = {"SETTINGS": path, "CONTENT": _OVERCOMMIT}
        script = body("file.sh", variables=variables) + 'put "$SETTINGS" 0644 "$CONTENT"\n'
        script += 'sysctl -q -w vm.overcommit_memory=1 || echo "not settable here: vm.overcommit_memory"\n'
        yield Step("memory", "Redis may fail to save when memory is short (vm.overcommit_memory)", script)


def time_sync(facts: Facts) -> Iterator[Step]:
    """A clock that is set over the network. In a container it is the machine's under it."""
    running = [name for name in _TIME if _active(facts, f"{name}.service")]
    if time_left_out(facts) is None and not running:
        there = next((name for name in _TIME if name in facts.packages), None)
        name = there or _TIME[0]
        script = "" if there else body("apt.sh", "packages.sh", variables={"PACKAGES": name})
        enable = commands(Command("systemctl", "--quiet", "enable", "--now", f"{name}.service"))
        yield Step("time", "nobody sets the clock", script + enable)


def time_left_out(facts: Facts) -> str | None:
    """Why nobody on this host sets its clock, or None."""
    return "the clock is that of the machine under this container: keep it right there" if facts.is_container else None


def _active(facts: Facts, name: str) -> bool:
    return name in facts.units and facts.units[name].active == "active"


def units(facts: Facts) -> Iterator[Step]:
    """The engine and the timers enabled and running. A masked update timer is the user's decision, and stays."""
    wanted = [*NEEDED_UNITS, *(name for name in UPGRADE_UNITS if name not in masked_updates(facts))]
    wrong = [name for name in wanted if _enabled(facts, name) != "enabled" or facts.units[name].active != "active"]
    if wrong:
        masked = [name for name in wrong if _enabled(facts, name) == "masked"]
        lines = [Command("systemctl", "--quiet", "unmask", *masked)] if masked else []
        script = commands(*lines, Command("systemctl", "--quiet", "enable", "--now", *wrong))
        yield Step("units", f"not enabled or not running: {', '.join(wrong)}", script)


def masked_updates(facts: Facts) -> list[str]:
    """The timers of the updates that somebody has put out of action."""
    return [name for name in UPGRADE_UNITS if _enabled(facts, name) == "masked"]


def _enabled(facts: Facts, name: str) -> str | None:
    return facts.units[name].enabled if name in facts.units else None
