"""Backups that come back from elsewhere, as directories and as tars of them: what is taken for one, and what is not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from host_world import World

from host.backup import carried, catalog
from host.backup.catalog import Backup
from host.errors import Failure, Status
from tasks.core import transfer


@pytest.fixture
def backup(world: World) -> Backup:
    with catalog.staging(world.config, "redis") as (name, partial):
        (partial / "deep").mkdir()
        (partial / "deep" / "dump.rdb").write_bytes(b"REDIS0012" + bytes(70_000))
        (partial / "empty").touch()
        return catalog.publish(world.config, "redis", name, partial, {"started": 5.0, "verified": {"at": 1}})


def sent(folder: Path, target: Path) -> Path:
    """The tar that the workstation sends of a directory."""
    target.write_bytes(b"".join(transfer.directory_stream(folder)))
    assert target.stat().st_size == transfer.directory_size(folder)
    return target


def look(world: World, path: Path, kind: str = "redis") -> Backup | None:
    with catalog.scratch(world.config) as room:
        found = carried.found(world.config, kind, path, room)
        if found:
            assert (found.path / "deep" / "dump.rdb").stat().st_size == 70_009
        return found


def test_a_directory_and_the_tar_that_is_sent_of_it_are_the_same_backup(
    world: World, backup: Backup, tmp_path: Path
) -> None:
    for path in (backup.path, sent(backup.path, tmp_path / "sent")):
        found = look(world, path)
        assert found is not None
        assert (found.id, found.taken) == (backup.id, 5.0)


@pytest.mark.parametrize("part", ["deep/dump.rdb", "empty", "manifest.json"])
def test_one_whose_bytes_are_others_is_refused(world: World, backup: Backup, tmp_path: Path, part: str) -> None:
    data = (backup.path / part).read_bytes()
    (backup.path / part).write_bytes(data[:-1] + b"?" if data else b"?")
    for path in (backup.path, sent(backup.path, tmp_path / "sent")):
        with pytest.raises(Failure) as caught:
            look(world, path)
        assert caught.value.status == Status.REFUSED


def test_one_of_another_kind_or_application_is_refused(world: World, backup: Backup) -> None:
    with pytest.raises(Failure, match=r"is of app \(redis\)"):
        look(world, backup.path, "postgres")
    catalog.note(backup, app="other")
    with pytest.raises(Failure, match=r"is of other \(redis\)"):
        look(world, backup.path)


def test_a_tar_that_is_cut_off_is_refused(world: World, backup: Backup, tmp_path: Path) -> None:
    path = sent(backup.path, tmp_path / "sent")
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(Failure, match=r"cut off|missing|instead of"):
        look(world, path)


def test_what_is_no_backup_of_ours_is_left_to_others(world: World, tmp_path: Path) -> None:
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump" / "toc.dat").write_bytes(b"PGDMP")
    (tmp_path / "plain.sql").write_text("-- PostgreSQL database dump\n")
    for path in (tmp_path / "dump", sent(tmp_path / "dump", tmp_path / "tar"), tmp_path / "plain.sql"):
        assert look(world, path) is None


def test_nothing_in_a_tar_gets_out_of_its_place(world: World, backup: Backup, tmp_path: Path) -> None:
    path = tmp_path / "evil"
    with tarfile.open(path, "w") as tar:
        tar.add(backup.path, ".")
        for name in ("../outside", "/outside"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert look(world, path) is not None
    assert not (catalog.folder(world.config, "redis").parent / "outside").exists()
    assert not Path("/outside").exists()


def test_a_file_that_shrinks_while_it_is_sent_is_no_quiet_success(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(200_000))
    stream = transfer.directory_stream(tmp_path)
    next(stream)
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(ValueError, match="shorter"):
        list(stream)
