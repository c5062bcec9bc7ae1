"""Events: whole lines, a last one always, and a reader who comes late or stays when the writer dies."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path

import pytest

from host import events, unit
from host.errors import Failure, Status
from host.events import Journal


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_step_says_that_it_runs_and_how_it_ended(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "e.jsonl")
    with journal.step("images", "looking") as step:
        step.done("2 pulled", pulled=2)
    with journal.step("check", "checking") as step:
        step.skip("nothing changed")
    with pytest.raises(Failure), journal.step("health", "waiting"):
        raise Failure("backend is unhealthy")
    found = [(item["step"], item["state"], item["message"]) for item in lines(tmp_path / "e.jsonl")]
    assert found == [
        ("images", "running", "looking"), ("images", "done", "2 pulled"), ("check", "running", "checking"),
        ("check", "skipped", "nothing changed"), ("health", "running", "waiting"),
        ("health", "failed", "backend is unhealthy"),
    ]  # fmt: skip


def test_a_reader_gets_everything_and_the_exit_status(tmp_path: Path) -> None:
    path, got = tmp_path / "e.jsonl", list[bytes]()
    journal = Journal(path)

    def write() -> None:
        for number in range(50):
            journal.emit("output", "x", "running", f"line {number}")
            time.sleep(0.002)
        journal.write(events.final(Status.UNHEALTHY, "sick", "look"))

    writer = threading.Thread(target=write)
    writer.start()
    status = events.follow(path, writer.is_alive, got.append, lambda: Failure("died"), 0.05)
    writer.join()
    assert status == 9
    assert len(got) == 51
    assert all(json.loads(line) for line in got)


def test_a_writer_that_died_without_a_word_ends_in_a_failed_event_that_stays_in_the_file(tmp_path: Path) -> None:
    path, got = tmp_path / "e.jsonl", list[bytes]()
    Journal(path).emit("step", "live", "running", "writing")
    with path.open("ab") as stream:
        stream.write(b'{"event": "ste')  # cut off in the middle of a line
    status = events.follow(path, lambda: False, got.append, lambda: unit.death("oom-kill", "KILL"), 0.05)
    assert status == 12
    final = json.loads(got[-1])
    assert final["event"] == "failed"
    assert final["data"]["cause"] == "the command was cut off: it was killed because the host is out of memory"
    assert final["data"]["hint"]


def test_a_listener_that_has_gone_does_not_stop_the_work(tmp_path: Path) -> None:
    class Gone(io.BytesIO):
        def write(self, _data: object) -> int:
            raise BrokenPipeError

    journal = Journal(tmp_path / "e.jsonl", Gone())
    journal.emit("output", "x", "running", "one")
    journal.emit("output", "x", "running", "two")
    assert len(lines(tmp_path / "e.jsonl")) == 2


def test_a_unit_has_no_tie_to_its_caller_and_is_told_apart_in_its_end(tmp_path: Path) -> None:
    from host import config

    found = config.from_json(b'{"app": "shop"}')
    argv = unit.argv(found, "shop-apply-1", Path("/opt/shop/shared/state/events/1.jsonl"), ["run-apply", "1"])
    assert argv[:4] == ["systemd-run", "--unit=shop-apply-1", "--collect", "--no-block"]
    assert "--property=KillMode=mixed" in argv
    assert "--property=ExecStopPost=/usr/local/bin/shop ended /opt/shop/shared/state/events/1.jsonl" in argv
    assert argv[argv.index("--") + 1 :] == ["/usr/local/bin/shop", "run-apply", "1"]
