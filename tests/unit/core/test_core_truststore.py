"""The project's own known_hosts file."""

import stat
from pathlib import Path

import pytest

from tasks.core.hostkeys import HostKey, KnownHosts, Verdict
from tasks.core.truststore import remember

KEY = HostKey("ssh-ed25519", b"key one")
OTHER = HostKey("ssh-ed25519", b"key two")


def test_a_remembered_key_is_trusted_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / ".fab" / "known_hosts"
    remember(path, "[vps]:2222", KEY)
    assert KnownHosts.load([path]).judge("[vps]:2222", KEY)[0] is Verdict.TRUSTED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_the_file_held_stays_even_without_a_last_newline(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("# mine")
    remember(path, "a", KEY)
    remember(path, "b", OTHER)
    assert path.read_text().startswith("# mine\na ssh-ed25519 ")
    known = KnownHosts.load([path])
    assert [known.judge("a", KEY)[0], known.judge("b", OTHER)[0]] == [Verdict.TRUSTED] * 2


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "known_hosts"
    remember(path, "a", KEY)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        remember(path, "b", OTHER)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "home"] == ["known_hosts"]
