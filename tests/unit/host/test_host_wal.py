"""PostgreSQL's log of changes on the disk: which segments follow each other, how far they lead, which may go."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_world import World

from host.backup import base, catalog, past, recovery, wal
from host.backup.policy import Policy
from host.errors import Failure, Status

MIB = 1 << 20
ONE, TWO = "7000000000000000001", "7000000000000000002"


def received(world: World, run: str, *segments: str) -> Path:
    path = wal.folder(world.config) / run
    path.mkdir()
    for name in segments:
        (path / name).write_bytes(b"x" * 10)
    return path


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


@pytest.mark.parametrize(
    ("name", "size", "after"),
    [
        ("000000010000000000000009", 16 * MIB, "00000001000000000000000A"),
        ("0000000100000000000000FF", 16 * MIB, "000000010000000100000000"),
        ("0000000A000000020000003F", 64 * MIB, "0000000A0000000300000000"),
        ("000000010000000000000FFF", 1 * MIB, "000000010000000100000000"),
    ],
)
def test_segments_follow_each_other_whatever_their_size(name: str, size: int, after: str) -> None:
    assert wal.following(name, size) == after


def test_the_way_leads_as_far_as_there_is_no_gap_also_over_several_runs(world: World) -> None:
    received(world, f"{ONE}-20261101T000000Z", segment(3), segment(4), f"{segment(5)}.partial")
    received(world, f"{ONE}-20261102T000000Z", segment(5), segment(6), segment(9))
    received(world, f"{TWO}-20261103T000000Z", segment(7), segment(8))  # of another cluster: never mixed up
    found, more = wal.unbroken(world.config, ONE, segment(4), 16 * MIB)
    assert found == [segment(4), segment(5), segment(6)]
    assert more
    assert wal.unbroken(world.config, ONE, segment(9), 16 * MIB) == ([segment(9)], False)
    assert wal.unbroken(world.config, ONE, segment(10), 16 * MIB) == ([], False)


def test_what_no_base_leads_from_goes_and_what_one_needs_stays(world: World) -> None:
    old = received(world, f"{ONE}-20261101T000000Z", segment(1), segment(2))
    now = received(world, f"{ONE}-20261102T000000Z", *(segment(n) for n in range(2, 9)), f"{segment(9)}.partial")
    removed = wal.prune(world.config, [(ONE, segment(6)), (ONE, segment(4))])
    assert removed == 40
    assert not old.exists()
    assert sorted(path.name for path in now.iterdir()) == [
        *(segment(n) for n in range(4, 9)), f"{segment(9)}.partial",
    ]  # fmt: skip


def test_without_a_base_nothing_goes(world: World) -> None:
    run = received(world, f"{ONE}-20261101T000000Z", segment(1))
    assert wal.prune(world.config, []) == 0
    assert (run / segment(1)).exists()


def test_the_newest_run_stays_also_of_a_cluster_that_has_no_base_yet(world: World) -> None:
    former = received(world, f"{ONE}-20261101T000000Z", segment(1))
    fresh = received(world, f"{TWO}-20261102T000000Z", segment(1))
    wal.prune(world.config, [(ONE, segment(1))])
    assert (former / segment(1)).exists()
    assert (fresh / segment(1)).exists()
    wal.prune(world.config, [(TWO, segment(1))])
    assert not former.exists()


def made(world: World, finished: float, *, verified: bool = True, **other: object) -> catalog.Backup:
    with catalog.staging(world.config, "base") as (_, partial):
        (partial / "base.tar.zst").write_bytes(b"x")
        name = f"20261101T0000{int(finished):02d}Z-0000"
        return catalog.publish(world.config, "base", name, partial, {
            "started": finished - 1, "finished": finished, "identifier": ONE, "first_segment": segment(int(finished)),
            "segment_bytes": 16 * MIB, "database_bytes": 1, "verified": {"at": 1} if verified else None, **other,
        })  # fmt: skip


def test_the_way_begins_at_the_newest_good_base_before_the_moment(world: World) -> None:
    made(world, 10)
    second = made(world, 20)
    made(world, 30, verified=False)
    assert base.before(world.config, 45).id == second.id
    assert base.before(world.config, 20).id == second.id
    with pytest.raises(Failure, match="1970-01-01 00:00:11") as caught:
        base.before(world.config, 9.9)
    assert caught.value.status == Status.REFUSED
    assert base.reach(world.config) == {"since": 10.0, "bases": 2}


def test_without_a_base_there_is_no_way(world: World) -> None:
    with pytest.raises(Failure, match="no base backup yet") as caught:
        base.before(world.config, 45)
    assert "fab backup.base" in caught.value.hint


def test_a_gap_on_the_way_is_told_before_anything_is_unpacked(world: World) -> None:
    received(world, f"{ONE}-20261101T000000Z", segment(10), segment(11), segment(13))
    backup = made(world, 10)
    with catalog.scratch(world.config) as room:
        for moment in (None, 4e9):
            recover = recovery.recovered(world.config, POLICY, backup, room, moment=moment, step=None)  # type: ignore[arg-type]
            with pytest.raises(Failure, match=f"gap after {segment(11)}") as caught, recover:
                raise AssertionError("it was gone there")
            assert caught.value.status == Status.REFUSED
        assert list(room.iterdir()) == []


POLICY = Policy({}, 0, Path("/none"), "shop", "shop", point_in_time_days=7)


def test_what_is_no_moment_of_the_past_is_refused() -> None:
    assert past.moment_of("at:1795000000.25") == 1795000000.25
    for text in ("at:", "at:soon", "at:9e99", "at:nan", "at:-4"):
        with pytest.raises(Failure) as caught:
            past.moment_of(text)
        assert caught.value.status == Status.REFUSED
    assert past.told(1795000000.25) == "the state of 2026-11-18 11:06:40+00"


def test_moments_are_written_for_postgresql_to_the_microsecond() -> None:
    assert recovery.written(1795000000.2500004) == "2026-11-18 11:06:40.250000+00"
    assert recovery.written(1795000000.9999999) == "2026-11-18 11:06:41.000000+00"


def test_how_far_a_recovery_came_is_read_from_its_log() -> None:
    log = (
        "2026-11-18 10:30:00.1 UTC [1] LOG:  redo done at 0/5 system usage: CPU\n"
        "2026-11-18 10:30:00.1 UTC [1] LOG:  last completed transaction was at log time 2026-11-18 11:06:40.25+00\n"
    )
    assert recovery.reached(log) == 1795000000.25
    assert recovery.reached("LOG:  redo is not required\n") == 0.0
