"""Files out of one stream: each whole and right, or not there; what broke off is gone on with."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from tasks.operations.arriving import Arriving, Damaged, Wanted

CONTENTS = {"globals.sql": b"roles", "databases/0/toc.dat": b"", "databases/0/1.dat.zst": bytes(range(256)) * 700,
            "databases/0/2.dat.zst": b"z"}  # fmt: skip


def wanted(folder: Path, *names: str) -> list[Wanted]:
    return [
        Wanted(name, folder / name, len(CONTENTS[name]), hashlib.sha256(CONTENTS[name]).hexdigest())
        for name in names or CONTENTS
    ]


def ignore(_count: int) -> None:
    pass


def test_however_the_stream_is_cut_the_files_are_what_they_were(tmp_path: Path) -> None:
    stream, seed = b"".join(CONTENTS.values()), random.Random(3)
    for number in range(20):
        files, counted = wanted(tmp_path / str(number)), list[int]()
        with Arriving(files, 0, counted.append) as arriving:
            rest = stream
            while rest:
                size = seed.randint(1, 60_000)
                arriving.take(rest[:size])
                rest = rest[size:]
        assert {each.name: each.path.read_bytes() for each in files} == CONTENTS
        assert all(each.there and not each.part.exists() for each in files)
        assert all(each.path.stat().st_mode & 0o077 == 0 for each in files)
        assert sum(counted) == len(stream)


def test_what_broke_off_is_gone_on_with_and_hashed_whole(tmp_path: Path) -> None:
    [big] = wanted(tmp_path, "databases/0/1.dat.zst")
    content = CONTENTS[big.name]
    with pytest.raises(ConnectionError), Arriving([big], 0, ignore) as arriving:
        arriving.take(content[:1000])
        raise ConnectionError
    assert big.begun == 1000
    with Arriving([big], big.begun, ignore) as arriving:
        arriving.take(content[1000:])
    assert big.there


def test_what_an_earlier_attempt_left_wrong_is_found_and_thrown_away(tmp_path: Path) -> None:
    [big] = wanted(tmp_path, "databases/0/1.dat.zst")
    content = CONTENTS[big.name]
    big.part.parent.mkdir(parents=True)
    big.part.write_bytes(b"?" * 1000)
    with pytest.raises(Damaged, match=r"1\.dat\.zst"), Arriving([big], big.begun, ignore) as arriving:
        arriving.take(content[1000:])
    assert not big.part.exists()
    assert not big.path.exists()


def test_one_wrong_byte_or_one_too_few_is_no_file(tmp_path: Path) -> None:
    small, last = wanted(tmp_path, "globals.sql", "databases/0/2.dat.zst")
    with pytest.raises(Damaged, match=r"globals\.sql"), Arriving([small, last], 0, ignore) as arriving:
        arriving.take(b"rolesz"[1:] + b"z")
    assert not small.path.exists()
    with pytest.raises(Damaged, match=r"2\.dat\.zst"), Arriving([small, last], 0, ignore) as arriving:
        arriving.take(b"roles")
    assert small.there
    assert not last.path.exists()


def test_more_than_was_asked_for_is_not_taken(tmp_path: Path) -> None:
    [small] = wanted(tmp_path, "globals.sql")
    with pytest.raises(Damaged, match="more than"), Arriving([small], 0, ignore) as arriving:
        arriving.take(b"roles and more")
