"""The unit files a release brings, installed into systemd and taken out again when a release has them no more."""

from __future__ import annotations

import re
from pathlib import Path

from host import durable
from host.config import Config
from host.errors import Failure, from_os_error
from host.events import Step
from host.process import run
from host.releases import Release

_LIST = "units.json"
_DEADLINE = 90.0  # seconds
_STATES = ("LoadState", "UnitFileState", "ActiveState")


def _ours(config: Config) -> list[str]:
    value = durable.read_json(config.state / _LIST)
    return [str(item) for item in value] if isinstance(value, list) else []


def _is_unit(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9@_.\\-]+\.(service|timer|path|socket|target|mount)", name) is not None


def install(config: Config, release: Release, step: Step) -> None:
    """Make the unit files those of the release: written, reloaded, enabled; timers are started too.

    Raises Failure when systemd refuses. Services are not started: the containers run already.
    """
    wanted = {path.removeprefix("systemd/"): release.path / path for path in release.manifest.below("systemd")}
    gone = [name for name in _ours(config) if name not in wanted]
    changed = [name for name, source in wanted.items() if _content(config.units / name) != source.read_bytes()]
    try:
        durable.write_json(config.state / _LIST, sorted({*wanted, *_ours(config)}))
        for name in changed:
            (config.units / name).parent.mkdir(mode=0o755, exist_ok=True)
            (config.units / name).parent.chmod(0o755)
            durable.write(config.units / name, wanted[name].read_bytes(), 0o644)
        for name in gone:
            if _is_unit(name):
                run(["systemctl", "disable", "--now", name], deadline=_DEADLINE, check=False)
            (config.units / name).unlink(missing_ok=True)
    except OSError as error:
        raise from_os_error(error, "installing the systemd units") from error
    if changed or gone:
        _systemctl("daemon-reload")
    enabled = _enable(wanted)
    durable.write_json(config.state / _LIST, sorted(wanted))
    if changed or gone or enabled:
        step.done(f"systemd units: {len(changed)} written, {len(gone)} removed, {len(enabled)} enabled", units=changed)
    else:
        step.skip("systemd units are as they should be")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _enable(wanted: dict[str, Path]) -> list[str]:
    installable = [name for name, source in wanted.items() if _is_unit(name) and b"[Install]" in source.read_bytes()]
    now = states(installable)
    timers = [name for name in installable if name.endswith(".timer")]
    due = [
        name
        for name in installable
        if now.get(name, {}).get("UnitFileState") != "enabled"
        or (name in timers and now[name].get("ActiveState") != "active")
    ]
    for name in due:
        _systemctl("enable", *(["--now"] if name in timers else []), name)
    return due


def _systemctl(*words: str) -> None:
    done = run(["systemctl", *words], deadline=_DEADLINE, check=False)
    if done.status != 0:
        raise Failure(
            f"systemctl {' '.join(words)} failed: {done.last_line}", hint="look at: systemctl --failed; journalctl -xe"
        )


def states(names: list[str]) -> dict[str, dict[str, str]]:
    """{"unit": {"LoadState", "UnitFileState", "ActiveState"}}, asked in one call; {} where there is no systemd."""
    if not names:
        return {}
    try:
        done = run(
            ["systemctl", "show", "-p", "Id", *(f"-p{key}" for key in _STATES), "--", *names], deadline=20, check=False
        )
    except Failure:
        return {}
    found = {}
    for name, block in zip(names, done.text.strip().split("\n\n"), strict=False):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        if "LoadState" not in fields:
            break  # no systemd here, or not one that answers
        found[name] = {key: fields.get(key, "") for key in _STATES}
    return found


def summary(config: Config) -> dict[str, str]:
    """{"unit": "enabled" | "disabled" | "missing" | ...} of the application's units and certbot's timer."""
    names = sorted({f"{config.app}.service", "certbot.timer", *filter(_is_unit, _ours(config))})
    return {name: _condition(config, name, fields) for name, fields in states(names).items()}


def _condition(config: Config, name: str, fields: dict[str, str]) -> str:
    if fields["LoadState"] == "not-found":
        return "missing"
    if name == f"{config.app}-wal.service" and fields["ActiveState"] != "active":
        return fields["ActiveState"]  # the one that is to run all the time
    return fields["UnitFileState"] or fields["LoadState"]


def hand_over(config: Config, release: Release) -> None:
    """Tell systemd that the application is up, so that a shutdown stops the containers in their own time.

    Not waited for: the unit runs `up`, which sees at once that everything runs and needs no lock for that.
    """
    name = f"{config.app}.service"
    if f"systemd/{name}" in release.manifest.files and states([name]).get(name, {}).get("ActiveState") in (
        "inactive",
        "failed",
    ):
        run(["systemctl", "start", "--no-block", name], deadline=_DEADLINE, check=False)
