"""What comes back is what there was: PostgreSQL with everything it can hold, also when it is written to meanwhile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.data import (
    BACKUPS,
    STATE,
    databases,
    differing,
    dumped,
    execute,
    listed,
    roles,
    scripts,
    set_aside,
    settled,
)
from tests.e2e.world import APP, HOST, Project, container_of, inside, sql, wait_until

SECOND = """sec'ond "db" $1;\\ x"""
LATIN = "latin"
GROWING = "CREATE TABLE IF NOT EXISTS \"é; ÿ\" (a text); INSERT INTO \"é; ÿ\" VALUES (E'é\\n\\\\.'), ('ÿ');"
OBJECTS = """SELECT oid, pg_get_userbyid(lomowner), lomacl, md5(lo_get(oid)), obj_description(oid, 'pg_largeobject')
FROM pg_largeobject_metadata ORDER BY oid"""
SEQUENCES = "SELECT * FROM pg_sequences ORDER BY schemaname, sequencename"
COUNTS = """SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
(SELECT sum(bbalance) FROM pgbench_branches), coalesce((SELECT sum(delta) FROM pgbench_history), 0)"""
SIDE = "e2e-side"
PGBENCH = '/usr/lib/postgresql/17/bin/pgbench "$@" -U "$POSTGRES_USER" "$POSTGRES_DB"'


def pgbench(*words: str) -> list[str]:
    return ["docker", "exec", HOST, "docker", "exec", container_of("postgres"), "sh", "-c", PGBENCH, "sh", *words]


@pytest.fixture
def side() -> Iterator[str]:
    """A server of the same image beside everything, that sees the backups of the host; the name of its container."""
    image = inside("docker", "inspect", "--format", "{{.Image}}", container_of("postgres")).strip()
    flags = ["--network", "none", "--tmpfs", "/var/lib/postgresql/data", "-v", f"{BACKUPS}/postgres:/in:ro"]
    login = ["-e", "POSTGRES_HOST_AUTH_METHOD=trust", "-e", "POSTGRES_USER=maicivy"]
    inside("docker", "run", "-d", "--name", SIDE, *flags, *login, image, "postgres", "-c", "fsync=off")
    ready = f"docker exec {SIDE} pg_isready -q -h 127.0.0.1 -U maicivy && echo yes || true"
    wait_until("the server beside", lambda: inside("sh", "-c", ready))
    yield SIDE
    inside("docker", "rm", "-f", "-v", SIDE)


def beside(database: str, query: str) -> str:
    words = ["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-U", "maicivy", "-d", database, "-c", query]
    return inside("docker", "exec", SIDE, *words).strip()


def loaded(row: dict[str, object], database: str) -> dict[str, object]:
    """Load what a backup has of the application's database into one of the server beside; what its manifest says."""
    told: dict[str, object]
    [told] = [each for each in manifest(row)["databases"] if each["name"] == APP]
    place = f"/in/{row['id']}"
    script = (
        f"psql -qX -U maicivy -d postgres -f {place}/globals.sql >/dev/null 2>&1; createdb -U maicivy {database};"
        f"exec pg_restore -U maicivy --exit-on-error -j 2 -d {database} {place}/{told['directory']}"
    )
    inside("docker", "exec", SIDE, "sh", "-c", script)
    return told


def manifest(row: dict[str, object]) -> dict[str, list[dict[str, object]]]:
    told: dict[str, list[dict[str, object]]] = json.loads(inside("cat", f"{row['path']}/manifest.json"))
    return told


def named(table: dict[str, object]) -> str:
    return ".".join('"' + str(table[part]).replace('"', '""') + '"' for part in ("schema", "name"))


def consistent(answer: str) -> None:
    """The sums of TPC-B are equal: no transaction is half in it."""
    sums = answer.split("|")
    assert len(sums) == 4
    assert len(set(sums)) == 1, answer


