"""Cut off anywhere, in any way: the site answers, nothing is half done, and the next deploy succeeds.

FAULTS=all goes through every phase and every fault (about twenty minutes); without it a choice is made.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.e2e import registry
from tests.e2e.faults import cut, kill_fab, power_cut, reboot
from tests.e2e.http11 import Site
from tests.e2e.load import Load
from tests.e2e.phases import Phases
from tests.e2e.websocket import Echo
from tests.e2e.world import (
    APP,
    SITE,
    Project,
    all_containers,
    audit,
    busy,
    containers,
    current,
    inside,
    status,
    touched,
    visit,
    wait_until,
)

SWITCHED = ("backend", "frontend")
PHASES = ("receive", "images", "migration", "beside", "switch", "probe", "drain")
FAULTS = ("fab killed", "connection cut", "host program killed", "restart", "power cut")
CHOSEN = (
    ("receive", "connection cut"),
    ("migration", "host program killed"),
    ("beside", "fab killed"),
    ("switch", "host program killed"),
    ("switch", "power cut"),
    ("drain", "restart"),
)
MATRIX = [(p, f) for p in PHASES for f in FAULTS] if os.environ.get("FAULTS") == "all" else list(CHOSEN)

# What makes a phase last long enough to be hit, taken away for the deploy afterwards.
NO_TRAPS = {"MIGRATION_COMMAND": "", "BACKEND_ENV_LAB_MIGRATION": "", "BACKEND_ENV_LAB_START_DELAY": ""}


def kill_program(_deploy: subprocess.Popen[str], phases: Phases) -> None:
    started = phases.find("", event="started")
    if started is None:  # a release is received outside of any unit
        inside("pkill", "-KILL", "-f", f"/usr/local/bin/{APP} receive")
    else:
        inside("systemctl", "kill", "--signal=KILL", started["data"]["unit"])


DO: dict[str, Callable[[subprocess.Popen[str], Phases], None]] = dict(
    zip(
        FAULTS,
        (lambda fab, _: kill_fab(fab), lambda *_: cut(), kill_program, lambda *_: reboot(), lambda *_: power_cut()),
        strict=True,
    )
)


@pytest.fixture(scope="module")
def quick(ground: Project) -> Project:
    """The checkout with a drain time that is just long enough to be hit, deployed."""
    ground.set(DRAIN_TIME="6", BACKEND_ENV_ROUND="before the faults", **NO_TRAPS)
    ground.fab("deploy", "-H", "lab", "--yes")
    return ground


def unsettled() -> str:
    """What is still to be done on the host by itself, "" when it is as it should be after any fault."""
    try:
        told = status()
        there = all_containers()
    except (AssertionError, ValueError, subprocess.TimeoutExpired) as error:
        return f"the host does not answer: {error}"
    if told["busy"]:
        return f"busy: {told['busy']['what']}"
    if told["interrupted"]:
        return f"the deploy of {told['interrupted']} is still marked as interrupted"
    for name, result in told["results"].items():
        if result["result"] == "running":
            return f"release {name} is still said to be running"
    leftover = [item.name for item in there if item.oneoff]
    if leftover:
        return f"still there: {', '.join(leftover)}"
    for service in SWITCHED:
        names = [item.name for item in there if item.service == service]
        if len(names) != 1 or told["upstreams"].get(service) != names[0]:
            return f"{service}: containers {names}, nginx is pointed at {told['upstreams'].get(service)}"
    unwell = [item["name"] for item in told["containers"] if (item["state"], item["health"]) != ("running", "healthy")]
    if unwell:
        return f"not healthy: {', '.join(unwell)}"
    deep = told["deep_health"] or {"status": 0, "body": "nobody to ask"}
    if deep["status"] != 200:
        return f"deep health: {deep}"
    answer = visit(f"https://{SITE}/health")
    return "" if answer.status == 200 else f"the site answers {answer.status} {answer.error}"


def served_round() -> str:
    """The digest of the variable ROUND in the backend that nginx is pointed at."""
    answer = visit(f"https://{SITE}/api/environment-digest?name=ROUND")
    return str(json.loads(answer.body)["sha256"])


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def goes_on(phase: str, fault: str) -> bool | None:
    """Whether the new release serves in the end; None where either is right."""
    if phase == "receive":
        return False
    if phase == "drain" or fault in ("fab killed", "connection cut"):
        return True
    # the last look through nginx takes less than a second: it may be over before the fault strikes
    return None if phase == "probe" else False


def trap(project: Project, phase: str) -> None:
    """Make the phase last."""
    if phase == "receive":
        path = project.root / "files" / "blob" / "noise.bin"
        path.parent.mkdir()
        path.write_bytes(os.urandom(48 << 20))
    elif phase == "images":
        registry.push("maicivy/backend:1.2.0", "lab/backend-1.1.0", megabytes=40)
        project.version("1.2.0", "1.0.0")
    elif phase == "migration":
        project.set(MIGRATION_COMMAND="/app/server -migrate", BACKEND_ENV_LAB_MIGRATION="hang")
        project.version("1.1.0")
    elif phase == "beside":
        project.set(BACKEND_ENV_LAB_START_DELAY="8")


def untrap(project: Project) -> None:
    """Everything as it was before `trap`."""
    (project.root / "files" / "blob" / "noise.bin").unlink(missing_ok=True)
    if (project.root / "files" / "blob").is_dir():
        (project.root / "files" / "blob").rmdir()
    project.version("1.0.0")
    project.set(**NO_TRAPS)


@pytest.fixture
def untrapped(quick: Project) -> Iterator[Project]:
    yield quick
    untrap(quick)


@pytest.mark.parametrize(("phase", "fault"), MATRIX, ids=[f"{p}-{f}".replace(" ", "_") for p, f in MATRIX])
def test_cut_off(untrapped: Project, site: Site, phase: str, fault: str) -> None:
    project, name = untrapped, f"{phase}, {fault}"
    before, old_round = current(), served_round()
    trap(project, phase)
    if phase == "migration" and fault in ("fab killed", "connection cut"):
        project.set(BACKEND_ENV_LAB_MIGRATION="hang:5")  # the host goes on, and is not to do so for ten minutes
    project.set(BACKEND_ENV_ROUND=name)
    host_stays = fault not in ("restart", "power cut")
    with ExitStack() as around:
        if phase == "drain":
            around.enter_context(Echo(site))  # without it there would be nothing to wait for
        load = around.enter_context(Load(site, rate=25, slow=0)) if host_stays else None
        with Phases() as phases:
            deploy = project.start("deploy", "-H", "lab", "--yes")
            try:
                phases.wait(phase)
                DO[fault](deploy, phases)
                output, _ = deploy.communicate(timeout=300)
            finally:
                if deploy.poll() is None:
                    os.killpg(deploy.pid, signal.SIGKILL)
        if fault == "connection cut" and phase != "receive":
            assert deploy.returncode == 6, output
            assert "the host goes on without us" in output
        if fault == "host program killed":
            assert deploy.returncode != 0 or phase == "drain", output
        assert "Traceback" not in output
        why = ["nothing was asked yet"]

        def settled() -> bool:
            why[0] = unsettled()
            return not why[0]

        try:
            wait_until("settled", settled, seconds=150, every=1)
        except AssertionError:
            raise AssertionError(f"{name}: {why[0]}\n{output}") from None
    if load is not None:
        assert load.failures == [], load.describe()

    new = {True: digest(name), False: old_round}
    expected = goes_on(phase, fault)
    if expected is None:
        expected = current() != before
    assert served_round() == new[expected], "what serves is what it should be"
    assert (current() != before) is expected, "and what is said to serve"
    assert not [entry for entry in inside("ls", "-A", f"/opt/{APP}/releases").split() if entry.startswith(".")] or (
        phase == "receive"
    )

    untrap(project)
    project.set(BACKEND_ENV_ROUND=f"after {name}")
    project.fab("deploy", "-H", "lab", "--yes")
    assert unsettled() == ""
    assert served_round() == digest(f"after {name}")
    assert project.json("health", "-H", "lab")["ok"] is True
    assert not [entry for entry in inside("ls", "-A", f"/opt/{APP}/releases").split() if entry.startswith(".")]


def test_of_two_deploys_at_once_one_waits_and_one_says_who_holds_the_lock(untrapped: Project) -> None:
    untrapped.set(BACKEND_ENV_ROUND="first of two", BACKEND_ENV_LAB_START_DELAY="8")
    with Phases() as phases:
        first = untrapped.start("deploy", "-H", "lab", "--yes")
        phases.wait("beside")
        untrapped.set(BACKEND_ENV_ROUND="second of two", BACKEND_ENV_LAB_START_DELAY="")
        holder = busy()
        assert holder
        refused = untrapped.fab("deploy", "-H", "lab", "--yes", expect=8)
        waiting = untrapped.start("deploy", "-H", "lab", "--yes", "--wait", "120")
        output, _ = first.communicate(timeout=180)
        assert first.returncode == 0, output
        waited, _ = waiting.communicate(timeout=180)
    assert "deploy of" in refused.stderr, "what it does is named"
    assert holder["who"] in refused.stderr, "and whose it is"
    assert waiting.returncode == 0, waited
    assert served_round() == digest("second of two"), "the later one came later"
    assert unsettled() == ""


def test_a_full_disk_is_refused_before_anything_changed(untrapped: Project) -> None:
    releases, before, release = f"/opt/{APP}/releases", containers(), current()
    entries = len(audit())
    # a small file system in its place that holds what is there and hardly more
    inside("cp", "-a", releases, f"{releases}.kept")
    inside("mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", releases)
    try:
        script = f"cp -a {releases}.kept/{release} {releases}/ && head -c 4M /dev/zero > {releases}/fill || true"
        inside("sh", "-c", script)
        untrapped.set(BACKEND_ENV_ROUND="disk full")
        done = untrapped.fab("deploy", "-H", "lab", "--yes", expect=11)
        assert "need" in done.stderr
        assert "have" in done.stderr
        assert sorted(inside("ls", "-A", releases).split()) == sorted([release, "fill"])
    finally:
        inside("umount", releases)
        inside("rm", "-rf", f"{releases}.kept")
    assert touched(before) == {}
    assert current() == release
    assert len(audit()) == entries, "nothing was begun"
    assert unsettled() == ""
