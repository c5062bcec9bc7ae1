"""What a host that has nothing takes over, and that it replaces nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from host_world import World

from host import releases
from host.backup import adopt
from host.errors import Failure, Status
from host.events import Journal

QUESTION = {
    "remote": "s3:https://s3.test/b",
    "host_keys": ["ssh-ed25519 AAAA"],
    "password": "p $'\"é",
    "s3_access_key": "a",
}


def test_a_question_is_read_once_and_its_secrets_are_not_shown(world: World) -> None:
    path = adopt.save(world.config, json.dumps(QUESTION).encode())
    assert path.stat().st_mode & 0o777 == 0o600
    question = adopt.take(path)
    assert not path.exists()
    assert question.secrets == {"password": "p $'\"é", "s3_access_key": "a"}
    assert "p $" not in repr(question)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"remote": "x", "host_keys": 5}'])
def test_what_is_no_question_is_refused_and_kept_nowhere(world: World, data: bytes) -> None:
    with pytest.raises(Failure, match="names no remote"):
        adopt.save(world.config, data)
    assert list(world.config.run.glob("adopt-*")) == []


def test_a_host_that_serves_is_left_alone(world: World) -> None:
    world.receive(world.spec(1))
    [release] = releases.ids(world.config)
    releases.switch(world.config, release)
    with pytest.raises(Failure, match="serves on this host") as raised:
        adopt.adopt(world.config, adopt.parse(json.dumps(QUESTION).encode()), Journal(None, None))
    assert raised.value.status == Status.REFUSED


def test_secrets_are_in_memory_for_as_long_as_they_are_needed(world: World) -> None:
    with adopt._opened(world.config, adopt.parse(json.dumps(QUESTION).encode())) as policy:
        path = policy.secrets / "backup" / "password"
        assert path.read_text() == "p $'\"é"
        assert path.stat().st_mode & 0o777 == 0o600
        assert policy.secrets.parent == world.config.run
    assert not policy.secrets.exists()


def test_what_is_there_is_never_replaced_and_links_stay_links(tmp_path: Path) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    (source / "live/site").mkdir(parents=True)
    (source / "live/site/key.pem").symlink_to("../../archive/key1.pem")
    (source / "account").write_text("from the backup")
    (source / "cli.ini").write_text("from the backup")
    (source / "cli.ini").chmod(0o640)
    target.mkdir()
    (target / "account").write_text("of this host")
    adopt._fill(source, target)
    assert (target / "account").read_text() == "of this host"
    assert (target / "cli.ini").stat().st_mode & 0o777 == 0o640
    assert (target / "live/site/key.pem").readlink() == Path("../../archive/key1.pem")
