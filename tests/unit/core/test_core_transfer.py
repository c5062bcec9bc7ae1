"""One deterministic tar, made on the fly."""

import io
import subprocess
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core.transfer import TarEntry, tar_size, tar_stream

FILES = [
    TarEntry("manifest.json", b"{}", 0o644),
    TarEntry("secrets/backend/key", b"s3cret", 0o600),
    TarEntry("empty", b""),
    TarEntry("block", bytes(512)),
    TarEntry("deep/" * 40 + "naïve name", b"x" * 70_000),
]


def test_the_tar_holds_the_files_in_order_with_their_modes() -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_stream(FILES)))) as archive:
        members = archive.getmembers()
        read = [(m.name, (archive.extractfile(m) or io.BytesIO()).read(), m.mode) for m in members]
    assert read == [(f.path, f.content, f.mode) for f in FILES]
    assert {(m.uid, m.gid, m.mtime) for m in members} == {(0, 0, 0)}


def test_the_same_files_give_the_same_bytes() -> None:
    assert b"".join(tar_stream(FILES)) == b"".join(tar_stream(FILES))


def test_gnu_tar_reads_it_with_every_mode(tmp_path: Path) -> None:
    data = b"".join(tar_stream(FILES))
    subprocess.run(["tar", "-x", "-p", "--no-same-owner", "-C", str(tmp_path)], input=data, check=True)
    assert {f.path: (tmp_path / f.path).read_bytes() for f in FILES} == {f.path: f.content for f in FILES}
    assert (tmp_path / "secrets/backend/key").stat().st_mode & 0o777 == 0o600


def test_the_size_is_known_in_advance() -> None:
    assert tar_size(FILES[:4]) == len(b"".join(tar_stream(FILES[:4])))


def test_memory_does_not_grow_with_the_number_of_files() -> None:
    def many() -> Iterator[TarEntry]:
        for number in range(200):
            yield TarEntry(f"f{number}", bytes(2**20))

    tracemalloc.start()
    total = sum(len(chunk) for chunk in tar_stream(many()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total > 200 * 2**20
    assert peak < 8 * 2**20


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../up", "a/../../b"])
def test_a_path_that_leaves_the_directory_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        list(tar_stream([TarEntry(path, b"")]))
