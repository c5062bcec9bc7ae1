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


def test_a_disk_that_is_full_at_the_end_does_not_either_and_leaves_no_command_running(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit.begin(world.config, ENTRY)

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audit.os, "write", full)
    audit.end(world.config, "done")
    audit.recover(world.config)
    monkeypatch.undo()
    assert audit.tail(world.config, 10) == []
    audit.begin(world.config, ENTRY)
    audit.end(world.config, "done")
    assert [line["result"] for line in audit.tail(world.config, 10)] == ["done"]


def test_of_the_files_put_aside_one_is_kept(world: World) -> None:
    path = world.config.state / "audit.jsonl"
    for what in ("oldest", "older", "old"):
        path.write_text(json.dumps({"what": what, "cause": "x" * (1 << 20)}) + "\n")
        audit.begin(world.config, ENTRY)
        audit.end(world.config, "done")
    assert sorted(item.name for item in world.config.state.glob("audit*")) == ["audit.1.jsonl", "audit.jsonl"]
    assert [line["what"] for line in audit.tail(world.config, 10)] == ["old", "deploy"]


def test_a_file_is_put_aside_only_when_it_is_over_the_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.config.state / "audit.jsonl"
    path.write_bytes(b'{"what": "one"}\n')
    monkeypatch.setattr(audit, "_SIZE", path.stat().st_size)
    audit.begin(world.config, ENTRY)
    audit.end(world.config, "done")
    assert not (world.config.state / "audit.1.jsonl").exists()
    assert len(path.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("text", [b"\xff\n", b"[]\n", b"\n\n", b"7\n"])
def test_what_is_no_entry_is_left_out(world: World, text: bytes) -> None:
    (world.config.state / "audit.jsonl").write_bytes(text + b'{"what": "one"}\n')
    assert audit.tail(world.config, 10) == [{"what": "one"}]


def test_an_end_without_a_beginning_writes_nothing(world: World) -> None:
    audit.end(world.config, "done")
    (world.config.state / "running.json").write_text("{")  # half of one
    audit.recover(world.config)
    assert audit.tail(world.config, 10) == []
    assert not (world.config.state / "running.json").exists()


def process(proc: Path, pid: int, parent: int, environment: bytes) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "environ").write_bytes(environment)
    (proc / str(pid) / "stat").write_text(f"{pid} (su do) S {parent} 1 1")


def test_the_client_is_found_in_the_processes_that_called_us_although_sudo_hides_it(tmp_path: Path) -> None:
    process(tmp_path, 30, 20, b"PATH=/bin\0")  # this program, by sudo
    process(tmp_path, 20, 10, b"PATH=/bin\0")  # sudo
    process(tmp_path, 10, 1, b"HOME=/\0SSH_CONNECTION=192.0.2.7 5022 192.0.2.1 22\0")  # the login shell
    assert audit.client(tmp_path, 30) == "192.0.2.7"


def test_processes_that_call_each_other_in_a_circle_are_looked_at_only_so_often(tmp_path: Path) -> None:
    process(tmp_path, 30, 31, b"")
    process(tmp_path, 31, 30, b"")
    assert audit.client(tmp_path, 30) is None


@pytest.mark.parametrize("stat", ["", "30 (x", "30 (x) S what"])
def test_a_process_that_makes_no_sense_ends_the_search(tmp_path: Path, stat: str) -> None:
    process(tmp_path, 30, 1, b"PATH=/bin\0")
    (tmp_path / "30/stat").write_text(stat)
    assert audit.client(tmp_path, 30) is None


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
