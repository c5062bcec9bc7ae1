"""live/: equal to the release, owned by who reads it, replaced file by file inside directories that stay."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from host_world import World, owner

from host import live, releases
from host.releases import Release


def release(world: World, number: int, **parts: object) -> Release:
    world.receive(world.spec(number, **parts))
    return releases.load(world.config, world.spec(number).id)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_configuration_is_readable_for_every_container_and_secrets_for_their_own_only(world: World) -> None:
    base = world.config.live
    live.sync(base, release(world, 1), True)
    assert mode(base / "nginx") == 0o755
    assert mode(base / "nginx/nginx.conf") == 0o644
    assert mode(base / "secrets/postgres") == 0o500
    assert mode(base / "secrets/postgres/password") == 0o400
    status = (base / "secrets/postgres/password").stat()
    assert (status.st_uid, status.st_gid) == owner(999, 999)
    for parent in (base, base / "secrets", world.config.root):
        assert mode(parent) & 0o011 == 0o011, parent


def test_a_second_sync_writes_nothing(world: World) -> None:
    found = release(world, 1)
    assert live.sync(world.config.live, found, True)
    before = {path: path.stat().st_ino for path in world.config.live.rglob("*")}
    assert not live.sync(world.config.live, found, True)
    assert {path: path.stat().st_ino for path in world.config.live.rglob("*")} == before


def test_a_mounted_directory_keeps_its_inode_when_its_files_change(world: World) -> None:
    live.sync(world.config.live, release(world, 1), True)
    inodes = [(world.config.live / name).stat().st_ino for name in ("nginx", "secrets/postgres")]
    changed = release(world, 2, nginx="two", files={"secrets/postgres/password": b"other"})
    changes = live.sync(world.config.live, changed, True)
    assert changes.services == {"nginx", "postgres"}
    assert [(world.config.live / name).stat().st_ino for name in ("nginx", "secrets/postgres")] == inodes
    assert (world.config.live / "secrets/postgres/password").read_bytes() == b"other"


def test_files_that_need_a_certificate_stay_out_until_there_is_one(world: World) -> None:
    found = release(world, 1)
    live.sync(world.config.live, found, False)
    assert not (world.config.live / "nginx/tls/site.conf").exists()
    assert live.sync(world.config.live, found, True).write == ["nginx/tls/site.conf"]


def test_what_is_gone_from_the_release_is_removed_and_so_are_the_leavings_of_a_kill(world: World) -> None:
    live.sync(world.config.live, release(world, 1, files={"nginx/old.conf": b"x"}), True)
    (world.config.live / "nginx/.~nginx.conf.123").write_text("half")
    changes = live.sync(world.config.live, release(world, 2), True)
    assert sorted(changes.remove) == ["nginx/.~nginx.conf.123", "nginx/old.conf"]
    assert sorted(path.name for path in (world.config.live / "nginx").iterdir()) == ["nginx.conf", "tls"]


def test_a_wrong_mode_a_link_and_a_directory_in_the_place_of_a_file_are_put_right(world: World) -> None:
    found = release(world, 1, files={"nginx/a.conf": b"a", "nginx/b.conf": b"b"})
    live.sync(world.config.live, found, True)
    base = world.config.live / "nginx"
    (base / "nginx.conf").chmod(0o600)
    (base / "a.conf").unlink()
    (base / "a.conf").symlink_to("/etc/shadow")
    (base / "b.conf").unlink()
    (base / "b.conf").mkdir()
    assert {item["path"]: item["state"] for item in live.drift(world.config.live, found.manifest, True)} == {
        "nginx/a.conf": "changed", "nginx/b.conf": "changed", "nginx/nginx.conf": "changed",
    }  # fmt: skip
    live.sync(world.config.live, found, True)
    assert live.drift(world.config.live, found.manifest, True) == []
    assert not (base / "a.conf").is_symlink()


def test_directories_of_a_service_that_is_gone_stay_until_the_switch(world: World) -> None:
    extra = {"image": "x", "user": "1:1", "config": ["extra"], "secrets": [], "healthcheck": False}
    live.sync(world.config.live, release(world, 1, files={"extra/x": b"x"}, services={"extra": extra}), True)
    second = release(world, 2)
    live.sync(world.config.live, second, True)
    assert (world.config.live / "extra/x").exists()
    assert live.prune(world.config.live, second.manifest, True) == ["extra/x"]
    assert not (world.config.live / "extra").exists()


def test_the_digest_of_what_a_service_reads_changes_with_its_files_only(world: World) -> None:
    first, second = release(world, 1), release(world, 2, nginx="two")
    digests = [
        {
            name: live.digest(service, live.files(found.manifest, True))
            for name, service in found.manifest.services.items()
        }
        for found in (first, second)
    ]
    assert digests[0]["nginx"] != digests[1]["nginx"]
    assert digests[0]["postgres"] == digests[1]["postgres"] != ""
    assert digests[0]["backend"] == ""


def test_a_mounted_directory_without_files_exists(world: World) -> None:
    empty = {"image": "x", "user": "1:1", "config": ["empty/deep"], "secrets": [], "healthcheck": False}
    live.sync(world.config.live, release(world, 1, services={"extra": empty}), True)
    assert (world.config.live / "empty/deep").is_dir()
    assert os.listdir(world.config.live / "empty/deep") == []  # noqa: PTH208
