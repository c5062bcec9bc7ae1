"""The transaction: order, failure, way back, being killed in the middle, doing nothing when nothing is to be done."""

from __future__ import annotations

import json
import signal

import pytest
from host_world import World, events, eventually, last

from host import durable


def current(world: World) -> str | None:
    return world.config.current.readlink().name if world.config.current.is_symlink() else None


def order(world: World) -> list[str]:
    """The tools' calls that matter, in order, without looking around."""
    names = []
    for line in world.calls():
        for sign, name in (
            ("docker pull", "pull"), ("docker run", "check"), ("up -d", "up"), ("docker exec", "exec"),
            ("docker restart", "restart"), ("daemon-reload", "daemon-reload"), ("systemctl enable", "enable"),
        ):  # fmt: skip
            if sign in line:
                names.append(name)
    return names


def test_first_deploy_pulls_then_checks_then_starts_then_switches(world: World) -> None:
    name = world.applied(world.spec(1))
    assert order(world) == ["pull", "pull", "pull", "check", "up", "daemon-reload", "enable"]
    assert current(world) == name
    assert (world.config.live / "nginx/nginx.conf").read_bytes() == b"# one\n"
    assert json.loads((world.config.state / "last.json").read_text())["result"] == "done"


def test_the_same_release_again_changes_nothing(world: World) -> None:
    name = world.applied(world.spec(1))
    before, files = world.lives(), snapshot(world)
    world.forget_calls()
    done = world.run("apply", name)
    assert done.returncode == 0
    assert order(world) == ["up"]
    assert world.lives() == before
    assert snapshot(world) == files
    states = {item["step"]: item["state"] for item in events(done.stdout) if item["event"] == "step"}
    assert {states[step] for step in ("images", "check", "live", "containers", "reload", "units")} == {"skipped"}


def snapshot(world: World) -> dict[str, int]:
    """Every file that matters with its inode: a rewritten file has another one."""
    roots = (world.config.live, world.config.releases, world.home / "systemd")
    return {str(path): path.stat().st_ino for root in roots for path in root.rglob("*")}


def test_changed_configuration_is_checked_before_it_is_live_and_reloaded_after_up(world: World) -> None:
    world.applied(world.spec(1))
    before = world.lives()
    world.forget_calls()
    world.applied(world.spec(2, nginx="two", services={"backend": backend(1)}))
    assert order(world) == ["check", "up", "exec"]
    assert world.lives() == before
    [check] = world.calls("docker run")
    assert f"source={world.config.staging}/live/nginx,target=/mnt/nginx,readonly" in check
    assert "--network none --read-only" in check
    assert not world.config.staging.exists()


def backend(number: int) -> dict[str, object]:
    return {"image": f"backend:1.{number}.0", "user": "65532:65532", "config": [], "secrets": [], "healthcheck": False}


def test_a_changed_secret_restarts_the_service_that_has_no_reload(world: World) -> None:
    world.applied(world.spec(1))
    before = world.lives()
    world.forget_calls()
    world.applied(world.spec(2, files={"secrets/postgres/password": b"other"}, services={"backend": backend(1)}))
    assert order(world) == ["restart", "up"]  # Compose waits for its health, which the old password would spoil
    after = world.lives()
    assert {name for name in after if after[name] != before[name]} == {"postgres"}


def test_a_service_that_compose_makes_anew_is_not_restarted_before(world: World) -> None:
    world.applied(world.spec(1))
    world.forget_calls()
    postgres = {**world.spec(1).services["postgres"], "image": "postgres:18"}
    world.applied(world.spec(2, files={"secrets/postgres/password": b"new"}, services={"postgres": postgres}))
    assert "restart" not in order(world)


def test_a_container_that_compose_has_just_made_is_not_restarted_again(world: World) -> None:
    world.applied(world.spec(1))
    world.forget_calls()
    nginx = {**world.spec(1).services["nginx"], "image": "nginx:2"}
    world.applied(world.spec(2, nginx="two", services={"nginx": nginx, "backend": backend(1)}))
    assert order(world) == ["pull", "check", "up"]


def test_a_refused_configuration_leaves_everything_as_it_was(world: World) -> None:
    first = world.applied(world.spec(1))
    before, files = world.lives(), (world.config.live / "nginx/nginx.conf").read_bytes()
    world.forget_calls()
    world.set(check_error='2026 [emerg] 1#1: unknown directive "lisen" in /etc/edge/nginx.conf:3\nnginx: test failed')
    done = world.run("apply", world.receive(world.spec(2, nginx="two")))
    final = last(done.stdout)
    assert done.returncode == final["data"]["status"] == 12
    assert "nginx does not accept its new configuration" in final["data"]["cause"]
    assert 'unknown directive "lisen"' in final["data"]["cause"]
    assert final["data"]["serving"] == first
    assert final["data"]["reverted"] is False
    assert current(world) == first
    assert world.lives() == before
    assert (world.config.live / "nginx/nginx.conf").read_bytes() == files
    assert "up" not in order(world)


