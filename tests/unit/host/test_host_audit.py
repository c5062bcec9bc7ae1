"""One line for every command that changes the host, whatever became of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from host_world import World

from host import audit, durable

ENTRY = {"what": "deploy", "target": "r1", "by": "me@here", "from": "192.0.2.7", "plan": "aaaaaa-bbbbbb"}


def test_a_command_leaves_one_line_with_its_result(world: World) -> None:
    audit.begin(world.config, ENTRY)
    audit.end(world.config, "failed", "the disk\nis full")
    [line] = audit.tail(world.config, 10)
    assert {key: line[key] for key in ENTRY} == ENTRY
    assert (line["result"], line["cause"]) == ("failed", "the disk is full")
    assert line["start"] <= line["end"]
    assert (world.config.state / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_command_that_was_cut_off_gets_its_line_from_the_next_one(world: World) -> None:
    audit.begin(world.config, ENTRY)
    assert audit.tail(world.config, 10) == []
    audit.recover(world.config)
    audit.recover(world.config)
    [line] = audit.tail(world.config, 10)
    assert (line["target"], line["result"]) == ("r1", "interrupted")


def test_the_newest_lines_come_last_and_no_more_than_asked_for(world: World) -> None:
    for number in range(5):
        audit.begin(world.config, {**ENTRY, "target": number})
        audit.end(world.config, "done")
    assert [line["target"] for line in audit.tail(world.config, 2)] == [3, 4]
    assert audit.tail(world.config, 0) == []


def test_a_line_that_was_cut_off_is_left_out_and_does_not_swallow_the_next(world: World) -> None:
    path = world.config.state / "audit.jsonl"
    path.write_bytes(b'{"what": "one"}\n{"what": "tw')
    audit.begin(world.config, ENTRY)
    audit.end(world.config, "done")
    assert [line["what"] for line in audit.tail(world.config, 10)] == ["one", "deploy"]


def test_a_large_file_is_put_aside_and_still_read(world: World) -> None:
    path = world.config.state / "audit.jsonl"
    path.write_text(json.dumps({"what": "old", "cause": "x" * (1 << 20)}) + "\n")
    audit.begin(world.config, ENTRY)
    audit.end(world.config, "done")
    assert path.stat().st_size < 1000
    assert [line["what"] for line in audit.tail(world.config, 10)] == ["old", "deploy"]


def test_a_full_disk_does_not_make_the_command_fail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write_json", full)
    audit.begin(world.config, ENTRY)
    audit.end(world.config, "done")
    assert audit.tail(world.config, 10) == []


def process(proc: Path, pid: int, parent: int, environment: bytes) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "environ").write_bytes(environment)
    (proc / str(pid) / "stat").write_text(f"{pid} (su do) S {parent} 1 1")


def test_the_client_is_found_in_the_processes_that_called_us_although_sudo_hides_it(tmp_path: Path) -> None:
    process(tmp_path, 30, 20, b"PATH=/bin\0")  # this program, by sudo
    process(tmp_path, 20, 10, b"PATH=/bin\0")  # sudo
    process(tmp_path, 10, 1, b"HOME=/\0SSH_CONNECTION=192.0.2.7 5022 192.0.2.1 22\0")  # the login shell
    assert audit.client(tmp_path, 30) == "192.0.2.7"


def test_without_a_connection_there_is_no_client(tmp_path: Path) -> None:
    process(tmp_path, 30, 1, b"PATH=/bin\0")
    assert audit.client(tmp_path, 30) is None
    assert audit.client(tmp_path, 31) is None


def test_every_apply_is_written_down_with_its_plan(world: World) -> None:
    world.receive(world.spec(1))
    done = world.run("apply", world.spec(1).id, "--by", "me@here", "--plan", "aaaaaa-bbbbbb")
    assert done.returncode == 0
    assert world.run("apply", "20200101T000000Z-none", "--by", "me@here").returncode != 0
    answer = json.loads(world.run("audit").stdout)
    first, second = answer["entries"]
    assert (first["what"], first["target"], first["result"]) == ("deploy", world.spec(1).id, "done")
    assert (first["by"], first["plan"]) == ("me@here", "aaaaaa-bbbbbb")
    assert second["result"] == "failed"
    assert second["cause"]
