"""A new settings file from the example."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tasks.core.errors import ExitStatus, Refused, UsageError
from tasks.core.project import ROOT
from tasks.core.settings import new as settings_new
from tasks.core.settings.check import inspect
from tasks.core.settings.file import parse
from tasks.core.settings.new import SECRET_LENGTH, create, fill, generate
from tasks.core.settings.reference import EXAMPLE

GENERATED = ["POSTGRES_PASSWORD", "REDIS_PASSWORD", "GRAFANA_ADMIN_PASSWORD"]
TEMPLATE = ROOT / EXAMPLE


def test_a_generated_secret_is_long_and_needs_no_quoting() -> None:
    secret = generate()
    assert len(secret) == SECRET_LENGTH >= 32
    assert secret.isascii()
    assert secret.isalnum()


def test_no_two_generated_secrets_are_alike() -> None:
    assert len({generate() for _ in range(100)}) == 100


def test_each_required_secret_is_generated_and_nothing_else_is_touched() -> None:
    template = TEMPLATE.read_text()
    text, names = fill(template)
    assert names == GENERATED
    changed = [(old, new) for old, new in zip(template.splitlines(), text.splitlines(), strict=True) if old != new]
    assert [old for old, _ in changed] == [f"{name}=CHANGE_ME" for name in GENERATED]
    assert len({new.partition("=")[2] for _, new in changed}) == 3


def test_a_secret_that_the_users_own_example_holds_already_is_kept() -> None:
    text, names = fill("REDIS_PASSWORD='my own password'\nexport POSTGRES_PASSWORD = CHANGE_ME\n")
    assert names == ["POSTGRES_PASSWORD", "GRAFANA_ADMIN_PASSWORD"]
    entries = parse(text).entries
    assert entries["REDIS_PASSWORD"].value == "my own password"
    assert len(entries["POSTGRES_PASSWORD"].value) == SECRET_LENGTH
    assert len(entries["GRAFANA_ADMIN_PASSWORD"].value) == SECRET_LENGTH


def test_the_new_file_is_private_from_birth_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / ".env"
    at_birth: list[int] = []
    fsync = os.fsync

    def watching(descriptor: int) -> None:
        at_birth.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watching)
    for umask in (0o000, 0o277):
        before = os.umask(umask)
        try:
            assert create(TEMPLATE, target) == GENERATED
        finally:
            os.umask(before)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        target.unlink()
    assert at_birth == [0o600, 0o600]


def test_the_file_is_opened_with_the_private_mode_and_exclusively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    real = os.open

    def watching(path: Path, flags: int, mode: int = 0o777) -> int:
        calls.append((flags, mode))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", watching)
    create(TEMPLATE, tmp_path / ".env")
    assert calls[-1][1] == 0o600
    assert calls[-1][0] & os.O_EXCL


def test_only_what_the_user_alone_can_know_is_left_to_fill_in(tmp_path: Path) -> None:
    create(TEMPLATE, tmp_path / ".env")
    left = [problem.name for problem in inspect(tmp_path / ".env")[1]]
    assert left == ["SITE_DOMAIN", "GRAFANA_DOMAIN", "ACME_EMAIL", "BACKEND_IMAGE", "FRONTEND_IMAGE"]


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    target = tmp_path / ".env"
    target.write_text("precious")
    with pytest.raises(Refused) as caught:
        create(TEMPLATE, target)
    assert caught.value.status is ExitStatus.REFUSED
    assert "exists already" in caught.value.one_line()
    assert target.read_text() == "precious"


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        create(TEMPLATE, tmp_path / ".env")
    assert not (tmp_path / "elsewhere").exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        create(TEMPLATE, tmp_path / "none" / ".env")


def test_a_missing_example_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.example does not exist"):
        create(tmp_path / "none.example", tmp_path / ".env")
    assert not (tmp_path / ".env").exists()


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(settings_new.os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        create(TEMPLATE, tmp_path / ".env")
    assert not (tmp_path / ".env").exists()
