"""A deploy and a rollback drop no request: counted by the visitors, and in the database."""

from __future__ import annotations

import time

from tests.e2e.conftest import DRAIN
from tests.e2e.http11 import Site
from tests.e2e.load import Load, undisturbed
from tests.e2e.phases import Phases
from tests.e2e.websocket import Echo
from tests.e2e.world import APP, Project, all_containers, containers, current, inside, sql, status, touched, wait_until

STATEFUL = ("nginx", "postgres", "redis")


def visits(load: Load) -> list[str]:
    """The paths of the load that the database has, one for each row."""
    return sql(f"SELECT path FROM visits WHERE path LIKE '{load.run}/%' ORDER BY id").split()


def test_three_deploys_and_a_rollback_drop_no_request_and_count_none_twice(ground: Project, site: Site) -> None:
    before = containers()
    with undisturbed(site, rate=125) as load:
        time.sleep(2)

        ground.version("1.1.0")
        with Echo(site) as echo, Phases() as phases:
            ground.fab("deploy", "-H", "lab", "--yes")
            assert echo.version == "1.0.0"
            assert echo.wait_closed(5), "the container it was connected to is gone"
            assert echo.closed is not None
            lived = echo.closed - phases.at("switch")
            print(f"a WebSocket opened before the deploy: {lived:.1f} s from the switch on, ended by: {echo.how}")
            assert echo.closed >= phases.at("switch") + DRAIN - 0.5, "it was cut off before the drain time"
            assert echo.closed <= phases.at("switch", "done") + DRAIN + 7
            assert echo.echoes[-1] >= phases.at("switch") + DRAIN - 1.5, "it was open, but silent"
            assert echo.longest_silence() < 3
        with Echo(site, every=0.1) as echo:
            wait_until("an echo", lambda: echo.echoes, seconds=5)
            assert echo.version == "1.1.0"

        ground.set(BACKEND_ENV_ROUND="an environment of its own")
        ground.fab("deploy", "-H", "lab", "--yes")
        second = current()

        ground.version("1.0.0")
        ground.fab("deploy", "-H", "lab", "--yes")
        assert current() != second

        ground.fab("rollback", "-H", "lab", "--yes")
        assert current() == second
    assert load.achieved >= 100, load.describe()
    assert load.lag < 2, "the generator itself was too late to prove anything"
    assert {"1.0.0", "1.1.0"} <= set(load.versions)
    rows = visits(load)
    assert len(rows) == len(set(rows)), "a POST was counted twice"
    assert sorted(rows) == sorted(load.posted), "a POST that was answered is lost"
    assert len(load.posted) == load.sent["visit"] > 1000
    changed = touched(before)
    assert {service: changed.get(service) for service in STATEFUL} == dict.fromkeys(STATEFUL)
    assert (changed["backend"], changed["frontend"]) == ("switched", "switched")


def test_a_rollback_of_the_application_takes_no_longer_than_a_deploy_of_it(ground: Project, site: Site) -> None:
    target = current()
    ground.version("1.0.0" if target.endswith("-1.1.0") else "1.1.0")
    deployed = timed(ground, "deploy", "-H", "lab", "--yes")
    before = containers()
    took = timed(ground, "rollback", "-H", "lab", "--to", target, "--yes")
    print(f"a rollback of backend and frontend took {took:.1f} s, the deploy before it {deployed:.1f} s")
    assert current() == target
    assert set(touched(before)) == {"backend", "frontend"}
    assert took < 1.2 * deployed  # seconds differ from machine to machine: docs/benchmarks.md has those of one
    assert took < 30


def timed(project: Project, *words: str) -> float:
    began = time.monotonic()
    project.fab(*words)
    return time.monotonic() - began


def test_a_broken_version_never_serves_and_drops_nothing(ground: Project, site: Site) -> None:
    release, before = current(), all_containers()
    ground.version("2.0.0-broken")
    ground.set(HEALTH_TIMEOUT="15")
    with undisturbed(site, rate=125) as load:
        done = ground.fab("deploy", "-H", "lab", "--yes", expect=9)
    assert load.achieved >= 100, load.describe()
    output = done.stdout + done.stderr
    assert "backend" in done.stderr.strip().splitlines()[-1], "the last line names the service"
    assert [line for line in output.splitlines() if "2.0.0-broken" in line and "{" in line], "its log is shown"
    assert "Traceback" not in output
    assert current() == release
    assert all_containers() == before, "the failed containers are gone, and the others were not touched"
    assert "2.0.0-broken" not in load.versions
    rows = visits(load)
    assert sorted(rows) == sorted(load.posted)
    told = status()
    failed = [name for name, result in told["results"].items() if result["result"] == "failed"]
    assert failed, "it is remembered as failed"
    assert max(failed).endswith("-2.0.0-broken")
    assert told["interrupted"] is None
    serving = {c.service: c.name for c in before if c.service in ("backend", "frontend")}
    assert told["upstreams"] == serving
    marker = inside("cat", f"/opt/{APP}/shared/upstreams/services.conf")
    assert all(name in marker for name in serving.values())
