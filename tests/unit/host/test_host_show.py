"""What is handed out of a release and of live/: what every container may read, and nothing else."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from host_world import World

from host import releases, show
from host.errors import Failure, Status

CONF = "live/nginx/nginx.conf"


@pytest.fixture
def live(world: World) -> Path:
    """live/ as an apply leaves it."""
    name = world.receive(world.spec(1))
    releases.switch(world.config, name)
    for part in ("nginx", "secrets"):
        shutil.copytree(world.config.current / part, world.config.live / part)
    return world.config.live


def shown(world: World, *paths: str, release: str = "current") -> dict[str, bytes]:
    out = io.BytesIO()
    show.show(world.config, release, list(paths), out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_a_file_in_live_is_shown_as_it_is_there_and_one_of_the_release_as_it_came(world: World, live: Path) -> None:
    (live / "nginx/nginx.conf").write_text("# mine\n")
    assert shown(world, CONF, "nginx/nginx.conf") == {CONF: b"# mine\n", "nginx/nginx.conf": b"# one\n"}


def test_a_file_that_somebody_added_in_live_is_shown_too(world: World, live: Path) -> None:
    (live / "nginx/extra.conf").write_text("# mine\n")
    assert shown(world, "live/nginx/extra.conf") == {"live/nginx/extra.conf": b"# mine\n"}


@pytest.mark.parametrize(
    "path",
    [
        "live/secrets/postgres/password",
        "live/secrets/registry/password",
        "live/nginx/../secrets/postgres/password",
        "live/../releases",
        "live/../../../etc/passwd",
        "live//etc/passwd",
        "live/./nginx/nginx.conf",
        "live/nginx",
        "live/nginx/",
        "live/nginxsecrets/x",
        "live/env",
        "live/",
    ],
)
def test_of_live_nothing_is_shown_that_not_every_container_may_read(world: World, live: Path, path: str) -> None:
    out = io.BytesIO()
    with pytest.raises(Failure, match="is not shown") as caught:
        show.show(world.config, "current", [CONF, path], out)
    assert caught.value.status == Status.FAILED
    assert out.getvalue() == b"", "and nothing of what was asked for with it"


@pytest.mark.parametrize("target", ["../secrets", "/etc", "..", "x"], ids=["secrets", "outside", "above", "itself"])
def test_no_linked_directory_leads_out_of_what_is_shown(world: World, live: Path, target: str) -> None:
    (live / "nginx/x").symlink_to(target)
    paths = ["live/nginx/x/postgres/password", "live/nginx/x/hostname", "live/nginx/x/secrets/postgres/password"]
    assert shown(world, CONF, *paths) == {CONF: b"# one\n"}


def test_a_link_to_a_secret_is_not_followed(world: World, live: Path) -> None:
    (live / "nginx/x.conf").symlink_to(live / "secrets/postgres/password")
    os.mkfifo(live / "nginx/pipe")  # would be waited for
    assert b"s3cret" not in b"".join(shown(world, "live/nginx/x.conf", "live/nginx/pipe").values())


def test_a_directory_of_a_release_that_became_a_link_is_not_followed_either(world: World, live: Path) -> None:
    release = world.config.current.resolve()
    shutil.rmtree(release / "nginx/tls")
    (release / "nginx/tls").symlink_to("../secrets/postgres")
    (release / "secrets/postgres/site.conf").write_text("s3cret")
    with pytest.raises(Failure, match=r"nginx/tls/site\.conf of release .* cannot be read"):
        shown(world, "nginx/tls/site.conf")


def test_a_root_that_is_reached_by_a_link_is_as_good_as_any(world: World, live: Path) -> None:
    world.config.root.rename(world.home / "elsewhere")
    world.config.root.symlink_to(world.home / "elsewhere")
    assert shown(world, CONF, "nginx/nginx.conf") == {CONF: b"# one\n", "nginx/nginx.conf": b"# one\n"}


def test_a_large_file_is_cut_after_a_megabyte(world: World, live: Path) -> None:
    (live / "nginx/nginx.conf").write_bytes(b"#" * ((1 << 20) + 1))
    assert len(shown(world, CONF)[CONF]) == 1 << 20


@pytest.mark.parametrize("path", ["secrets/postgres/password", "env", "../../../etc/passwd", "nope", "/etc/passwd", ""])
def test_of_a_release_secret_and_unknown_files_are_refused(world: World, live: Path, path: str) -> None:
    out = io.BytesIO()
    with pytest.raises(Failure) as caught:
        show.show(world.config, "current", ["nginx/nginx.conf", path], out)
    assert (caught.value.status, out.getvalue()) == (Status.FAILED, b"")


def test_what_lies_in_a_directory_for_secrets_is_not_shown_although_no_manifest_knows_it(world: World) -> None:
    spec = world.spec(1)
    spec.services["nginx"]["secrets"] = ["nginx/private"]
    releases.switch(world.config, world.receive(spec))
    (world.config.live / "nginx/private").mkdir(parents=True)
    (world.config.live / "nginx/private/key").write_text("s3cret")
    out = io.BytesIO()
    with pytest.raises(Failure, match="is not shown"):
        show.show(world.config, "current", ["live/nginx/private/key"], out)
    assert out.getvalue() == b""


def test_a_manifest_is_shown_whole_however_large_a_release_is(world: World) -> None:
    spec = world.spec(1, files={f"{'d' * 150}/{'e' * 150}/{number}": b"" for number in range(2500)})
    releases.switch(world.config, world.receive(spec))
    data = (world.config.current / "manifest.json").read_bytes()
    assert len(data) > 1 << 20
    assert shown(world, "manifest.json") == {"manifest.json": data}
