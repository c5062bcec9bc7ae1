"""A dump of the database: there only when it is a good one, and for nobody else to read."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from host_world import World

from host import dump, releases
from host.errors import Failure
from host.releases import Release


@pytest.fixture
def release(world: World) -> Release:
    """A release whose database runs."""
    spec = world.spec(1, settings={"postgres_user": "shop", "postgres_db": "shopdb"})
    world.receive(spec)
    found = releases.load(world.config, spec.id)
    compose = ["docker", "compose", "-f", str(found.path / "docker-compose.prod.yml"), "up", "-d", "postgres"]
    subprocess.run(compose, check=True)
    world.forget_calls()
    return found


def files(world: World) -> list[str]:
    """What lies among the backups."""
    return sorted(path.name for path in (world.config.root / "shared/backups").rglob("*") if path.is_file())


def test_it_is_a_file_for_root_alone_named_after_the_release(world: World, release: Release) -> None:
    path = dump.make(world.config, release)
    assert path == world.config.root / "shared/backups/postgres" / f"{release.id}.dump"
    assert path.read_bytes() == b"PGDMP\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert files(world) == [path.name]


def test_it_is_made_of_the_database_of_the_settings_and_read_back(world: World, release: Release) -> None:
    dump.make(world.config, release)
    made = [call.split(maxsplit=3)[3] for call in world.calls("docker exec") if "-i" not in call.split()]
    assert "pg_dump -Fc -U shop -d shopdb" in made
    assert [call.split()[-2:] for call in world.calls("pg_restore")] == [["pg_restore", "--list"]]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"dump": ""}, "the dump is empty"),
        ({"dump": "something else"}, "the dump names no table, the database has 1"),
        ({"dump_status": 1, "dump_says": ["pg_dump: error: permission denied"]},
         "the dump failed: pg_dump: error: permission denied"),
        ({"dump_status": 137}, "the dump failed: status 137"),
        ({"restore_error": "pg_restore: error: not an archive"},
         "reading the dump failed: pg_restore: error: not an archive"),
        ({"database_size": 1 << 60}, "no room for a dump of the database"),
        ({"database_size": ""}, "the database does not answer"),
        ({"exec_error": "psql: error: connection refused"}, "the database does not answer: psql: error: connection"),
    ],
    ids=["empty", "no table", "refused", "killed", "unreadable", "no room", "silent", "down"],
)  # fmt: skip
def test_one_that_is_not_good_is_a_failure_and_leaves_nothing(
    world: World, release: Release, state: dict[str, Any], said: str
) -> None:
    world.set(**state)
    with pytest.raises(Failure) as caught:
        dump.make(world.config, release)
    assert caught.value.cause.startswith(said)
    assert caught.value.hint
    assert files(world) == []


def test_an_earlier_one_of_the_release_stays_until_there_is_a_better_one(world: World, release: Release) -> None:
    path = dump.make(world.config, release)
    world.set(dump="")
    with pytest.raises(Failure):
        dump.make(world.config, release)
    assert path.read_bytes() == b"PGDMP\n"
    world.set(dump="PGDMP again")
    assert dump.make(world.config, release).read_bytes() == b"PGDMP again\n"
    assert files(world) == [path.name]


def test_the_last_lines_of_what_failed_go_with_the_failure(world: World, release: Release) -> None:
    world.set(dump_status=1, dump_says=[f"line {number}" for number in range(30)])
    with pytest.raises(Failure, match="line 29") as caught:
        dump.make(world.config, release)
    assert caught.value.data["log"] == [f"line {number}" for number in range(10, 30)]


def test_what_a_kill_left_half_done_is_overwritten_by_the_next(world: World, release: Release) -> None:
    directory = world.config.root / "shared/backups/postgres"
    directory.mkdir()
    (directory / f".{release.id}.dump.part").write_text("half")
    path = dump.make(world.config, release)
    assert (path.read_bytes(), files(world)) == (b"PGDMP\n", [path.name])


def test_room_is_asked_for_before_anything_is_written(
    world: World, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set(database_size=100 << 20)
    for free, fits in ((163 << 20, False), (164 << 20, True)):  # 64 MB stay free

        def usage(_path: Path, free: int = free) -> SimpleNamespace:
            return SimpleNamespace(free=free)

        monkeypatch.setattr(dump.shutil, "disk_usage", usage)
        if fits:
            assert dump.make(world.config, release).is_file()
        else:
            with pytest.raises(Failure, match=r"need 164 MB, have 163 MB"):
                dump.make(world.config, release)
            assert world.calls("pg_dump") == []


def test_one_that_never_ends_is_given_up(world: World, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "_DEADLINE", 0.3)
    world.trap("pg_dump", signal="HANG")
    with pytest.raises(Failure, match="the dump did not end within"):
        dump.make(world.config, release)
    assert files(world) == []


def stop(world: World) -> None:
    containers = world.get()["containers"]
    containers["postgres"]["State"]["Status"] = "exited"
    world.set(containers=containers)


@pytest.mark.parametrize("break_it", [stop, lambda world: world.set(containers={})], ids=["stopped", "not there"])
def test_a_database_that_does_not_run_cannot_be_dumped(
    world: World, release: Release, break_it: Callable[[World], None]
) -> None:
    break_it(world)
    with pytest.raises(Failure, match="postgres does not run"):
        dump.make(world.config, release)


def test_a_full_disk_is_told_as_such(world: World, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dump.os, "fsync", full)
    with pytest.raises(Failure, match="dumping the database: no space left on the disk"):
        dump.make(world.config, release)
    assert files(world) == []
