"""Backups and restores cut off from outside: what served serves on, nothing is left, and the next one succeeds.

Without FAULTS=all only the kills in each phase of a backup are tried: the others take twelve minutes more.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.data import (
    BACKUPS,
    MARK,
    PHASES,
    execute,
    fingerprint,
    kill_at,
    listed,
    redis,
    serialized,
    set_aside,
    settled,
    told_in_one_line,
    when,
)
from tests.e2e.faults import cut, kill_fab, power_cut, reboot
from tests.e2e.phases import Phases
from tests.e2e.world import APP, Project, busy, container_of, inside, sql, wait_until

ALL = os.environ.get("FAULTS") == "all"
rare = pytest.mark.skipif(not ALL, reason="only with FAULTS=all")
# Enough that every phase lasts long enough to be hit: some hundred thousand rows that do not compress well.
BALLAST = """
DROP TABLE IF EXISTS ballast, written;
CREATE TABLE ballast AS
    SELECT n AS id, (SELECT string_agg(md5(n || '.' || i), '') FROM generate_series(1, 12) i) AS text
    FROM generate_series(1, 250000) n;
CREATE INDEX ON ballast (text); CREATE TABLE written (a text);
"""
PARTIAL = f"{BACKUPS}/postgres/.partial-*"
# The phases of a backup, told by what lies there, and its mode where that tells.
BACKUP_PHASES = {
    "dumping": (f"{PARTIAL}/databases/0/*.zst", ""),
    "reading_back": (f"{PARTIAL}/databases/0.read", ""),
    "publishing": (f"{PARTIAL}/databases/0.schema.sql", "0o600"),
}
DUMPING = f"ls {PARTIAL}/databases/0/*.zst >/dev/null 2>&1"
NOISE = f"/opt/{APP}/shared/tls/e2e-noise"
RESTORE = ("restore.postgres", "-H", "lab", "--yes", "--file", "latest")


@pytest.fixture(scope="module")
def heavy(project: Project, deployed: object) -> Iterator[Project]:
    """A database whose backup and restore take seconds, with a backup of it."""
    execute(BALLAST)
    execute("INSERT INTO written VALUES ('backed up')")
    project.fab("backup.postgres", "-H", "lab")
    yield project
    execute("DROP TABLE IF EXISTS ballast, written;")
    inside("sh", "-c", f"rm -rf {BACKUPS}/*/*")


class Before:
    """What there was before a fault: the data, and the backups."""

    def __init__(self, project: Project, kind: str = "postgres") -> None:
        self.project, self.kind = project, kind
        execute("INSERT INTO written VALUES ('live')")  # not what is in the backup
        self.data, self.ids = fingerprint(), self._ids()

    def _ids(self) -> list[str]:
        return [str(row["id"]) for row in listed(self.project, self.kind)]

    def unchanged(self) -> None:
        settled()
        assert fingerprint() == self.data, "the live data are what they were"
        assert self._ids() == self.ids, "there is no backup more, and none less"


@pytest.mark.parametrize("phase", BACKUP_PHASES)
def test_killed_in_any_phase_a_backup_is_none_and_the_next_is_made(heavy: Project, phase: str) -> None:
    before = Before(heavy)
    killer = kill_at(*BACKUP_PHASES[phase])
    done = heavy.fab("backup.postgres", "-H", "lab", expect=12)
    assert killer.wait(60) == 0
    assert "cut off" in told_in_one_line(done)
    before.unchanged()
    heavy.fab("backup.postgres", "-H", "lab")


@rare
def test_killed_in_a_backup_of_the_configuration_there_is_none_and_the_next_is_made(heavy: Project) -> None:
    heavy.fab("backup.config", "-H", "lab")
    before = Before(heavy, "config")
    inside("sh", "-c", f"umask 077; head -c 64M /dev/urandom > {NOISE}")
    try:
        killer = kill_at(f"{BACKUPS}/config/.partial-*/config.tar.gz")
        done = heavy.fab("backup.config", "-H", "lab", expect=12)
        assert killer.wait(60) == 0
    finally:
        inside("rm", "-f", NOISE)
    assert "cut off" in told_in_one_line(done)
    before.unchanged()
    heavy.fab("backup.config", "-H", "lab")


ALONE = [("backup", "fab killed"), ("restore", "connection cut")]
ALONE += [("backup", "connection cut"), ("restore", "fab killed")] if ALL else []


@rare
@pytest.mark.parametrize(("what", "fault"), ALONE, ids=[f"{w}-{f}".replace(" ", "_") for w, f in ALONE])
def test_without_its_caller_the_host_finishes_by_itself(heavy: Project, what: str, fault: str) -> None:
    before = Before(heavy)
    words, step = (("backup.postgres", "-H", "lab"), "postgres") if what == "backup" else (RESTORE, "load")
    with Phases() as phases:
        fab = heavy.start(*words)
        phases.wait(step)
        if fault == "fab killed":
            kill_fab(fab)
        else:
            cut()
        output, _ = fab.communicate(timeout=120)
    assert "Traceback" not in output
    assert fault == "fab killed" or fab.returncode == 6, output
    wait_until("the host to finish", lambda: busy() is None, seconds=120)
    settled()
    rows = listed(heavy, "postgres")
    if what == "backup":
        assert [row["id"] for row in rows[1:]] == before.ids
        assert rows[0]["verified"]
        assert fingerprint() == before.data
    else:
        assert sql("SELECT count(*) FROM written WHERE a = 'live'") == rows_of_the_latest(rows)
        heavy.fab("restore.undo", "-H", "lab", "--yes")
        before.unchanged()


@rare
def test_a_look_at_a_file_ends_with_its_caller(heavy: Project) -> None:
    before = Before(heavy)
    file = "/root/e2e-long.sql"
    edge = "-- PostgreSQL database dump"
    inside("sh", "-c", f"echo '{edge}' > {file}; truncate -s 30G {file}; printf '\n{edge} complete\n' >> {file}")
    try:
        fab = heavy.start("restore.postgres", "-H", "lab", "--yes", "--file", file)
        wait_until("the look", lambda: (busy() or {}).get("what") == "a look at a backup", every=0.05)
        kill_fab(fab)
        wait_until("the host to be free", lambda: busy() is None, seconds=8)
        before.unchanged()
    finally:
        inside("rm", file)


def rows_of_the_latest(rows: list[dict[str, object]]) -> str:
    """How often 'live' had been written when the newest backup was made, as its manifest counted."""
    words = f"import json; d = json.load(open('{rows[0]['path']}/manifest.json'))['databases']; "
    words += "print(sum(t['rows'] for e in d for t in e['tables'] if t['name'] == 'written') - 1)"
    return inside("python3", "-c", words).strip()


@rare
def test_postgres_restarted_in_a_backup_fails_it_and_the_next_is_made(heavy: Project) -> None:
    before = Before(heavy)
    restart = when(DUMPING, f"docker restart -t 60 {container_of('postgres')}")
    done = heavy.fab("backup.postgres", "-H", "lab", expect=12)
    assert restart.wait(90) == 0
    assert "the dump of" in told_in_one_line(done) or "PostgreSQL" in told_in_one_line(done)
    wait_until("postgres", lambda: well(heavy), seconds=120)
    before.unchanged()
    heavy.fab("backup.postgres", "-H", "lab")


@rare
def test_postgres_restarted_while_a_restore_loads_the_old_data_serve_and_the_next_succeeds(heavy: Project) -> None:
    before = Before(heavy)
    there = set_aside()
    restart = when(f"test -e {MARK['postgres']}", f"sleep 1; docker restart -t 60 {container_of('postgres')}")
    done = heavy.fab(*RESTORE, expect=12)
    assert restart.wait(90) == 0
    assert "PostgreSQL" in told_in_one_line(done)
    wait_until("postgres", lambda: well(heavy), seconds=120)
    before.unchanged()
    assert set_aside() == there
    heavy.fab(*RESTORE)
    heavy.fab("restore.undo", "-H", "lab", "--yes")
    before.unchanged()


@rare
def test_redis_restarted_in_a_backup_fails_it_and_the_next_is_made(heavy: Project) -> None:
    redis("FLUSHALL")
    redis("EVAL", "for i = 1, 20000 do redis.call('SET', 'k' .. i, string.rep(i, 99)) end", "0")
    keys = [f"k{number}" for number in (1, 777, 20000)]
    count = ("EVAL", "return #redis.call('KEYS', 'k*')", "0")  # the application has keys of its own
    data, ids = (redis(*count), serialized(*keys)), [row["id"] for row in listed(heavy, "redis")]
    begun = f"ls -d {BACKUPS}/redis/.partial-* >/dev/null 2>&1"
    name = container_of("redis")
    # not `restart`: a server that is asked to stop lets those who fetch its data finish first
    restart = when(begun, f"sleep 1; docker kill {name}; docker start {name}")
    done = heavy.fab("backup.redis", "-H", "lab", expect=12)
    assert restart.wait(90) == 0
    assert "Redis cannot be backed up" in told_in_one_line(done)
    wait_until("redis", lambda: well(heavy), seconds=120)
    settled()
    assert data[0].strip() == "20000"
    assert (redis(*count), serialized(*keys)) == data
    assert [row["id"] for row in listed(heavy, "redis")] == ids
    heavy.fab("backup.redis", "-H", "lab")
    redis("FLUSHALL")


def well(project: Project) -> bool:
    return project.fab("health", "-H", "lab", expect=None).returncode == 0


CELLS: dict[tuple[str, str], Callable[[], None]] = {
    ("exchanging", "power_cut"): power_cut,
    **(
        {("loading", "power_cut"): power_cut, ("loading", "reboot"): reboot, ("exchanging", "reboot"): reboot}
        if ALL
        else {}
    ),
}


@rare
@pytest.mark.parametrize(("phase", "fault"), CELLS, ids=["-".join(cell) for cell in CELLS])
def test_the_host_goes_in_a_restore_and_comes_back_with_one_state_or_the_other(
    heavy: Project, phase: str, fault: str
) -> None:
    before = Before(heavy)
    condition, later = PHASES[phase]
    fab = heavy.start(*RESTORE)
    inside("sh", "-c", f"while ! {{ {condition}; }}; do sleep 0.01; done; sleep {later}")
    CELLS[phase, fault]()
    output, _ = fab.communicate(timeout=300)
    assert fab.returncode not in (0, None), output
    assert "Traceback" not in output
    wait_until("the host to be well", lambda: well(heavy), seconds=240, every=2)
    settled()
    if fingerprint() != before.data:  # it had been exchanged and remembered: then that can be undone
        assert phase == "exchanging"
        heavy.fab("restore.undo", "-H", "lab", "--yes")
    before.unchanged()
    heavy.fab(*RESTORE)
    assert fingerprint() != before.data
    heavy.fab("restore.undo", "-H", "lab", "--yes")
    before.unchanged()


def test_nothing_of_all_this_is_still_running(heavy: Project) -> None:
    """The last word: no program of a backup or a restore is left in the host."""
    done = subprocess.run(
        ["docker", "exec", "lab-vps1", "pgrep", "-af", "pg_[d]ump|pg_[r]estore|run-[b]ackup|run-[r]estore"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == ""
    settled()
