"""Hooks: when they run, what they are told, and what becomes of their failure."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core.errors import ExitStatus, Refused
from tasks.core.hooks import Hooks
from tasks.core.output import Console, Output

Write = Callable[..., Path]


class Desk:
    """A project with hooks, and what the user sees of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "hooks").mkdir()
        self.shown, self.errors = io.StringIO(), io.StringIO()
        self.out = Output(Console(stdout=self.shown, stderr=self.errors))

    def write(self, name: str, script: str, mode: int = 0o755) -> None:
        path = self.root / "hooks" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)

    def hooks(self, **more: object) -> Hooks:
        return Hooks(self.out, self.root, {"HOST": "vps", "RELEASE": "r1"}, **more)  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_project_without_hooks_runs_none(tmp_path: Path) -> None:
    Hooks(Output(), tmp_path, {}).before()
    Hooks(Output(), tmp_path, {}).after()


def test_a_hook_is_told_the_facts_and_runs_in_the_project(desk: Desk) -> None:
    desk.write("pre-deploy", 'echo "$INFRA_HOST $INFRA_RELEASE $(pwd)"; echo "${INFRA_CAUSE-none}" >&2')
    desk.hooks().before()
    assert desk.shown.getvalue() == f"hook pre-deploy\n    vps r1 {desk.root}\n    none\n"


def test_the_hook_of_a_failure_is_told_the_cause_and_the_exit_code(desk: Desk) -> None:
    desk.write("failed", 'echo "$INFRA_STATUS: $INFRA_CAUSE"')
    desk.hooks().failed("it broke", ExitStatus.UNHEALTHY)
    assert "    9: it broke\n" in desk.shown.getvalue()


def test_a_hook_before_that_fails_refuses_the_change(desk: Desk) -> None:
    desk.write("pre-deploy", "echo the tests are red; exit 3")
    with pytest.raises(Refused, match="hooks/pre-deploy ended with status 3: nothing was changed"):
        desk.hooks().before()
    assert "    the tests are red\n" in desk.shown.getvalue()


@pytest.mark.parametrize("name", ["post-deploy", "failed"])
def test_a_hook_afterwards_that_fails_is_a_warning(desk: Desk, name: str) -> None:
    desk.write(name, "exit 3")
    desk.hooks().after() if name == "post-deploy" else desk.hooks().failed("x", 1)
    assert desk.errors.getvalue() == f"warning: hooks/{name} ended with status 3\n"


def test_a_hook_that_is_not_executable_is_not_run_and_that_is_said(desk: Desk) -> None:
    desk.write("pre-deploy", "exit 3", mode=0o644)
    desk.hooks().before()
    assert "chmod +x hooks/pre-deploy" in desk.errors.getvalue()


def test_hooks_can_be_skipped(desk: Desk) -> None:
    desk.write("pre-deploy", "exit 3")
    desk.hooks(skip=True).before()
    assert desk.shown.getvalue() == ""


def test_a_hook_without_an_interpreter_says_so(desk: Desk) -> None:
    (desk.root / "hooks" / "pre-deploy").write_text("#!/no/such/program\n")
    (desk.root / "hooks" / "pre-deploy").chmod(0o755)
    with pytest.raises(Refused, match="cannot be run"):
        desk.hooks().before()


def test_a_hook_that_does_not_end_is_stopped_with_all_it_started(desk: Desk) -> None:
    desk.write("pre-deploy", f"sh -c 'sleep 3; touch {desk.root}/late' & echo started; wait")
    began = time.monotonic()
    with pytest.raises(Refused, match=r"did not end within 0\.5 s and was stopped"):
        desk.hooks(limit=0.5).before()
    assert time.monotonic() - began < 2.5
    time.sleep(3.2 - (time.monotonic() - began))
    assert not (desk.root / "late").exists()


def test_ctrl_c_ends_the_hook_of_a_host_that_is_worked_on_in_another_thread(desk: Desk) -> None:
    cancelled = threading.Event()
    desk.write("pre-deploy", "sleep 30")
    threading.Timer(0.3, cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        desk.hooks(cancelled=cancelled.is_set).before()
    assert time.monotonic() - began < 5


def test_what_a_hook_leaves_in_the_background_does_not_hold_the_deploy_up(desk: Desk) -> None:
    desk.write("post-deploy", "sleep 30 & echo done")
    began = time.monotonic()
    desk.hooks().after()
    assert time.monotonic() - began < 5
    assert "    done\n" in desk.shown.getvalue()


def test_a_hook_can_say_a_lot_and_read_nothing(desk: Desk) -> None:
    desk.write("post-deploy", "seq 1 20000; cat; printf 'no newline'")
    desk.hooks().after()
    lines = desk.shown.getvalue().splitlines()
    assert lines[-2:] == ["    20000", "    no newline"]
    assert len(lines) == 20002
