"""Migrations: when one is due, the dump before it, and what a failure leaves."""

from __future__ import annotations

from typing import Any

import pytest
from host_world import World, last

RUN = "--name app-migration"
MIGRATE = {"migration": ["/app/server", "-migrate"], "postgres_user": "shop", "postgres_db": "shop"}


def spec(world: World, number: int, **settings: Any) -> Any:
    return world.spec(number, settings={**MIGRATE, **settings})


def dumps(world: World) -> list[str]:
    return sorted(path.name for path in (world.config.root / "shared/backups").rglob("*") if path.is_file())


def test_it_runs_once_with_a_dump_before_it(world: World) -> None:
    name = world.applied(spec(world, 1))
    [call] = world.calls(RUN)
    assert "--entrypoint /app/server backend -migrate" in call
    assert "--no-deps" in call
    path = world.config.root / "shared/backups/postgres" / f"{name}.dump"
    assert path.read_text() == "PGDMP\n"
    assert path.stat().st_mode & 0o777 == 0o600
    calls = world.calls()
    order = [next(i for i, call in enumerate(calls) if word in call) for word in ("pg_dump", "pg_restore", RUN)]
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
    assert f"{second.id}.dump" in data["hint"]
    assert world.lives() == before
    assert world.config.current.readlink().name == first


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"dump_status": 1}, "the dump failed"),
        ({"dump": "something else"}, "names no table"),
        ({"database_size": 1 << 60}, "no room"),
        ({"database_size": "what?"}, "does not answer"),
    ],
)
def test_without_a_good_dump_there_is_no_migration(world: World, state: dict[str, Any], said: str) -> None:
    world.set(**state)
    release = spec(world, 1)
    world.receive(release)
    done = world.run("apply", release.id)
    assert done.returncode == 12
    assert said in last(done.stdout)["data"]["cause"]
    assert world.calls(RUN) == []
    assert dumps(world) == [], "nothing that looks like a dump is left"


def test_an_empty_database_may_have_a_dump_without_tables(world: World) -> None:
    world.set(dump="something else", tables=0)
    name = world.applied(spec(world, 1))
    assert dumps(world) == [f"{name}.dump"]


def test_what_it_did_is_remembered_with_the_release(world: World) -> None:
    from host import releases

    name = world.applied(spec(world, 1))
    result = releases.results(world.config)[name]
    assert (result["result"], result["migrated"]) == ("healthy", True)
    assert result["dump"].endswith(f"{name}.dump")
