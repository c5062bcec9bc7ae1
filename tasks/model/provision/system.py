"""What keeps the host in order by itself: security updates and the timers that they and the certificate need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tasks.core.command import Command
from tasks.model.facts import Facts
from tasks.model.provision.step import Step, body, commands

NEEDED_UNITS = ("docker.service", "certbot.timer")
UPGRADE_UNITS = ("apt-daily.timer", "apt-daily-upgrade.timer")

_SECURITY = {
    "debian": "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    "ubuntu": "origin=Ubuntu,archive=${distro_codename}-security",
}


def upgrades(facts: Facts, app: str) -> Iterator[Step]:
    """Security updates every day and nothing else: a new version of Docker comes when somebody is there."""
    path = f"/etc/apt/apt.conf.d/52{app}-upgrades"
    content = upgrade_settings(facts.os_id)
    if facts.files.get(path) != hashlib.sha256(content.encode()).hexdigest():
        variables = {"SETTINGS": path, "CONTENT": content}
        script = body("file.sh", variables=variables) + 'put "$SETTINGS" 0644 "$CONTENT"\n'
        yield Step("upgrades", "security updates are not set to install themselves", script)


def upgrade_settings(os_id: str) -> str:
    """The settings of unattended-upgrades for this distribution."""
    return (
        "// Written by `fab setup`: only security updates install themselves, and the host never restarts on its own.\n"
        'APT::Periodic::Update-Package-Lists "1";\n'
        'APT::Periodic::Unattended-Upgrade "1";\n'
        "#clear Unattended-Upgrade::Allowed-Origins;\n"
        "#clear Unattended-Upgrade::Origins-Pattern;\n"
        f'Unattended-Upgrade::Origins-Pattern {{ "{_SECURITY[os_id]}"; }};\n'
        'Unattended-Upgrade::Automatic-Reboot "false";\n'
    )


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
