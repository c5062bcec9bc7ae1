"""Migrations: when one is due, the backup before it, and what a failure leaves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from host_world import World, last

from host import migration, releases
from host.backup import catalog
from host.errors import Failure
from host.events import Journal
from host.releases import Release

RUN = "--name app-migration"
MIGRATE = {"migration": ["/app/server", "-migrate"], "postgres_user": "shop", "postgres_db": "shop"}


def spec(world: World, number: int, **settings: Any) -> Any:
    return world.spec(number, settings={**MIGRATE, **settings})


def backups(world: World) -> list[str]:
    return sorted(path.name for path in (world.config.root / "shared/backups/postgres").glob("[.0-9]*"))


def due(world: World, release: Any) -> bool:
    """Is a migration due for it? Its images are of no interest here, so nothing is applied."""
    world.receive(release)
    return migration.due(world.config, releases.load(world.config, release.id))


def serves(world: World, release: Any) -> None:
    world.receive(release)
    releases.switch(world.config, release.id)


def pinned(world: World, **pin: str) -> dict[str, Any]:
    return {"backend": {**world.spec(1).services["backend"], "pin": pin}}


def test_the_first_release_that_has_one_is_due(world: World) -> None:
    assert due(world, spec(world, 1))


def test_without_a_command_or_without_a_backend_none_is_due(world: World) -> None:
    assert not due(world, world.spec(1))
    other = spec(world, 2)
    del other.services["backend"]
    assert not due(world, other)


def test_it_is_due_when_image_pin_or_command_are_not_those_of_the_release_that_serves(world: World) -> None:
    one, two = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    serves(world, world.spec(1, settings=MIGRATE, services=pinned(world, digest=one)))
    assert not due(world, world.spec(2, settings=MIGRATE, services=pinned(world, digest=one), nginx="other"))
    assert due(world, world.spec(3, settings=MIGRATE, services=pinned(world, digest=two)))
    assert due(world, world.spec(4, settings=MIGRATE, services=pinned(world, id=one)))
    assert due(world, world.spec(5, settings=MIGRATE))
    words = {**MIGRATE, "migration": ["/app/server", "-migrate", "-all"]}
    assert due(world, world.spec(6, settings=words, services=pinned(world, digest=one)))


def test_it_is_due_when_the_release_that_serves_had_no_command_or_no_backend(world: World) -> None:
    backend = {"backend": world.spec(1).services["backend"]}
    serves(world, world.spec(1, services=backend))
    assert due(world, world.spec(2, settings=MIGRATE, services=backend))
    bare = spec(world, 3)
    del bare.services["backend"]
    serves(world, bare)
    assert due(world, world.spec(4, settings=MIGRATE, services=backend))


@pytest.fixture
def ready(world: World, monkeypatch: pytest.MonkeyPatch) -> Release:
    """A release to migrate for; the backup has tests of its own."""
    monkeypatch.setattr(migration, "backup", lambda *_words, send: SimpleNamespace(ids=["20261122T100000Z-1a2b"]))
    release = spec(world, 1)
    world.receive(release)
    return releases.load(world.config, release.id)


def test_only_the_last_lines_of_a_long_output_go_with_the_failure(world: World, ready: Release) -> None:
    world.set(migration_says=[*[f"line {number}" for number in range(50)], ""], migration_status=1)
    with pytest.raises(Failure, match=r"the migration failed \(status 1\): line 49") as caught:
        migration.run(world.config, ready, Journal())
    assert caught.value.data["log"] == [*[f"line {number}" for number in range(31, 50)], ""]
    assert caught.value.data["backup"] == "20261122T100000Z-1a2b"


def test_one_that_fails_without_a_word_is_told_so(world: World, ready: Release) -> None:
    world.set(migration_says=[], migration_status=1)
    with pytest.raises(Failure, match="it said nothing"):
        migration.run(world.config, ready, Journal())


def test_what_an_earlier_one_left_running_is_removed_before_and_what_is_cut_off_after(
    world: World, ready: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration.run(world.config, ready, Journal())
    assert [call.split()[1] for call in world.calls("app-migration")] == ["rm", "compose"]
    world.forget_calls()
    monkeypatch.setattr(migration, "_DEADLINE", 0.3)
    world.trap(RUN, signal="HANG")
    with pytest.raises(Failure, match="did not end within"):
        migration.run(world.config, ready, Journal())
    assert [call.split()[1] for call in world.calls("app-migration")] == ["rm", "compose", "rm"]
    assert world.calls("docker rm") == ["docker rm -f app-migration"] * 2


def test_it_runs_once_with_a_backup_before_it(world: World) -> None:
    name = world.applied(spec(world, 1))
    [call] = world.calls(RUN)
    assert "--entrypoint /app/server backend -migrate" in call
    assert "--no-deps" in call
    [kept] = catalog.backups(world.config, "postgres")
    assert kept.manifest["reason"] == f"before the migration of {name}"
    assert kept.path.stat().st_mode & 0o777 == 0o700
    calls = world.calls()
    order = [next(i for i, call in enumerate(calls) if word in call) for word in ("pg_dump -Fd", RUN)]
    assert order == sorted(order)


def test_the_same_image_and_command_again_run_none(world: World) -> None:
    name = world.applied(spec(world, 1))
    world.forget_calls()
    assert world.run("apply", name).returncode == 0
    assert world.calls(RUN) == []
    assert world.calls("pg_dump") == []


def test_another_image_or_another_command_run_it_again(world: World) -> None:
    world.applied(spec(world, 1))
    world.forget_calls()
    world.applied(spec(world, 2))
    assert len(world.calls(RUN)) == 1
    same = {"backend": world.spec(2).services["backend"]}
    world.applied(world.spec(3, services=same, settings={**MIGRATE, "migration": ["/app/server", "-migrate", "-all"]}))
    assert len(world.calls(RUN)) == 2


def test_going_back_runs_none(world: World) -> None:
    first = world.applied(spec(world, 1))
    world.applied(spec(world, 2))
    world.forget_calls()
    assert world.run("apply", first, "--kind", "rollback").returncode == 0
    assert world.calls(RUN) == []


def test_one_that_fails_stops_the_deploy_with_its_last_lines_and_nothing_switched(world: World) -> None:
    first = world.applied(spec(world, 1))
    before = world.lives()
    second = spec(world, 2)
    world.receive(second)
    world.set(migration_says=["column exists already"], migration_status=3)
    done = world.run("apply", second.id)
    assert done.returncode == 12
    data = last(done.stdout)["data"]
    assert "column exists already" in data["cause"]
    assert data["log"] == ["column exists already"]
    assert data["reverted"] is True
    newest = backups(world)[-1]
    assert data["hint"].endswith(f"fab restore.postgres --file {newest}")
    assert world.lives() == before
    assert world.config.current.readlink().name == first


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"dump_error": "pg_dump: error: query failed"}, "query failed"),
        ({"toc": False}, "has no table of contents"),
        ({"database_size": 1 << 60}, "no room"),
        ({"psql_error": "psql: error: FATAL:  too many clients"}, "too many clients"),
    ],
)
def test_without_a_good_backup_there_is_no_migration(world: World, state: dict[str, Any], said: str) -> None:
    world.set(**state)
    release = spec(world, 1)
    world.receive(release)
    done = world.run("apply", release.id)
    assert done.returncode == 12
    assert said in last(done.stdout)["data"]["cause"]
    assert world.calls(RUN) == []
    assert backups(world) == [], "nothing that looks like a backup is left"


def test_what_it_did_is_remembered_with_the_release(world: World) -> None:
    name = world.applied(spec(world, 1))
    result = releases.results(world.config)[name]
    assert (result["result"], result["migrated"]) == ("healthy", True)
    assert result["backup"] == backups(world)[-1]
