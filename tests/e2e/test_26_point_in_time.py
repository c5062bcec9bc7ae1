"""PostgreSQL taken back to any moment: its log received as it is written, in the lab."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.e2e.data import BACKUPS, databases, nothing_is_left
from tests.e2e.world import APP, HOST, Project, container_of, in_container, inside, sql, wait_until

SERVICE = f"{APP}-wal"


@pytest.fixture(scope="module")
def past(project: Project, deployed: object) -> Iterator[Project]:
    """The application with its log received, and a base backup to begin at."""
    saved = project.saved()
    project.set(POINT_IN_TIME_DAYS="7")
    project.fab("deploy", "-H", "lab", "--yes")
    wait_until("the log to be received", lambda: state(project)["receiving"])
    sql("DROP TABLE IF EXISTS past; CREATE TABLE past (n int PRIMARY KEY, made timestamptz DEFAULT clock_timestamp())")
    project.fab("backup.base", "-H", "lab")
    yield project
    sql("DROP TABLE IF EXISTS past")
    project.restore(saved)
    project.fab("deploy", "-H", "lab", "--yes")
    project.fab("backup.postgres", "-H", "lab")  # lets the server throw its log away again
    inside("sh", "-c", f"rm -rf {BACKUPS}/*/* {BACKUPS}/.incoming")


def state(project: Project) -> dict[str, object]:
    return project.json("backup.list", "-H", "lab")["point_in_time"]  # type: ignore[no-any-return]


def insert(number: int) -> str:
    """Add a row; returns a moment after its commit and before anything else."""
    sql(f"INSERT INTO past VALUES ({number})")
    moment = sql("SELECT clock_timestamp()").strip()
    time.sleep(0.05)
    return moment


def rows() -> list[int]:
    return [int(line) for line in sql("SELECT n FROM past ORDER BY 1").split()]


def restore(project: Project, moment: str, expect: int = 0) -> str:
    done = project.fab("restore.postgres", "-H", "lab", "--at", moment, "--yes", expect=expect)
    return done.stdout + done.stderr


def test_a_dropped_table_is_back_as_it_was_seconds_before_and_undo_leads_to_now(past: Project) -> None:
    first = insert(1)
    second = insert(2)
    insert(3)
    sql("DROP TABLE past")
    done = past.json("restore.postgres", "-H", "lab", "--at", second, "--yes")
    assert done["window"] < 1
    assert rows() == [1, 2]
    past.fab("restore.undo", "-H", "lab", "--yes")
    assert sql("SELECT to_regclass('past') IS NULL").strip() == "t"
    restore(past, first)
    assert rows() == [1]
    restore(past, second)  # later than where we are now: both restores are forgotten there
    assert rows() == [1, 2]
    nothing_is_left()


def test_the_receiver_comes_back_with_the_server_and_loses_nothing(past: Project) -> None:
    insert(11)
    inside("docker", "restart", container_of("postgres"))
    wait_until("the server to be back", lambda: sql("SELECT 1").strip() == "1")
    moment = insert(12)
    sql("DELETE FROM past WHERE n > 10")
    wait_until("the log to be received again", lambda: state(past)["receiving"])
    restore(past, moment)
    assert rows()[-2:] == [11, 12]
    inside("systemctl", "kill", "-s", "KILL", SERVICE)
    moment = insert(13)
    sql("DELETE FROM past WHERE n = 13")
    restore(past, moment)
    assert rows()[-1] == 13


def test_a_drill_goes_to_the_end_of_the_log_and_measures_what_could_be_lost(past: Project) -> None:
    [drill] = past.json("backup.drill", "-H", "lab", "--kind", "base")["drills"]
    assert drill["ok"]
    assert 0 <= drill["data_age"] < 30
    past.fab("backup.postgres", "-H", "lab")
    past.fab("backup.drill", "-H", "lab", "--kind", "postgres")
    [row] = [
        row for row in past.json("backup.report", "-H", "lab")["objectives"] if row["place"] == "this host, by its log"
    ]
    assert row["rpo"] == drill["data_age"]
    assert row["rto"] > drill["seconds"]
    nothing_is_left()


def test_moments_that_cannot_be_had_are_refused_and_nothing_is_changed(past: Project) -> None:
    before = rows()
    for moment, said, status in (
        ("2020-01-01 00:00+00", "leads back to", 11),
        ("2100-01-01 00:00+00", "still to come", 11),
        ("2026-01-01 00:00", "time zone", 2),
        ("tomorrow", "is no time", 2),
    ):
        assert said in restore(past, moment, expect=status)
    assert rows() == before


def test_a_gap_in_the_log_is_told_and_the_next_base_begins_anew(past: Project) -> None:
    inside("systemctl", "stop", f"{SERVICE}.timer", SERVICE)
    in_container(
        "postgres",
        "sh",
        "-c",
        f"""psql -qX -U "$POSTGRES_USER" -d postgres -c "
        SELECT pg_drop_replication_slot('{APP}_wal')" """,
    )
    lost = insert(21)
    sql("SELECT pg_switch_wal(); CHECKPOINT")
    sql("CREATE TABLE filler AS SELECT repeat('x', 500) FROM generate_series(1, 60000); DROP TABLE filler")
    sql("SELECT pg_switch_wal(); CHECKPOINT")
    sql("SELECT pg_switch_wal(); CHECKPOINT")
    inside("systemctl", "start", f"{SERVICE}.timer")
    wait_until("the log to be received again", lambda: state(past)["receiving"])
    assert "gap" in restore(past, lost, expect=11)
    done = past.fab("backup.drill", "-H", "lab", "--kind", "base", expect=9)
    assert "gap" in done.stdout + done.stderr
    past.fab("backup.base", "-H", "lab")
    moment = insert(22)
    sql("DELETE FROM past")
    restore(past, moment)
    assert rows()[-2:] == [21, 22]


