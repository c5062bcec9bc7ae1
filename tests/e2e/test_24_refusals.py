"""What cannot be restored is refused before anything is changed, in one line: damaged, odd, or at a bad moment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.data import (
    BACKUPS,
    MARK,
    databases,
    dumped,
    execute,
    listed,
    raw,
    redis,
    set_aside,
    settled,
    told_in_one_line,
    write,
)
from tests.e2e.world import APP, Project, audit, container_of, inside, sql, wait_until

pytestmark = pytest.mark.skipif(os.environ.get("FAULTS") != "all", reason="only with FAULTS=all")
ODD = "/root/e2e-odd"
KEPT = "/root/e2e-kept"
FLIP = (
    "import sys; f = open(sys.argv[1], 'r+b'); f.seek(int(sys.argv[2])); b = f.read(1)[0]; f.seek(-1, 1);"
    " f.write(bytes([b ^ 1]))"
)


@pytest.fixture(scope="module")
def small(project: Project, deployed: object) -> Iterator[Project]:
    """A small database, and a backup of every kind."""
    execute("DROP TABLE IF EXISTS small; CREATE TABLE small AS SELECT n FROM generate_series(1, 5000) n;")
    redis("SET", "small", "1")
    project.fab("backup", "-H", "lab")
    yield project
    execute("DROP TABLE IF EXISTS small;")
    inside("sh", "-c", f"rm -rf {BACKUPS}/*/* {BACKUPS}/.incoming {ODD}")


@contextmanager
def damaged(path: str, how: str) -> Iterator[None]:
    """Cut off a file of a backup, or flip one bit: in its middle ("flipped"), or near the end of a text. Then put it
    right."""
    # a file of its own: backups share what did not change
    inside("sh", "-c", f"cp -p {path} {KEPT} && cp -p {KEPT} {path}.own && mv {path}.own {path}")
    size = int(inside("stat", "-c", "%s", path))
    try:
        if how == "truncated":
            inside("truncate", "-s", str(size - 2), path)
        else:
            found = inside("grep", "-obaF", how, path).partition(":")[0] if how != "flipped" else ""
            at = int(found) + len(how) - 3 if found else size // 2
            inside("python3", "-c", FLIP, path, str(at))
        yield
    finally:
        inside("sh", "-c", f"cat {KEPT} > {path}; rm {KEPT}")


def test_a_damaged_file_of_any_kind_in_a_backup_is_refused_before_anything_is_changed(small: Project) -> None:
    row = listed(small, "postgres")[0]
    data = max((each for each in row["files"] if each["path"].endswith(".zst")), key=lambda each: int(each["size"]))
    before, there, entries = dumped(), databases(), len(audit())
    names = ["databases/0/toc.dat", data["path"], "databases/0.schema.sql", "globals.sql", "manifest.json"]
    for name in names:
        for how in ("truncated", "flipped", *([f'"name": "{APP}"', '"rows": 5000'] if name == "manifest.json" else [])):
            with damaged(f"{row['path']}/{name}", how):
                done = small.fab("restore.postgres", "-H", "lab", "--file", row["id"], "--yes", expect=None)
            assert (done.returncode, name, how) == (11, name, how), done.stdout + done.stderr
            assert "damaged" in told_in_one_line(done)
    assert databases() == there
    assert dumped() == before
    assert len(audit()) == entries, "no restore was begun"
    settled()
    small.fab("restore.postgres", "-H", "lab", "--file", row["id"], "--yes")
    assert dumped() == before


def test_a_damaged_backup_of_redis_is_refused_before_anything_is_changed(small: Project) -> None:
    row = listed(small, "redis")[0]
    redis("SET", "small", "2")
    started = redis("INFO", "server").partition("run_id:")[2].split()[0]
    for name, how in (("dump.rdb", "truncated"), ("dump.rdb", "flipped"), ("manifest.json", "flipped")):
        with damaged(f"{row['path']}/{name}", how):
            done = small.fab("restore.redis", "-H", "lab", "--file", row["id"], "--yes", expect=11)
        assert "damaged" in told_in_one_line(done)
    assert redis("GET", "small").strip() == "2"
    assert redis("INFO", "server").partition("run_id:")[2].split()[0] == started, "it was not even stopped"
    settled()
    small.fab("restore.redis", "-H", "lab", "--file", row["id"], "--yes")
    assert redis("GET", "small").strip() == "1"


def test_a_damaged_backup_of_the_configuration_does_not_pass_the_drill(small: Project) -> None:
    row = listed(small, "config")[0]
    for how in ("truncated", "flipped"):
        with damaged(f"{row['path']}/config.tar.gz", how):
            done = small.fab("backup.drill", "--kind", "config", "-H", "lab", expect=9)
        assert "damaged" in done.stdout + done.stderr
        told_in_one_line(done)
    small.fab("backup.drill", "--kind", "config", "-H", "lab")
    settled()


HEADS = {
    "plain.sql": b"--\n-- PostgreSQL database dump\n--\n",
    "custom.dump": b"PGDMP\x01\x0f\x00\x04\x08\x01\x01",
    "packed.gz": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "packed.zst": b"\x28\xb5\x2f\xfd\x04\x00",
    "dump.tar": b"toc.dat".ljust(257, b"\0") + b"ustar  \0",
    "dump.rdb": b"REDIS0012",
    "zeros": b"",
}


def test_odd_files_on_the_host_are_refused_in_one_line(small: Project) -> None:
    before, there = dumped(), databases()
    inside(
        "sh",
        "-c",
        f"rm -rf {ODD}; mkdir -p {ODD}/directory; cd {ODD}; mkfifo fifo; ln -s loop loop; ln -s gone dangling",
    )
    for name, head in HEADS.items():
        write(f"{ODD}/{name}", head)
        inside("truncate", "-s", "1T", f"{ODD}/{name}")  # huge, and with holes for content
    inside("ln", "-s", "custom.dump", f"{ODD}/link")
    for name in (*HEADS, "directory", "fifo", "loop", "dangling", "link", "not-there"):
        done = small.fab("restore.postgres", "-H", "lab", "--file", f"{ODD}/{name}", "--yes", expect=None, timeout=60)
        assert (done.returncode, name) == (11, name), done.stdout + done.stderr
        told_in_one_line(done)
    for name in ("dump.rdb", "zeros", "fifo", "directory"):
        done = small.fab("restore.redis", "-H", "lab", "--file", f"{ODD}/{name}", "--yes", expect=None, timeout=60)
        assert (done.returncode, name) == (11, name), done.stdout + done.stderr
        told_in_one_line(done)
    assert databases() == there
    assert dumped() == before
    inside("rm", "-rf", ODD)
    settled()


def test_odd_files_here_are_refused_in_one_line_and_a_link_to_a_dump_is_restored(
    small: Project, tmp_path: Path
) -> None:
    before = dumped()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 1 << 40)
    for path, code in ((tmp_path / "fifo", 2), (tmp_path / "directory", 2), ("/dev/zero", 2), (tmp_path / "huge", 11)):
        done = small.fab("restore.postgres", "-H", "lab", "--file", str(path), "--yes", expect=None, timeout=60)
        assert (done.returncode, path) == (code, path), done.stdout + done.stderr
        told_in_one_line(done)
    assert "no room" in told_in_one_line(done)
    assert inside("sh", "-c", f"ls -A {BACKUPS}/.incoming 2>/dev/null; true") == ""
    write("/root/e2e.dump", raw("postgres", 'pg_dump -Fc -U "$POSTGRES_USER" -d "$POSTGRES_DB"'))
    inside("ln", "-sf", "/root/e2e.dump", "/root/e2e.link")
    execute("DROP TABLE small;")
    small.fab("restore.postgres", "-H", "lab", "--file", "/root/e2e.link", "--yes")
    inside("rm", "/root/e2e.dump", "/root/e2e.link")
    assert dumped() == before
    settled()


def test_of_two_restores_at_once_one_is_told_who_is_at_it_and_one_waits(small: Project) -> None:
    words = ("restore.postgres", "-H", "lab", "--file", "latest", "--yes")
    first = small.start(*words)
    wait_until("the first to load", lambda: inside("sh", "-c", f"ls {MARK['postgres']} 2>/dev/null; true"), every=0.05)
    inside("systemctl", "kill", "-s", "STOP", f"{APP}-restore-*")
    try:
        refused = small.fab(*words, expect=8)
        waiting = small.start(*words, "--wait", "300")
    finally:
        inside("systemctl", "kill", "-s", "CONT", f"{APP}-restore-*")
    assert "restore of postgres" in told_in_one_line(refused)
    for each in (first, waiting):
        output, _ = each.communicate(timeout=300)
        assert each.returncode == 0, output
    assert len(set_aside()) == 1
    assert sql("SELECT count(*) FROM small") == "5000"
    settled()


@pytest.fixture
def logical(small: Project) -> Iterator[Project]:
    """PostgreSQL with prepared transactions and logical replication allowed."""
    serve("ALTER SYSTEM SET max_prepared_transactions = 5; ALTER SYSTEM SET wal_level = logical;")
    yield small
    serve("ALTER SYSTEM RESET ALL;")


def serve(settings: str) -> None:
    execute(settings)
    inside("docker", "restart", "-t", "60", container_of("postgres"))
    ready = f"docker exec {container_of('postgres')} pg_isready -q -h 127.0.0.1 && echo yes || true"
    wait_until("postgres", lambda: inside("sh", "-c", ready))


def test_a_prepared_transaction_refuses_a_restore_and_a_slot_moves_with_its_data(logical: Project) -> None:
    words = ("restore.postgres", "-H", "lab", "--file", "latest", "--yes")
    execute("BEGIN; INSERT INTO small VALUES (-1); PREPARE TRANSACTION 'it''s; e2e';")
    before, there = dumped(), databases()
    try:
        for refused in (words, ("restore.undo", "-H", "lab", "--yes")):
            assert "is prepared and undecided" in told_in_one_line(logical.fab(*refused, expect=11))
            settled()
        logical.fab("backup.postgres", "-H", "lab")
        assert (dumped(), databases()) == (before, there)
    finally:
        execute("COMMIT PREPARED 'it''s; e2e';")
    sql("SELECT pg_create_logical_replication_slot('e2e', 'test_decoding')")
    receive = 'exec pg_recvlogical -U "$POSTGRES_USER" -d "$POSTGRES_DB" --slot e2e --start -n -f /dev/null'
    command = ["docker", "exec", "lab-vps1", "docker", "exec", container_of("postgres"), "sh", "-c", receive]
    reader = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    slot = "SELECT database, active FROM pg_replication_slots WHERE slot_name = 'e2e'"
    wait_until("the reader", lambda: sql(slot) == f"{APP}|t")
    logical.fab(*words)
    assert reader.wait(30) != 0, "who reads the changes is sent away"
    [kept] = set_aside()
    assert sql(slot) == f"{kept}|f", "the slot is of the data that were replaced"
    assert sql("SELECT count(*) FROM small WHERE n = -1") == "0"
    logical.fab("restore.undo", "-H", "lab", "--yes")
    assert sql(slot) == f"{APP}|f"
    assert sql("SELECT count(*) FROM small WHERE n = -1") == "1"
    sql("INSERT INTO small VALUES (-2)")
    assert "-2" in sql("SELECT data FROM pg_logical_slot_get_changes('e2e', NULL, NULL)")
    logical.fab(*words)
    logical.fab(*words)
    assert sql(slot) == "", "it went with its data, when a later restore dropped them"
    settled()
