"""A change that undoes itself unless it is confirmed."""

from __future__ import annotations

import subprocess

import pytest
from host_world import World

from host import armed, converge
from host.errors import Failure, Status
from host.events import Journal


def arm(world: World, name: str = "firewall") -> None:
    armed.arm(world.config, name, f"echo undone >>{world.config.root}/log\n", 60)


def log(world: World) -> str:
    path = world.config.root / "log"
    return path.read_text() if path.exists() else ""


def test_it_is_confirmed_once_and_then_nothing_is_undone(world: World) -> None:
    arm(world)
    assert (armed.pending(world.config) or {})["name"] == "firewall"
    assert armed.confirm(world.config) == "firewall"
    assert armed.pending(world.config) is None
    assert armed.revert(world.config) is False
    assert log(world) == ""
    with pytest.raises(Failure, match="too late to confirm: nothing is waiting"):
        armed.confirm(world.config)


def test_what_the_timer_starts_undoes_it_once_and_a_confirmation_comes_too_late(world: World) -> None:
    arm(world)
    script = world.config.state / "armed" / "run.sh"
    subprocess.run(["sh", str(script)], check=True)
    assert log(world) == "undone\n"
    assert not script.exists()
    with pytest.raises(Failure, match="firewall was undone already") as caught:
        armed.confirm(world.config)
    assert caught.value.status == Status.REFUSED


def test_a_confirmation_that_came_first_leaves_nothing_for_the_timer(world: World) -> None:
    arm(world)
    text = (world.config.state / "armed" / "run.sh").read_text()
    armed.confirm(world.config)
    subprocess.run(["sh", "-c", text], check=False, capture_output=True)
    assert log(world) == ""


def test_two_changes_do_not_wait_at_once(world: World) -> None:
    arm(world)
    with pytest.raises(Failure, match="the change firewall is still to be confirmed") as caught:
        arm(world, "sshd")
    assert caught.value.status == Status.LOCKED


def test_an_undo_that_fails_keeps_what_it_needs_and_says_so(world: World) -> None:
    armed.arm(world.config, "sshd", "exit 3\n", 60)
    with pytest.raises(Failure, match="the undo failed"):
        armed.revert(world.config)
    assert (world.config.state / "armed").is_dir()


def test_the_units_outlive_a_reboot_and_need_no_python(world: World) -> None:
    arm(world)
    timer = (world.config.units / f"{world.config.app}-undo.timer").read_text()
    assert "OnActiveSec=60" in timer
    assert "WantedBy=timers.target" in timer
    service = (world.config.units / f"{world.config.app}-undo.service").read_text()
    assert f"ExecStart=/bin/sh {world.config.state}/armed/run.sh" in service
    assert world.calls("systemctl enable")


def test_a_script_that_fails_is_undone_at_once(world: World) -> None:
    root = world.config.root
    step = converge.Script("firewall", f"echo done >>{root}/log; exit 1", f"echo undone >>{root}/log\n", 60)
    with pytest.raises(Failure, match="firewall failed"):
        converge.converge(world.config, converge.Job("setup", (step,)), Journal())
    assert log(world) == "done\nundone\n"
    assert armed.pending(world.config) is None


@pytest.mark.parametrize(
    "steps",
    [
        '[{"name": "a", "script": "", "undo": "x", "seconds": 60}, {"name": "b", "script": ""}]',
        '[{"name": "a", "script": "", "undo": "x"}]',
        '[{"name": "a", "script": "", "undo": "x", "seconds": 99999}]',
    ],
)
def test_jobs_in_which_nobody_could_confirm_are_refused(steps: str) -> None:
    with pytest.raises(Failure, match="not valid"):
        converge.parse(f'{{"kind": "setup", "steps": {steps}}}'.encode())
