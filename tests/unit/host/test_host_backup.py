"""What decides about backups and restores without touching anything."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from host_world import World

from host.backup import catalog, census, loading, recognise, restore, retention, sql, swap
from host.backup.policy import Keep, assertions
from host.backup.retention import Item
from host.errors import Failure, Status

DAY = 86400.0
NOW = 1_795_000_000.0
KEEP = Keep(days=7, weeks=4, months=6, last=3)


def nightly(count: int, *, good: bool = True, newest: float = NOW) -> list[Item]:
    return [Item(f"b{number:04}", newest - number * DAY, good) for number in range(count)]


def test_days_weeks_and_months_are_kept_and_the_rest_goes() -> None:
    kept = {name for name, reason in retention.decide(nightly(400), KEEP, NOW).items() if reason}
    assert {f"b{number:04}" for number in range(8)} <= kept
    assert 8 + 3 + 4 <= len(kept) <= 8 + 4 + 6


def test_backups_that_have_stopped_are_not_dropped_for_their_age() -> None:
    old = nightly(5, newest=NOW - 365 * DAY)
    assert all(retention.decide(old, KEEP, NOW).values())


def test_a_bad_one_takes_no_good_one_s_place() -> None:
    bad = [Item(f"x{number}", NOW - number * 60, False) for number in range(50)]
    good = [Item(f"g{number}", NOW - (100 + number) * DAY, True) for number in range(5)]
    kept = retention.decide([*bad, *good], KEEP, NOW)
    assert [name for name in ("g0", "g1", "g2") if kept[name]] == ["g0", "g1", "g2"]


def test_whatever_the_history_the_last_good_ones_stay_and_never_nothing() -> None:
    random.seed(7)
    for _ in range(3000):
        keep = Keep(random.randint(1, 40), random.randint(0, 6), random.randint(0, 6), random.randint(1, 5))
        items = [
            Item(f"i{number:03}", NOW + random.uniform(-900, 30) * DAY, random.random() < 0.6)
            for number in range(random.randint(1, 40))
        ]
        now = NOW + random.uniform(-400, 400) * DAY
        kept = retention.decide(items, keep, now)
        good = sorted((item for item in items if item.good), key=lambda item: (item.taken, item.id))
        assert all(kept[item.id] for item in good[-keep.last :])
        assert any(kept.values())
        if not good:
            assert all(kept.values())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty inside"),
        (gzip.compress(b"-- PostgreSQL database dump", mtime=0)[:9], "damaged"),
        (b"age-encryption.org/v1\n", "is encrypted"),
        (b"-----BEGIN PGP MESSAGE-----\n", "is encrypted"),
        (b"--\n-- PostgreSQL database cluster dump\n", "whole server"),
        (b"hello", "is no dump"),
    ],
)
def test_what_is_no_dump_is_refused_by_its_content(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "file.dump"
    path.write_bytes(content)
    with pytest.raises(Failure, match=said) as caught:
        recognise.look(path)
    assert caught.value.status == Status.REFUSED
    assert "nothing was changed" in caught.value.cause


def test_formats_are_told_apart_whatever_they_are_called(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    for content, found in (
        (b"--\n-- PostgreSQL database dump\n", recognise.Found("plain")),
        (gzip.compress(b"--\n-- PostgreSQL database dump\n"), recognise.Found("plain", "gzip")),
        (gzip.compress(b"PGDMP\1"), recognise.Found("custom", "gzip")),
        (b"PGDMP\1\x10", recognise.Found("custom")),
        (b"REDIS0011", recognise.Found("rdb")),
        (b"\x28\xb5\x2f\xfd.", recognise.Found("", "zstd")),
    ):
        path.write_bytes(content)
        assert recognise.look(path) == found


def test_a_tar_of_a_directory_gives_its_files_and_nothing_outside(tmp_path: Path) -> None:
    path, target = tmp_path / "d.tar", tmp_path / "out"
    target.mkdir()
    with tarfile.open(path, "w") as tar:
        for name in ("dump/toc.dat", "dump/1.dat.zst", "../evil", "other/file"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    assert recognise.unpack_tar(path, target) == target
    assert sorted(each.name for each in target.iterdir()) == ["1.dat.zst", "toc.dat"]
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-- Dumped from database version 99.1 (Debian 99.1-1)\n-- PostgreSQL database dump complete\n", "newer"),
        ("-- PostgreSQL database dump\n", "cut off"),
        ("\\connect other\n-- PostgreSQL database dump complete\n", "another database"),
    ],
)
def test_a_plain_dump_is_whole_of_one_database_and_not_newer(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.sql"
    path.write_text(text)
    with pytest.raises(Failure, match=said):
        recognise.check_plain(path, 17)


def test_names_and_strings_are_quoted_whatever_is_in_them() -> None:
    assert sql.identifier('od"d') == '"od""d"'
    assert sql.literal("it's") == "'it''s'"
    assert sql.literal("a\\b'c") == "E'a\\\\b''c'"
    assert sql.connection("a b'c\\") == "dbname='a b\\'c\\\\'"


def test_the_exchange_is_one_transaction() -> None:
    text = swap.renaming([swap.Exchange("a", "a__new", "a__old"), swap.Exchange("b", "b__new", "")])
    assert text.splitlines()[1:] == [
        "BEGIN;",
        'ALTER DATABASE "a" RENAME TO "a__old";',
        'ALTER DATABASE "a__new" RENAME TO "a";',
        'ALTER DATABASE "b__new" RENAME TO "b";',
        'ALTER DATABASE "a" WITH ALLOW_CONNECTIONS true;',
        'ALTER DATABASE "b" WITH ALLOW_CONNECTIONS true;',
        "COMMIT;",
    ]


def test_names_of_copies_fit_and_are_known_again() -> None:
    name = swap.side_name("é" * 40, "restore", swap.stamp())
    assert len(name.encode()) <= 63
    assert restore._SIDE.search(name)


def test_what_hangs_on_a_database_is_carried_over() -> None:
    about = {"owner": "me", "connections": 5, "comment": "it's mine"}
    grants = [
        {"grantee": "", "privilege": "CONNECT", "again": False},
        {"grantee": "r", "privilege": "TEMPORARY", "again": True},
    ]
    settings = [
        {"role": "", "config": ["work_mem=64MB", 'search_path="$user", public']},
        {"role": "r", "config": ["statement_timeout=5s"]},
    ]
    text = swap.carrying("new", about, grants, settings)
    assert 'REVOKE ALL ON DATABASE "new" FROM PUBLIC, "me";' in text
    assert 'GRANT TEMPORARY ON DATABASE "new" TO "r" WITH GRANT OPTION;' in text
    assert "ALTER DATABASE \"new\" SET \"search_path\" TO '$user', 'public';" in text
    odd = swap.carrying(
        "new", about, None, [{"role": "", "config": ['search_path="", "a ""b\'c", "d,e"', "temp_tablespaces="]}]
    )
    assert """SET "search_path" TO '', 'a "b''c', 'd,e';""" in odd
    assert """SET "temp_tablespaces" TO '';""" in odd
    assert 'ALTER ROLE "r" IN DATABASE "new" SET "statement_timeout" TO \'5s\';' in text
    assert "COMMENT ON DATABASE \"new\" IS 'it''s mine';" in text


def test_only_roles_that_are_missing_are_made() -> None:
    dumped = (
        "CREATE ROLE app;\nALTER ROLE app WITH PASSWORD 'old';\nCREATE ROLE \"re ader\";\n"
        'ALTER ROLE "re ader" WITH LOGIN;\nGRANT app TO "re ader";\nGRANT x TO app;\n'
    )
    assert loading.role_statements(dumped, ["re ader"]).splitlines() == [
        'CREATE ROLE "re ader";',
        'ALTER ROLE "re ader" WITH LOGIN;',
        'GRANT app TO "re ader";',
    ]


def test_roles_are_found_whatever_they_are_called_with_all_that_is_theirs() -> None:
    mine = [
        'CREATE ROLE "o\'d ""x"" ;\nbreak";',
        'ALTER ROLE "o\'d ""x"" ;\nbreak" WITH LOGIN PASSWORD \'a;\'\'b\';',
        'CREATE ROLE "order";',
        "COMMENT ON ROLE \"order\" IS E'it''s; \\\\';",
        "ALTER ROLE \"order\" SET search_path TO 'a', 'b';",
        'GRANT "order" TO app WITH ADMIN OPTION, INHERIT TRUE GRANTED BY app;',
        'GRANT SET ON PARAMETER work_mem TO "order";',
    ]
    others = ["CREATE ROLE app;", "GRANT app TO other;", "GRANT SET ON PARAMETER work_mem TO app;"]
    mixed = [others[0], *mine[:3], others[1], *mine[3:], others[2]]
    dumped = (
        "\\restrict x\n\n" + "\n\n".join(f'--\n-- of "o\'d "x"\n--\n\n{each}' for each in mixed) + "\n\\unrestrict x\n"
    )
    dumped = dumped.replace("x\n\n--", "x\n\nSET client_encoding = 'UTF8';\n\n--", 1)
    assert loading.role_statements(dumped, ["order", 'o\'d "x" ;\nbreak']) == "\n".join(mine) + "\n"


def test_what_a_restored_database_lacks_is_named() -> None:
    table = {"schema": "public", "name": "t", "rows": 3, "newest": None}
    told = {"tables": [table], "extensions": {"hstore": "1"}, "large_objects": 0, "migration": None}
    assert census.differences(told, told) == []
    fewer = {**told, "tables": [{**table, "rows": 2}], "extensions": {}}
    assert census.differences(told, fewer) == ["public.t has 2 rows instead of 3", "the extension hstore is missing"]
    assert "is missing" in census.differences(told, {**told, "tables": []})[0]


def test_the_schema_s_digest_does_not_see_what_differs_each_time() -> None:
    one = "-- made at noon\n\\restrict abc\nCREATE TABLE t ();\n\\unrestrict abc\n"
    two = "\\restrict xyz\n\nCREATE TABLE t ();\n\\unrestrict xyz\n"
    assert census.schema_digest(one) == census.schema_digest(two)
    assert census.schema_digest(one) != census.schema_digest(one.replace("TABLE t", "TABLE u"))


def published(world: World, content: bytes) -> catalog.Backup:
    with catalog.staging(world.config, "redis") as (name, partial):
        (partial / "dump.rdb").write_bytes(content)
        return catalog.publish(world.config, "redis", name, partial, {"started": NOW})


def test_a_backup_is_there_whole_or_not_at_all(world: World) -> None:
    with pytest.raises(RuntimeError), catalog.staging(world.config, "redis") as (_, partial):
        (partial / "dump.rdb").write_bytes(b"half")
        raise RuntimeError
    assert catalog.backups(world.config, "redis") == []
    made = published(world, b"REDIS0011")
    assert [item.id for item in catalog.backups(world.config, "redis")] == [made.id]
    assert (made.path / "dump.rdb").stat().st_mode & 0o777 == 0o600
    assert list(made.path.parent.iterdir()) == [made.path]


def test_a_file_that_did_not_change_is_linked_and_one_that_was_tampered_with_is_not(world: World) -> None:
    first, second = published(world, b"REDIS0011"), published(world, b"REDIS0011")
    assert (first.path / "dump.rdb").stat().st_ino == (second.path / "dump.rdb").stat().st_ino
    assert second.manifest["shared_bytes"] == 9
    (second.path / "dump.rdb").write_bytes(b"XEDIS0011")
    newest = catalog.find(world.config, "redis", "latest")
    third = published(world, b"REDIS0011")
    assert (third.path / "dump.rdb").stat().st_ino != (newest.path / "dump.rdb").stat().st_ino


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.write_bytes(b"REDIS0012"), "is not what was written"),
        (lambda path: path.write_bytes(b"REDIS"), "has 5 bytes instead of 9"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: (path.parent / "more").write_bytes(b""), "does not belong"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "not a regular file"),
    ],
)
def test_a_damaged_backup_is_refused(world: World, change: object, said: str) -> None:
    made = published(world, b"REDIS0011")
    catalog.check(made.path, made.manifest)
    assert callable(change)
    change(made.path / "dump.rdb")
    with pytest.raises(Failure, match=said):
        catalog.check(made.path, made.manifest)


@pytest.mark.parametrize(
    "change", [lambda text: text.replace(b'"redis"', b'"redas"'), lambda text: text[:-9], lambda _: b""]
)
def test_a_manifest_that_changed_on_the_disk_is_no_manifest_and_nothing_older_is_taken_for_it(
    world: World, change: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = (f"20260101T00000{number}Z-0000" for number in range(9))
    monkeypatch.setattr(catalog, "new_id", lambda: next(ids))
    published(world, b"REDIS0011")
    made = catalog.note(published(world, b"REDIS0012"), drills=[{"ok": True}])
    assert catalog.find(world.config, "redis", "latest").manifest["drills"] == [{"ok": True}]
    path = made.path / "manifest.json"
    path.write_bytes(change(path.read_bytes()))
    assert catalog.read(made.path) is None
    for name in ("latest", made.id):
        with pytest.raises(Failure, match=r"manifest\.json is missing or not what was written"):
            catalog.find(world.config, "redis", name)
    published(world, b"REDIS0013")
    catalog.find(world.config, "redis", "latest")


def test_a_path_that_leads_nowhere_is_refused_and_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "dump.sql").touch()
    (tmp_path / "link").symlink_to("dump.sql")
    for name in ("loop", "nowhere", "gone"):
        with pytest.raises(Failure, match="is not there"):
            recognise.real(tmp_path / name)
    assert recognise.real(tmp_path / "link") == tmp_path / "dump.sql"


def test_what_would_fill_the_disk_is_not_unpacked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "bomb.gz"
    packed.write_bytes(gzip.compress(bytes(8 << 20)))
    full = shutil.disk_usage(tmp_path)._replace(free=100 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(Failure, match="too big to be unpacked: 100 MB are left"):
        recognise.unzip(packed, tmp_path / "out")
    assert (tmp_path / "out").stat().st_size == 1 << 20


def test_files_are_fetched_one_behind_the_other_and_the_first_from_where_it_broke_off(world: World) -> None:
    with catalog.staging(world.config, "redis") as (name, partial):
        for each in ("a", "b", "c"):
            (partial / each).write_bytes(each.encode() * 5)
        made = catalog.publish(world.config, "redis", name, partial, {"started": NOW})
    told = world.run("fetch", "redis", made.id, "b", "a", "--offset", "3", check=True)
    assert told.stdout == b"bbaaaaa"
    refused = world.run("fetch", "redis", made.id, "a", "../a")
    assert (refused.stdout, refused.returncode) == (b"", Status.REFUSED)


def test_assertions_are_one_a_line_and_the_rest_is_for_people() -> None:
    text = "-- about users\n\n  SELECT count(*) > 0 FROM users; -- some\n--SELECT false;\nSELECT true\n"
    assert assertions(text) == ("SELECT count(*) > 0 FROM users; -- some", "SELECT true")


def test_an_index_that_a_restore_has_lost_is_found_and_more_than_there_was_is_not_called_a_loss() -> None:
    expected = {"belonging": {"indexes": 3, "triggers": 1}}
    assert census.lost(expected, {"belonging": {"indexes": 2, "triggers": 1, "views": 4}}) == ["2 indexes instead of 3"]
    assert census.lost(expected, {"belonging": {"indexes": 5}}) == ["0 triggers instead of 1"]
    assert census.lost({}, {"belonging": {"indexes": 5}}) == []  # the first manifests did not count them


def test_what_is_bigger_than_the_disk_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "huge").touch()
    recognise.fits(tmp_path / "huge", tmp_path)
    os.truncate(tmp_path / "huge", 1 << 42)
    with pytest.raises(Failure, match="is bigger than the disk: it has 4194304 MB"):
        recognise.fits(tmp_path / "huge", tmp_path)