def test_backups_under_a_load_of_writes_are_of_one_moment_each(project: Project, deployed: object, side: str) -> None:
    subprocess.run(pgbench("-i", "-s", "2", "-q"), check=True, capture_output=True, timeout=120)
    load = subprocess.Popen(pgbench("-n", "-c", "4", "-j", "2", "-T", "300"), stdout=subprocess.DEVNULL)
    try:
        wait_until("the load", lambda: int(sql("SELECT count(*) FROM pgbench_history")) > 100)
        for _ in range(3):
            project.fab("backup.postgres", "-H", "lab")
        rows = listed(project, "postgres")[:3]
        history = []
        for number, row in enumerate(rows):
            told = loaded(row, f"side{number}")
            consistent(beside(f"side{number}", COUNTS))
            tables = told["tables"]
            assert isinstance(tables, list)
            counts = ", ".join(f"(SELECT count(*) FROM {named(table)})" for table in tables)
            found = beside(f"side{number}", f"SELECT concat_ws(' ', {counts})").split()
            assert [int(count) for count in found] == [table["rows"] for table in tables]
            history.append(int(beside(f"side{number}", "SELECT count(*) FROM pgbench_history")))
        assert history == sorted(history, reverse=True), "newest first: each has more than the one before"
        assert len(set(history)) == 3, "it was written to while they were made"
        assert load.poll() is None, "the load goes on while the oldest is restored"
        project.fab("restore.postgres", "-H", "lab", "--file", str(rows[2]["id"]), "--yes")
    finally:
        load.kill()
        load.wait()
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'"
    wait_until("the load to be gone", lambda: sql(sessions) == "0")
    assert int(sql("SELECT count(*) FROM pgbench_history")) == history[2]
    consistent(sql(COUNTS))
    execute("DROP TABLE pgbench_accounts, pgbench_tellers, pgbench_branches, pgbench_history;")
    settled()


@pytest.fixture(scope="module")
def awkward(project: Project, deployed: object) -> Iterator[Project]:
    """A server with three databases that have everything awkward in them; all of it taken away at the end."""
    forgotten(project)
    gone()
    for script in scripts("awkward", "awkward_code"):
        execute(script)
    execute(f'CREATE SCHEMA "awk ward"; CREATE TABLE "awk ward"."t;" (a int); {GROWING}', SECOND)
    execute(f'{GROWING} GRANT SELECT ON "é; ÿ" TO "Reader";', LATIN)
    yield project
    forgotten(project)
    gone()
    inside("sh", "-c", f"rm -rf {BACKUPS}/*/*")


def gone() -> None:
    for script in scripts("awkward_gone"):
        execute(script)


def forgotten(project: Project) -> None:
    """Have the time be up to undo the last restore: what it set aside goes with the next backup."""
    if set_aside():
        inside("sed", "-i", 's/"until": .*/"until": 1.0/', f"{STATE}/restored-postgres.json")
        project.fab("backup.postgres", "-H", "lab")


def everything() -> dict[str, str]:
    """All there is on the server, as text."""
    found = {name or APP: dumped(name, create=True) for name in ("", SECOND, LATIN)}
    return {**found, "roles": roles(), "large objects": sql(OBJECTS), "sequences": sql(SEQUENCES)}


def unchanged(before: dict[str, str]) -> None:
    after = everything()
    found = {name: differing(text, after[name]) for name, text in before.items()}
    assert [f"{name}: {line}" for name, lines in found.items() for line in lines] == []


def test_everything_awkward_is_the_same_after_a_restore(awkward: Project) -> None:
    before = everything()
    awkward.fab("backup.postgres", "-H", "lab")
    gone()  # with the roles, and the other databases
    assert "Reader" not in roles()
    assert before["large objects"].count("\n") > 50
    awkward.fab("restore.postgres", "-H", "lab", "--file", "latest", "--yes")
    unchanged(before)
    settled()


def test_a_second_restore_over_the_awkward_data_leaves_one_copy_of_each_to_undo(awkward: Project) -> None:
    before = everything()
    execute("INSERT INTO \"é; ÿ\" VALUES ('more')", LATIN)
    more = everything()
    awkward.fab("restore.postgres", "-H", "lab", "--file", "latest", "--yes")
    unchanged(before)
    assert len(set_aside()) == 3
    awkward.fab("restore.undo", "-H", "lab", "--yes")
    unchanged(more)
    assert len(set_aside()) == 3
    settled()


def test_the_drill_restores_it_as_well(awkward: Project) -> None:
    [drill] = awkward.json("backup.drill", "--kind", "postgres", "-H", "lab")["drills"]
    assert drill["ok"] is True
    settled()


def test_what_was_replaced_goes_when_its_time_is_up_with_all_that_is_awkward_in_it(awkward: Project) -> None:
    before = databases()
    forgotten(awkward)
    assert databases() == [name for name in before if "__before_" not in name]
    assert "undo" in awkward.fab("restore.undo", "-H", "lab", "--yes", expect=11).stderr
    settled()
