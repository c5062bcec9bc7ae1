"""The lock: one at a time among real processes, and it dies with its holder."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from host_world import World, eventually, last

from host import lock
from host.errors import Failure, Status

FILES = str(Path(lock.__file__).parents[1])
HOLD = """
import sys, time; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from host import lock
with lock.held(Path(sys.argv[2]), "app", {"who": "ann@laptop", "what": "deploy of 7", "unit": None}):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def holding(path: Path, seconds: float) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, FILES, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_who_is_refused_is_told_who_has_it_for_what_and_since_when(tmp_path: Path) -> None:
    child = holding(tmp_path / "lock", 30)
    with pytest.raises(Failure) as caught, lock.held(tmp_path / "lock", "app", {"who": "me", "what": "x"}):
        raise AssertionError
    assert caught.value.status == Status.LOCKED
    assert caught.value.cause.startswith("busy: deploy of 7 by ann@laptop since ")
    assert caught.value.hint == "wait for it to end, or watch it: sudo app attach"
    child.kill()
    child.wait()


def test_it_is_free_the_moment_its_holder_is_killed(tmp_path: Path) -> None:
    child = holding(tmp_path / "lock", 30)
    child.kill()
    child.wait()
    assert lock.holder(tmp_path / "lock") is None
    with lock.held(tmp_path / "lock", "app", {"who": "me", "what": "x"}):
        found = lock.holder(tmp_path / "lock")
    assert found is not None
    assert found["who"] == "me"
    assert lock.holder(tmp_path / "lock") is None


def test_who_waits_gets_it_and_is_told_once_what_for(tmp_path: Path) -> None:
    child = holding(tmp_path / "lock", 1)
    told: list[Failure] = []
    began = time.monotonic()
    with lock.held(tmp_path / "lock", "app", {"who": "me", "what": "x"}, wait=20, on_wait=told.append):
        assert time.monotonic() - began < 10
    assert [failure.cause.split(" since")[0] for failure in told] == ["busy: deploy of 7 by ann@laptop"]
    child.wait()


def test_of_many_that_want_it_one_has_it_at_a_time(tmp_path: Path) -> None:
    script = HOLD.replace('"unit": None}', '"unit": None}, wait=60').replace('print("held", flush=True)', "").replace(
        "time.sleep(float(sys.argv[3]))",
        "p = Path(sys.argv[2] + '.count'); n = int(p.read_text()); time.sleep(0.02); p.write_text(str(n + 1))",
    )  # fmt: skip
    (tmp_path / "lock.count").write_text("0")
    children = [subprocess.Popen([sys.executable, "-c", script, FILES, str(tmp_path / "lock"), "0"]) for _ in range(8)]
    assert [child.wait() for child in children] == [0] * 8
    assert (tmp_path / "lock.count").read_text() == "8"


def test_a_second_deploy_is_refused_with_exit_8_and_leaves_the_first_alone(world: World) -> None:
    first, second = world.receive(world.spec(1)), world.receive(world.spec(2))
    child = holding(world.config.lock, 2)
    refused = world.run("apply", second)
    assert refused.returncode == 8
    assert last(refused.stdout)["data"]["cause"].startswith("busy: deploy of 7 by ann@laptop")
    assert world.calls("systemd-run") == []
    waited = world.run("apply", first, "--wait", "30")
    assert waited.returncode == 0
    child.wait()


def test_status_names_who_is_busy(world: World) -> None:
    child = holding(world.config.lock, 30)
    busy = last(world.run("status").stdout)["busy"]
    assert (busy["who"], busy["what"]) == ("ann@laptop", "deploy of 7")
    child.kill()
    child.wait()
    assert eventually(lambda: last(world.run("status").stdout)["busy"] is None)