def test_what_has_been_received_can_be_gone_back_to_also_when_nothing_comes_in_now(past: Project) -> None:
    moment = insert(25)
    insert(26)
    sql("SELECT pg_switch_wal()")
    wait_until("the log to be here", lambda: state(past)["behind"] == 0)
    inside("systemctl", "stop", f"{SERVICE}.timer", SERVICE)
    try:
        said = restore(past, moment)
    finally:
        inside("systemctl", "start", f"{SERVICE}.timer")
    assert "is not received" in said
    assert rows()[-1] == 25
    wait_until("the log to be received again", lambda: state(past)["receiving"])


def test_killed_while_going_back_the_old_data_serve_on(past: Project) -> None:
    moment = insert(31)
    insert(32)
    script = f"until docker ps --format '{{{{.Names}}}}' | grep -qx {APP}-recover; do sleep 0.02; done"
    script += f"; systemctl kill -s KILL '{APP}-restore-*'"
    killer = subprocess.Popen(["docker", "exec", HOST, "timeout", "120", "sh", "-c", script], text=True)
    restore(past, moment, expect=12)
    assert killer.wait(120) == 0
    assert rows()[-2:] == [31, 32]
    nothing_is_left()
    assert [name for name in databases() if "__restore_" in name] == []
    restore(past, moment)
    assert rows()[-1] == 31


def test_bytes_that_went_bad_are_refused(past: Project) -> None:
    moment = insert(41)
    [path] = inside("sh", "-c", f"ls -d {BACKUPS}/base/*/base/base.tar.* | tail -n 1").split()
    inside("sh", "-c", f"cp {path} /root/saved; printf X | dd of={path} bs=1 seek=5000 conv=notrunc 2>/dev/null")
    try:
        assert "is not what was written" in restore(past, moment, expect=11)
    finally:
        inside("sh", "-c", f"cat /root/saved > {path}; rm /root/saved")
    restore(past, moment)


def test_what_is_too_old_goes_with_its_base(past: Project) -> None:
    inside("rm", "-rf", *inside("sh", "-c", f"ls -d {BACKUPS}/base/*").split()[:-1])
    first = inside("sh", "-c", f'grep -ho \'"first_segment": *"[0-9A-F]*\' {BACKUPS}/base/*/manifest.json').split('"')[
        -1
    ]
    past.fab("backup.base", "-H", "lab")
    segments = inside("sh", "-c", f"cd {BACKUPS}/wal && ls */ | grep -E '^[0-9A-F]{{24}}$' | sort").split()
    assert segments
    assert min(segments) >= first.strip()


def test_the_log_is_for_postgresql_and_root_alone(past: Project) -> None:
    modes = inside("sh", "-c", f"stat -c '%a %u' {BACKUPS}/wal {BACKUPS}/wal/* {BACKUPS}/wal/*/*").splitlines()
    assert modes[0] == "700 0"
    assert {line.split()[1] for line in modes[1:]} == {"999"}
    assert all(line.split()[0] in ("600", "700") for line in modes[1:])