def test_an_unhealthy_release_is_taken_back_and_its_log_is_shown(world: World) -> None:
    first = world.applied(world.spec(1))
    sick = {**world.spec(2).services["backend"], "healthcheck": True}
    world.set(moods={"backend:1.2.0": "unhealthy"}, logs={"backend": "starting\npanic: no such table cv\n\tat main.go"})
    done = world.run("apply", world.receive(world.spec(2, nginx="two", services={"backend": sick})))
    final = last(done.stdout)
    assert done.returncode == 9
    assert final["data"]["cause"] == "backend is unhealthy: panic: no such table cv"
    assert final["data"]["log"] == ["starting", "panic: no such table cv", "\tat main.go"]
    assert final["data"]["reverted"] is True
    assert current(world) == first
    assert (world.config.live / "nginx/nginx.conf").read_bytes() == b"# one\n"
    assert world.get()["containers"]["backend"]["spec"]["image"] == "backend:1.1.0"
    assert not (world.config.state / "applying.json").exists()
    assert any(item["step"] == "revert" and item["state"] == "done" for item in events(done.stdout))


@pytest.mark.parametrize(
    ("mood", "cause"),
    [("exits", "backend exited with status 3"), ("loops", "backend keeps dying: 5 restarts, exit status 3")],
)
def test_a_container_that_dies_fails_the_deploy_at_once(world: World, mood: str, cause: str) -> None:
    world.applied(world.spec(1))
    world.set(moods={"backend:1.2.0": mood}, logs={"backend": "fatal: cannot bind"})
    done = world.run("apply", world.receive(world.spec(2)))
    assert done.returncode == 9
    assert last(done.stdout)["data"]["cause"] == f"{cause}: fatal: cannot bind"


def test_a_service_that_never_gets_well_fails_after_the_health_timeout(world: World) -> None:
    slow = {**world.spec(1).services["backend"], "healthcheck": True}
    world.set(moods={"backend:1.1.0": "starting"})
    done = world.run(
        "apply", world.receive(world.spec(1, settings={"health_timeout": 0.3}, services={"backend": slow}))
    )
    assert done.returncode == 9
    assert last(done.stdout)["data"]["cause"].startswith("backend was not well after 0 s (starting)")


def test_a_first_deploy_that_fails_leaves_the_containers_for_a_look(world: World) -> None:
    world.set(moods={"backend:1.1.0": "exits"})
    done = world.run("apply", world.receive(world.spec(1)))
    assert done.returncode == 9
    assert current(world) is None
    assert "backend" in world.get()["containers"]
    assert any("no earlier release" in item["message"] for item in events(done.stdout))


def test_what_compose_says_is_the_cause_when_no_container_tells_more(world: World) -> None:
    first = world.applied(world.spec(1))
    world.receive(world.spec(2))
    world.set(compose_error="Error response from daemon: driver failed: bind for 0.0.0.0:80: port is already allocated")
    done = world.run("apply", world.spec(2).id)
    assert done.returncode == 9
    assert "port is already allocated" in last(done.stdout)["data"]["cause"]
    assert current(world) == first


def test_a_release_that_is_damaged_is_refused(world: World) -> None:
    name = world.receive(world.spec(1))
    (world.config.releases / name / "nginx/nginx.conf").write_text("# other\n")
    done = world.run("apply", name)
    assert done.returncode == 12
    assert "is damaged: nginx/nginx.conf is changed" in last(done.stdout)["data"]["cause"]
    assert order(world) == []


def test_a_release_that_is_not_here_is_named(world: World) -> None:
    done = world.run("apply", "20260101T000000Z-9.9.9")
    assert done.returncode == 12
    assert last(done.stdout)["data"]["cause"] == "release 20260101T000000Z-9.9.9 is not on this host"


KILL_POINTS = [
    ("docker pull", "after"), ("docker run", "before"), ("up -d", "before"), ("up -d", "after"),
    ("docker exec", "before"), ("docker exec", "after"), ("systemctl show", "before"),
]  # fmt: skip


@pytest.mark.parametrize(("on", "when"), KILL_POINTS, ids=[f"{when} {on}" for on, when in KILL_POINTS])
def test_killed_in_the_middle_the_next_apply_succeeds(world: World, on: str, when: str) -> None:
    world.applied(world.spec(1))
    second = world.receive(world.spec(2, nginx="two"))
    world.trap(on if on != "systemctl show" else "systemctl show -p Id", when)
    killed = world.run("apply", second)
    assert killed.returncode == 12
    assert "it was killed (KILL)" in last(killed.stdout)["data"]["cause"]
    assert durable.read_json(world.config.state / "last.json")["result"] == "interrupted"
    world.forget_calls()
    again = world.run("apply", second)
    assert again.returncode == 0, again.stdout.decode()
    assert current(world) == second
    assert (world.config.live / "nginx/nginx.conf").read_bytes() == b"# two\n"
    assert world.get()["containers"]["backend"]["spec"]["image"] == "backend:1.2.0"
    assert not (world.config.state / "applying.json").exists()


