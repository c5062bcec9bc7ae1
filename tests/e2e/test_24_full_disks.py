"""A disk that fills up: what served serves on, nothing is left, and with room again the next one succeeds.

Only with FAULTS=all: test_21 has a full disk that is full from the beginning.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.data import BACKUPS, databases, execute, fingerprint, listed, settled, told_in_one_line, when
from tests.e2e.world import APP, Project, container_of, inside, wait_until

pytestmark = pytest.mark.skipif(os.environ.get("FAULTS") != "all", reason="only with FAULTS=all")
SPARE = 340  # MB that are free at first: more than is asked for before a dump of others is loaded
ROWS = 8_000_000  # of a dump that is small as a file, and bigger than that when it is loaded


@pytest.fixture(scope="module")
def small(project: Project, deployed: object) -> Iterator[Project]:
    execute(
        "DROP TABLE IF EXISTS small; CREATE TABLE small AS SELECT n, md5(n::text) FROM generate_series(1, 50000) n;"
    )
    project.fab("backup.postgres", "-H", "lab")
    yield project
    execute("DROP TABLE IF EXISTS small;")
    inside("sh", "-c", f"rm -rf {BACKUPS}/*/* {BACKUPS}/.incoming")


def stopped(script: str) -> None:
    """Do something to the data of PostgreSQL while it stands still."""
    name = container_of("postgres")
    inside("docker", "stop", "-t", "60", name)
    try:
        inside("sh", "-euc", script)
    finally:
        inside("docker", "start", name)
    ready = f"docker exec {name} pg_isready -q -h 127.0.0.1 && echo yes || true"
    wait_until("postgres", lambda: inside("sh", "-c", ready))


@contextmanager
def small_disk() -> Iterator[str]:
    """The data on a disk of their own that has hardly any room; they are where they were afterwards."""
    volume = inside("docker", "volume", "inspect", "--format", "{{.Mountpoint}}", f"{APP}_postgres_data").strip()
    used = int(inside("du", "-sm", volume).split()[0])
    # what is written to such a disk counts as memory of who writes it
    inside("docker", "update", "--memory", "3g", "--memory-swap", "3g", container_of("postgres"))
    stopped(
        f"mkdir -p /mnt/e2e; mount -t tmpfs -o size={used + SPARE}m,mode=700,uid=999,gid=999 tmpfs /mnt/e2e;"
        f"cp -a {volume}/. /mnt/e2e/; mount --bind /mnt/e2e {volume}"
    )
    try:
        yield volume
    finally:
        stopped(f"umount {volume}; umount /mnt/e2e; rmdir /mnt/e2e")
        inside("docker", "update", "--memory", "512m", "--memory-swap", "1g", container_of("postgres"))


def test_a_disk_that_fills_up_while_a_dump_is_loaded_stops_the_loading_and_not_the_server(
    small: Project, tmp_path: Path
) -> None:
    dump = tmp_path / "bomb.sql.gz"
    head = "--\n-- PostgreSQL database dump\n--\nCREATE TABLE bomb (a int);\nCOPY bomb FROM stdin;\n"
    text = head.encode() + b"0\n" * ROWS + b"\\.\n\n--\n-- PostgreSQL database dump complete\n--\n"
    dump.write_bytes(gzip.compress(text, 1))
    assert len(text) < 20 << 20
    before, there = fingerprint(), databases()
    with small_disk() as volume:
        started = inside("docker", "inspect", "--format", "{{.State.StartedAt}}", container_of("postgres"))
        done = small.fab("restore.postgres", "-H", "lab", "--file", str(dump), "--yes", expect=11)
        said = told_in_one_line(done)
        assert "no room to load it" in said
        assert "nothing was changed" in said
        settled()
        assert databases() == there
        assert fingerprint() == before
        assert inside("docker", "inspect", "--format", "{{.State.StartedAt}}", container_of("postgres")) == started
        log = inside("docker", "logs", "--since", "5m", container_of("postgres"))
        assert "PANIC" not in log
        assert "No space left" not in log
        free = int(inside("df", "--output=avail", "-m", volume).split()[-1])
        assert free > 64, "what was loaded gave its room back"
        small.fab("backup.postgres", "-H", "lab")
    small.fab("restore.postgres", "-H", "lab", "--file", "latest", "--yes")
    assert fingerprint() == before
    settled()


@pytest.mark.parametrize("phase", ["reading_back", "publishing"])
def test_a_disk_that_fills_up_when_a_backup_is_nearly_made_leaves_none(small: Project, phase: str) -> None:
    place, ids = f"{BACKUPS}/postgres", [row["id"] for row in listed(small, "postgres")]
    before = fingerprint()
    partial = f"{place}/.partial-*"
    read = f"ls {partial}/databases/0.read >/dev/null 2>&1"
    later = f"while {read}; do sleep 0.01; done; " if phase == "publishing" else ""
    inside("mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "tmpfs", place)
    try:
        filler = when(read, f"{later}head -c 96M /dev/zero > {place}/filler 2>/dev/null; true")
        done = small.fab("backup.postgres", "-H", "lab", expect=12)
        assert filler.wait(60) == 0
        assert "no space left on the disk" in told_in_one_line(done)
        assert inside("ls", "-A", place).split() == ["filler"]
        settled()
        assert fingerprint() == before
        inside("rm", f"{place}/filler")
        small.fab("backup.postgres", "-H", "lab")
        assert len(listed(small, "postgres")) == 1
    finally:
        inside("umount", place)
    assert [row["id"] for row in listed(small, "postgres")] == ids
