"""Which copies are still to be made, and what restic's words mean to a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from host_world import World

from host.backup import copies, restic
from host.backup.catalog import Backup
from host.backup.policy import Policy
from host.backup.restic import Missing, Repository
from host.errors import Failure, Status
from host.process import Done

URL, OTHER = "s3:https://s3.test/bucket/a", "sftp://u@store.test:23//b"


def made(number: int, **ok: bool) -> Backup:
    remotes = {"here": URL, "there": OTHER}
    told: list[dict[str, Any]] = [{"remote": remotes[name], "ok": value} for name, value in ok.items()]
    return Backup("redis", f"20261124T00000{number}Z-0000", Path("/none"), {"copies": told})


def test_of_backups_never_copied_only_the_newest_is() -> None:
    backups = [made(1), made(2, there=True), made(3)]
    assert [item.id for item in copies.waiting(backups, URL)] == [backups[2].id]


def test_what_was_made_since_the_last_good_copy_is_copied_with_the_failed_ones() -> None:
    backups = [made(1), made(2, here=True), made(3, here=False), made(4), made(5, there=True)]
    assert copies.waiting(backups, URL) == backups[2:]
    assert copies.waiting(backups, OTHER) == []
    assert copies.waiting([], URL) == []


def test_the_time_of_a_copy_is_in_its_name() -> None:
    assert copies.Snapshot("redis", "20261124T045200Z-1a2b", "x").taken == 1795495920


@pytest.fixture
def repository(world: World) -> Repository:
    secrets = world.config.root / "secrets"
    (secrets / "backup").mkdir(parents=True)
    (secrets / "backup" / "s3_secret_key").write_text("of s3")
    policy = Policy({}, 0, secrets, "shop", "shop", (URL, OTHER), ("ssh-ed25519 AAAA", "ssh-rsa BBBB"))
    return Repository(world.config, policy, URL)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Fatal: repository does not exist: unable to open config file: stat /r/config: no such file", "no repository"),
        ("Fatal: unable to open config file: Stat: The specified key does not exist.\nIs there a rep", "no repository"),
        ("Fatal: wrong password or no key found", "does not open with this password"),
        ("subprocess ssh: u@store.test: Permission denied (publickey).\nFatal: unable to open", "refuses the login"),
        ("Host key verification failed.\nFatal: unable to open", "BACKUP_SFTP_HOST_KEYS"),
        (f"Fatal: unable to open repository at {URL}: no route to host", f"{URL}: no route to host"),
        ('{"message_type":"exit_error","code":1,"message":"Fatal: pack is broken"}', "Fatal: pack is broken"),
        ("", "restic says nothing"),
    ],
)
def test_a_failure_of_restic_is_one_line_that_says_why(repository: Repository, said: str, meant: str) -> None:
    failure = repository._failure(Done(1, b"", said))
    assert meant in failure.cause
    assert "\n" not in failure.cause
    assert failure.hint


def test_only_what_is_really_not_there_is_made_anew(repository: Repository) -> None:
    cut = "Fatal: unable to open config file: context canceled\nIs there a repository at the following location?\nx"
    assert not isinstance(repository._failure(Done(1, b"", cut)), Missing)
    assert isinstance(repository._failure(Done(10, b"", "Fatal: repository does not exist: x")), Missing)
    assert repository._failure(Done(12, b"", "Fatal: wrong password or no key found")).status == Status.REFUSED


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Stat: The specified bucket does not exist", "no such bucket"),
        ("Stat: Access Denied.", "refuses the key"),
        ("Stat: The request signature we calculated does not match", "refuses the key"),
        ("dial tcp 192.0.2.1:443: connect: connection refused", "does not answer: dial tcp"),
    ],
)
def test_what_will_never_go_right_is_not_tried_for_a_quarter_of_an_hour(said: str, meant: str) -> None:
    retries = restic._Retries(URL, -1, None)
    retries.tick()  # nothing was said yet
    retries.on_line(f"Stat(<config/>) returned error, retrying after 842.523192ms: {said}")
    with pytest.raises(Failure) as raised:
        retries.tick()
    assert meant in raised.value.cause


def test_a_hiccup_is_waited_for() -> None:
    retries = restic._Retries(URL, 60, None)
    retries.on_line("Save(<data/00>) returned error, retrying after 1s: connection reset by peer")
    retries.tick()


def test_secrets_are_in_files_and_the_environment_and_host_keys_are_checked(repository: Repository) -> None:
    assert repository._environment()["AWS_SECRET_ACCESS_KEY"] == "of s3"
    assert repository._environment()["RESTIC_PASSWORD_FILE"].endswith("/secrets/backup/password")
    away = Repository(repository.config, repository.policy, OTHER, "recovery $'\"")
    assert away._environment()["RESTIC_PASSWORD"] == "recovery $'\""
    assert "AWS_SECRET_ACCESS_KEY" not in away._environment()
    command = " ".join(away._options())
    assert "StrictHostKeyChecking=yes" in command
    assert "-p 23 -l u store.test -s sftp" in command
    assert "recovery" not in command
    known = (repository.config.state / "backup_known_hosts").read_text()
    assert known == "backup ssh-ed25519 AAAA\nbackup ssh-rsa BBBB\n"


def test_without_remotes_the_user_is_told_what_to_set() -> None:
    with pytest.raises(Failure, match="BACKUP_REMOTES is empty"):
        copies.require(Policy({}, 0, Path(), "shop", "shop"))
