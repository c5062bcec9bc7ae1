"""Taking in a release: complete and verified, or nothing is left."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from host_world import Spec, World, add, eventually, last

from host.errors import Failure
from host.events import Journal
from host.receive import receive


def refused(world: World, data: bytes) -> Failure:
    """The failure of receiving `data`; whatever it is, nothing may be left."""
    before = sorted(world.config.releases.iterdir())
    with pytest.raises(Failure) as caught:
        receive(world.config, io.BytesIO(data), Journal())
    assert sorted(world.config.releases.iterdir()) == before
    assert caught.value.hint
    return caught.value


def test_a_whole_release_is_put_in_place_with_its_modes(world: World) -> None:
    spec = world.spec(1)
    data = receive(world.config, io.BytesIO(spec.tar()), Journal())
    path = world.config.releases / spec.id
    assert data["received"] == len(spec.files)
    assert {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()} == {"manifest.json", *spec.files}
    assert stat.S_IMODE((path / "secrets/postgres/password").stat().st_mode) == 0o600
    assert stat.S_IMODE((path / "env").stat().st_mode) == 0o600
    assert stat.S_IMODE((path / "nginx/nginx.conf").stat().st_mode) == 0o644
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_files_the_current_release_has_need_not_be_sent(world: World) -> None:
    world.applied(world.spec(1))
    spec = world.spec(2, nginx="two")
    changed = {path for path, data in spec.files.items() if world.spec(1).files[path] != data}
    data = receive(world.config, io.BytesIO(spec.tar(changed)), Journal())
    assert data["received"] == len(changed) < len(spec.files)
    for path, content in spec.files.items():
        assert (world.config.releases / spec.id / path).read_bytes() == content


def test_a_file_that_was_tampered_with_in_the_current_release_is_not_kept(world: World) -> None:
    first = world.applied(world.spec(1))
    (world.config.releases / first / "nginx/nginx.conf").write_text("evil")
    failure = refused(world, world.spec(2).tar({"docker-compose.prod.yml"}))
    assert "nginx/nginx.conf was changed or removed there" in failure.cause


def test_a_file_neither_sent_nor_there_is_named(world: World) -> None:
    failure = refused(world, world.spec(1).tar({"env"}))
    assert "was not sent and the current release has no such file" in failure.cause


def test_a_release_id_that_is_there_is_refused(world: World) -> None:
    world.receive(world.spec(1))
    assert "is already on this host" in refused(world, world.spec(1).tar()).cause


@pytest.mark.parametrize("size", [0, 100, 600, 2000, 4500])
def test_a_stream_cut_off_leaves_nothing(world: World, size: int) -> None:
    whole = world.spec(1, files={"big": b"x" * 4000}).tar()
    assert len(whole) > size
    refused(world, whole[:size])


def test_a_stream_cut_off_between_two_files_leaves_nothing(world: World) -> None:
    spec = world.spec(1)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        add(tar, "manifest.json", json.dumps(spec.manifest()).encode())
        add(tar, "env", spec.files["env"])
        end = tar.offset
    assert "was not sent" in refused(world, out.getvalue()[:end]).cause


def evil(change: Callable[[tarfile.TarFile, Spec], None], first: bool = True) -> Callable[[Spec], bytes]:
    def build(spec: Spec) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            if first:
                add(tar, "manifest.json", json.dumps(spec.manifest()).encode())
            change(tar, spec)
        return out.getvalue()

    return build


def link(tar: tarfile.TarFile, kind: bytes) -> None:
    add(tar, "env", b"", type=kind, linkname="/etc/shadow")


def twice(tar: tarfile.TarFile, data: bytes) -> None:
    add(tar, "env", data)
    add(tar, "env", data)


EVIL: dict[str, tuple[Callable[[Spec], bytes], str]] = {
    "not a tar": (lambda _: b"#!/bin/sh\n" * 100, "not a whole tar"),
    "no manifest first": (evil(lambda tar, spec: add(tar, "env", spec.files["env"]), first=False), "does not begin"),
    "a file above": (evil(lambda tar, _: add(tar, "../../etc/passwd", b"x")), "is not in the manifest"),
    "an absolute path": (evil(lambda tar, _: add(tar, "/etc/passwd", b"x")), "is not in the manifest"),
    "an unknown file": (evil(lambda tar, _: add(tar, "surplus", b"x")), "is not in the manifest"),
    "a symlink": (evil(lambda tar, _: link(tar, tarfile.SYMTYPE)), "not a plain"),
    "a hard link": (evil(lambda tar, _: link(tar, tarfile.LNKTYPE)), "not a plain"),
    "a device": (evil(lambda tar, _: add(tar, "env", b"", type=tarfile.CHRTYPE)), "not a plain file"),
    "a fifo": (evil(lambda tar, _: add(tar, "env", b"", type=tarfile.FIFOTYPE)), "not a plain file"),
    "a directory": (evil(lambda tar, _: add(tar, "nginx", b"", type=tarfile.DIRTYPE)), "not a plain file"),
    "another content": (evil(lambda tar, spec: add(tar, "env", b"z" * len(spec.files["env"]))), "not have the digest"),
    "another size": (evil(lambda tar, _: add(tar, "env", b"longer than it says")), "the manifest says"),
    "a file twice": (evil(lambda tar, spec: twice(tar, spec.files["env"])), "was sent twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", EVIL)
def test_an_evil_stream_is_refused_and_leaves_nothing(world: World, case: str) -> None:
    build, cause = EVIL[case]
    assert cause in refused(world, build(world.spec(1))).cause


def changed_manifest(**changes: Any) -> Callable[[Spec], bytes]:
    def build(spec: Spec) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            add(tar, "manifest.json", json.dumps({**spec.manifest(), **changes}).encode())
        return out.getvalue()

    return build


ENTRY = {"sha256": "0" * 64, "size": 1, "mode": 0o644, "secret": False}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "of another app": ({"app": "other"}, "it is for the application 'other'"),
    "of a later format": ({"format": 2}, "format 2 is not one this program knows"),
    "with an evil id": ({"release": "../../../etc"}, "is not a release id"),
    "with a path above": ({"files": {"../x": ENTRY}}, "not a plain relative path"),
    "with an absolute path": ({"files": {"/x": ENTRY}}, "not a plain relative path"),
    "with its own name": ({"files": {"manifest.json": ENTRY}}, "is reserved"),
    "with a file that is a directory": ({"files": {"a": ENTRY, "a/b": ENTRY}}, "is both a file and a directory"),
    "with a setuid mode": ({"files": {"a": {**ENTRY, "mode": 0o4755}}}, "makes no sense"),
    "with too much": ({"files": {"a": {**ENTRY, "size": 1 << 40}}}, "more than"),
    "without files": ({"files": None}, "the manifest is not valid"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_manifest_that_makes_no_sense_is_refused(world: World, case: str) -> None:
    changes, cause = BAD[case]
    assert cause in refused(world, changed_manifest(**changes)(world.spec(1))).cause


def test_secrets_for_a_user_without_a_number_are_refused(world: World) -> None:
    spec = world.spec(1)
    spec.services["postgres"]["user"] = "postgres"
    assert "its user must be numeric" in refused(world, spec.tar()).cause


def test_a_secret_in_a_directory_every_container_may_read_is_refused(world: World) -> None:
    spec = world.spec(1)
    assert "nginx/nginx.conf is secret" in refused(world, replace(spec, secrets={"nginx/nginx.conf"}).tar()).cause


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(world: World) -> None:
    spec = world.spec(1, files={"big": b"x" * 300_000})
    limit = "import resource,signal,os,sys;signal.signal(signal.SIGXFSZ,signal.SIG_IGN);"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE,(100000,100000));os.execv(sys.argv[1],sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", limit, sys.executable, "-I", str(world.program), "receive"],
        input=spec.tar(), capture_output=True, check=False, env=world.environment(),
    )  # fmt: skip
    final = last(done.stdout)
    assert done.returncode == 12
    assert final["event"] == "failed"
    assert final["data"]["cause"].startswith("receiving the release: a file grew beyond the allowed size")
    assert not list(world.config.releases.iterdir())
    assert b"Traceback" not in done.stderr


def test_no_space_left_has_its_own_line() -> None:
    from host.errors import from_os_error

    failure = from_os_error(OSError(28, "No space left on device", "/opt/app/releases/x"), "receiving the release")
    assert failure.cause == "receiving the release: no space left on the disk (/opt/app/releases/x)"
    assert "docker system df" in failure.hint


def test_what_a_dead_receiver_left_is_removed_but_not_what_a_living_one_writes(world: World) -> None:
    dead = world.config.releases / ".incoming-1-dead"
    dead.mkdir()
    (dead / "half").write_text("x")
    child = subprocess.Popen(
        [sys.executable, "-I", str(world.program), "receive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=world.environment(),
    )  # fmt: skip
    assert child.stdin is not None
    child.stdin.write(world.spec(2).tar()[:3000])
    child.stdin.flush()
    own = eventually(lambda: [p for p in world.config.releases.glob(".incoming-*") if p != dead])
    assert not dead.exists()
    world.receive(world.spec(1))
    assert own[0].exists()
    child.kill()
    child.wait()
    world.receive(world.spec(3))
    assert not own[0].exists()


def test_secret_files_are_never_readable_by_others_while_they_are_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    born: dict[str, int] = {}
    real = os.open

    def watching(path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        handle = real(path, flags, mode, **rest)
        if flags & os.O_CREAT:
            born[Path(path).name] = stat.S_IMODE(os.fstat(handle).st_mode)
        return handle

    old = os.umask(0)
    monkeypatch.setattr(os, "open", watching)
    try:
        world.receive(world.spec(1))
    finally:
        os.umask(old)
    assert born["password"] & 0o077 == 0
    assert born["env"] & 0o077 == 0