def test_killed_between_writing_files_and_reloading_the_next_apply_reloads(world: World) -> None:
    world.applied(world.spec(1))
    second = world.receive(world.spec(2, nginx="two", services={"backend": backend(1)}))
    world.trap("docker exec", "before")
    world.run("apply", second)
    world.forget_calls()
    assert world.run("apply", second).returncode == 0
    assert order(world) == ["check", "up", "exec"]
    world.forget_calls()
    assert world.run("apply", second).returncode == 0
    assert order(world) == ["up"]


def test_killed_in_the_middle_the_previous_release_can_be_applied_too(world: World) -> None:
    first = world.applied(world.spec(1))
    world.receive(world.spec(2, nginx="two"))
    world.trap("up -d", "after")
    world.run("apply", world.spec(2).id)
    assert world.run("apply", first).returncode == 0
    assert world.get()["containers"]["backend"]["spec"]["image"] == "backend:1.1.0"
    assert (world.config.live / "nginx/nginx.conf").read_bytes() == b"# one\n"


def test_sigterm_goes_back_to_the_previous_release(world: World) -> None:
    first = world.applied(world.spec(1))
    world.receive(world.spec(2, nginx="two"))
    world.trap("docker exec", "before", signal.SIGTERM)
    done = world.run("apply", world.spec(2).id)
    assert done.returncode == 130
    final = last(done.stdout)
    assert final["event"] == "failed"
    assert final["data"]["cause"] == "stopped by SIGTERM"
    assert final["data"]["reverted"] is True
    assert current(world) == first
    assert world.get()["containers"]["backend"]["spec"]["image"] == "backend:1.1.0"


def test_the_work_goes_on_when_the_caller_dies(world: World) -> None:
    name = world.receive(world.spec(1))
    world.trap("docker run", "before", "HANG")
    caller = world.start("apply", name)
    eventually((world.home / "hanging").exists)
    caller.kill()
    caller.wait()
    attached = world.start("attach")
    hanging = eventually(lambda: [p for p in unit_children(world) if "docker run" in p[1]])
    signal_process(hanging[0][0])
    out, _ = attached.communicate(timeout=30)
    assert last(out)["event"] == "failed"  # the check was killed: the program itself lived on and said so
    assert "nginx does not accept" in last(out)["data"]["cause"]


def unit_children(world: World) -> list[tuple[int, str]]:
    from pathlib import Path

    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(world.bin / "docker") in line:
            found.append((int(path.parent.name), line.replace(str(world.bin) + "/", "")))
    return found


def signal_process(number: int) -> None:
    import os

    os.kill(number, signal.SIGKILL)


def test_old_releases_go_but_never_the_current_or_the_previous_one(world: World) -> None:
    names = [world.applied(world.spec(number)) for number in range(1, 6)]
    assert sorted(path.name for path in world.config.releases.iterdir()) == names[2:]
    assert "backend:1.1.0" not in world.get()["images"]
    assert {"backend:1.3.0", "backend:1.4.0", "backend:1.5.0"} <= set(world.get()["images"])


def test_files_a_release_no_longer_has_leave_live(world: World) -> None:
    world.applied(world.spec(1, files={"nginx/old.conf": b"x"}))
    assert (world.config.live / "nginx/old.conf").exists()
    world.applied(world.spec(2))
    assert not (world.config.live / "nginx/old.conf").exists()


def test_units_a_release_no_longer_has_are_disabled_and_removed(world: World) -> None:
    extra = {"systemd/app-extra.timer": b"[Timer]\n[Install]\nWantedBy=timers.target\n"}
    world.applied(world.spec(1, files=extra))
    assert {"app.service", "app-extra.timer"} <= set(world.get()["enabled"])
    assert "app-extra.timer" in world.get()["active"]
    world.applied(world.spec(2))
    assert "app-extra.timer" not in world.get()["enabled"]
    assert not (world.home / "systemd/app-extra.timer").exists()


def test_an_unforeseen_error_becomes_a_failed_event_with_the_traceback_in_its_data(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from host import apply, releases
    from host.errors import Failure
    from host.events import Journal

    monkeypatch.setattr(releases, "verify", lambda _release: 1 // 0)
    with pytest.raises(Failure) as caught:
        apply.apply(world.config, world.receive(world.spec(1)), Journal())
    assert "unexpected ZeroDivisionError" in caught.value.cause
    assert any("1 // 0" in line for line in caught.value.data["traceback"])  # type: ignore[union-attr]
