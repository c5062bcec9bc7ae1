"""The smaller commands: status, show, attach, converge, up, stop, ended; and the program as one file."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from host_world import World, events, eventually, last

from host import systemd
from tasks.model import program


def status(world: World) -> dict[str, object]:
    return last(world.run("status").stdout)


def test_the_status_of_a_bare_host_is_whole(world: World) -> None:
    found = status(world)
    assert found["release"] is None
    assert found["manifest"] is None
    assert (found["drift"], found["containers"], found["releases"], found["busy"], found["last"]) == (
        [],
        [],
        [],
        None,
        None,
    )
    assert {"disk", "memory", "load", "clock", "boot_id", "uptime", "unit", "certificate"} <= set(found)


def test_the_status_tells_release_containers_and_program_but_no_secret(world: World) -> None:
    name = world.applied(world.spec(1))
    out = world.run("status").stdout
    found = last(out)
    assert found["release"] == name
    assert found["releases"] == [name]
    assert found["program"] == hashlib.sha256(world.program.read_bytes()).hexdigest()
    assert [(item["service"], item["state"]) for item in found["containers"]] == [
        ("backend", "running"), ("nginx", "running"), ("postgres", "running")
    ]  # fmt: skip
    assert found["last"]["result"] == "done"
    assert found["unit"]["app.service"] == "enabled"
    assert b"s3cret" not in out
    assert b"hunter2" not in out


def test_the_status_names_drift_of_the_release_and_of_live(world: World) -> None:
    name = world.applied(world.spec(1))
    (world.config.releases / name / "env").write_text("A='changed'\n")
    (world.config.live / "nginx/nginx.conf").write_text("# by hand\n")
    (world.config.live / "nginx/extra.conf").write_text("# by hand\n")
    (world.config.live / "secrets/postgres/password").unlink()
    assert sorted((item["path"], item["state"]) for item in status(world)["drift"]) == [
        ("env", "changed"), ("live/nginx/extra.conf", "extra"), ("live/nginx/nginx.conf", "changed"),
        ("live/secrets/postgres/password", "missing"),
    ]  # fmt: skip


def test_drift_of_live_is_put_right_by_the_next_apply(world: World) -> None:
    name = world.applied(world.spec(1))
    (world.config.live / "nginx/nginx.conf").write_text("# by hand\n")
    assert world.run("apply", name).returncode == 0
    assert status(world)["drift"] == []
    assert len(world.calls("nginx -s reload")) == 1


def test_the_status_goes_without_docker(world: World) -> None:
    (world.bin / "docker").write_text(
        "#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///x' >&2; exit 1\n"
    )
    found = status(world)
    assert found["problems"] == ["the Docker engine is not running"]


def shown(world: World, *paths: str) -> dict[str, bytes]:
    done = world.run("show", "current", *paths)
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_what_was_edited_in_live_is_shown_for_the_difference(world: World) -> None:
    world.applied(world.spec(1))
    (world.config.live / "nginx/nginx.conf").write_text("# mine\n")
    assert shown(world, "live/nginx/nginx.conf", "nginx/nginx.conf") == {
        "live/nginx/nginx.conf": b"# mine\n",
        "nginx/nginx.conf": b"# one\n",
    }


@pytest.mark.parametrize("made", ["link", "directory", "nothing"])
def test_what_is_no_file_any_more_in_live_has_no_text_and_stands_in_nobodys_way(world: World, made: str) -> None:
    world.applied(world.spec(1))
    path = world.config.live / "nginx/nginx.conf"
    path.unlink()
    if made == "link":
        path.symlink_to("/etc/passwd")
    elif made == "directory":
        path.mkdir()
    assert set(shown(world, "live/nginx/nginx.conf", "nginx/nginx.conf")) == {"nginx/nginx.conf"}


@pytest.mark.parametrize(
    "path", ["live/secrets/postgres/password", "live/../releases", "live/nginx/../secrets/postgres/password", "live/"]
)
def test_of_live_nothing_is_shown_that_is_not_for_everybody(world: World, path: str) -> None:
    world.applied(world.spec(1))
    done = world.run("show", "current", path)
    assert done.returncode == 1
    assert b"s3cret" not in done.stdout + done.stderr


def test_show_hands_out_files_but_never_secret_ones(world: World) -> None:
    world.applied(world.spec(1))
    done = world.run("show", "current", "nginx/nginx.conf", "manifest.json")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["nginx/nginx.conf", "manifest.json"]
        content = tar.extractfile("nginx/nginx.conf")
        assert content is not None
        assert content.read() == b"# one\n"
    for path in ("secrets/postgres/password", "env", "../../../etc/passwd", "nope"):
        refused = world.run("show", "current", path)
        assert refused.returncode == 1
        assert refused.stdout == b""
        assert last(refused.stderr)["event"] == "failed"


def job(*steps: tuple[str, str]) -> bytes:
    return json.dumps({"kind": "setup", "steps": [{"name": n, "script": s} for n, s in steps]}).encode()


def test_converge_runs_the_scripts_in_order_and_passes_their_output_on(world: World) -> None:
    done = world.run(
        "converge", stdin=job(("one", "echo first; echo err >&2"), ("two", 'cat; echo second; test -z "$(jobs)"'))
    )
    assert done.returncode == 0, done.stdout
    output = [(item["step"], item["message"]) for item in events(done.stdout) if item["event"] == "output"]
    assert set(output) == {("one", "first"), ("one", "err"), ("two", "second")}
    assert list(world.config.run.glob("job-*")) == list(world.config.run.glob("step-*")) == []


def test_converge_stops_at_the_first_step_that_fails_and_names_its_last_line(world: World, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    done = world.run(
        "converge", stdin=job(("one", "echo about to fail\nfalse\ntouch " + str(proof)), ("two", f"touch {proof}"))
    )
    final = last(done.stdout)
    assert done.returncode == 12
    assert final["data"]["cause"] == "one failed (status 1): about to fail"
    assert final["data"]["step"] == "one"
    assert not proof.exists()


def test_scripts_are_private_while_they_run(world: World, tmp_path: Path) -> None:
    script = f'stat -c %a "$0" > {tmp_path}/mode; ls -l /proc/$$/fd/0 > {tmp_path}/stdin'
    assert world.run("converge", stdin=job(("one", script))).returncode == 0
    assert (tmp_path / "mode").read_text() == "600\n"
    assert "/dev/null" in (tmp_path / "stdin").read_text()


def test_output_without_end_is_cut(world: World) -> None:
    done = world.run("converge", stdin=job(("one", "seq 3000")))
    lines = [item["message"] for item in events(done.stdout) if item["event"] == "output"]
    assert len(lines) == 1001
    assert lines[-1] == "(more output is not shown)"


@pytest.mark.parametrize("data", [b"", b"[]", b'{"steps": [{"name": "x"}]}', b'{"kind": "a b", "steps": []}'])
def test_steps_that_make_no_sense_are_refused(world: World, data: bytes) -> None:
    done = world.run("converge", stdin=data)
    assert done.returncode == 12
    assert "the steps sent are not valid" in last(done.stdout)["data"]["cause"]


def test_attach_tells_the_last_result_again(world: World) -> None:
    assert last(world.run("attach").stdout)["message"] == "no command has run on this host yet"
    world.run("converge", stdin=job(("one", "exit 3")))
    done = world.run("attach")
    assert done.returncode == 12
    assert last(done.stdout)["data"]["cause"].startswith("one failed (status 3)")


def test_attach_follows_what_runs(world: World, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    first = subprocess.Popen(
        [sys.executable, "-I", str(world.program), "converge"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=world.environment(),
    )  # fmt: skip
    assert first.stdin is not None
    first.stdin.write(job(("one", f"echo begun; while ! test -e {fifo}; do sleep 0.05; done; echo ended")))
    first.stdin.close()
    eventually(lambda: status(world)["busy"])
    second = world.start("attach")
    time.sleep(0.3)
    fifo.touch()
    out = second.communicate(timeout=30)[0]
    assert second.returncode == 0
    assert [item["message"] for item in events(out) if item["event"] == "output"] == ["begun", "ended"]
    assert first.wait() == 0


def test_up_does_nothing_when_everything_runs(world: World) -> None:
    world.applied(world.spec(1))
    world.forget_calls()
    done = world.run("up")
    assert done.returncode == 0
    assert last(done.stdout)["message"] == "everything runs"
    assert world.calls("docker compose") == []


def test_up_before_the_first_deploy_is_content(world: World) -> None:
    done = world.run("up")
    assert (done.returncode, last(done.stdout)["message"]) == (0, "nothing is deployed yet")


def test_up_starts_what_was_stopped_without_making_it_anew(world: World) -> None:
    world.applied(world.spec(1))
    before = world.lives()
    assert world.run("stop").returncode == 0
    assert {item["State"]["Status"] for item in world.get()["containers"].values()} == {"exited"}
    world.forget_calls()
    assert world.run("up").returncode == 0
    assert "--no-recreate" in world.calls("up -d")[0]
    assert {name: life[0] for name, life in world.lives().items()} == {name: life[0] for name, life in before.items()}
    assert {item["State"]["Status"] for item in world.get()["containers"].values()} == {"running"}


def test_up_after_a_power_cut_in_a_deploy_goes_back_to_the_current_release(world: World) -> None:
    world.applied(world.spec(1))
    world.receive(world.spec(2, nginx="two", files={"secrets/postgres/password": b"new"}))
    world.trap("up -d", "after")
    world.set(power_cut=True)
    process = world.start("apply", world.spec(2).id)
    eventually(lambda: world.calls("up -d")[1:] and not world.get()["trap"])
    time.sleep(0.5)  # the program has got its signal
    process.kill()
    process.communicate()
    for path in (world.home / "units").iterdir():
        path.unlink()  # another boot knows no transient units
    assert status(world)["interrupted"] == world.spec(2).id
    done = world.run("up")
    assert done.returncode == 0
    assert any("was cut off: going back to" in item["message"] for item in events(done.stdout))
    assert world.get()["containers"]["backend"]["spec"]["image"] == "backend:1.1.0"
    found = status(world)
    assert (found["drift"], found["interrupted"]) == ([], None)


def test_up_with_an_unhealthy_service_still_ends_well_so_that_a_shutdown_stops_the_containers(world: World) -> None:
    world.applied(world.spec(1))
    world.run("stop")
    value = world.get()
    value["containers"]["postgres"]["State"]["Health"]["Status"] = "unhealthy"
    world.set(**value)
    done = world.run("up")
    assert done.returncode == 0
    assert "postgres is unhealthy" in last(done.stdout)["message"]


def test_systemd_is_told_that_the_application_is_up(world: World) -> None:
    world.applied(world.spec(1))
    assert world.calls("systemctl start") == ["systemctl start --no-block app.service"]
    assert systemd.states(["app.service"])["app.service"]["ActiveState"] == "active"


def test_who_is_not_root_is_told_so(world: World) -> None:
    from host.errors import as_failure

    failure = as_failure(PermissionError(13, "Permission denied", "/opt/app"), "status")
    assert failure.cause == "status: permission denied (/opt/app)"
    assert failure.hint == "run it as root (sudo)"


def test_a_missing_program_is_named(world: World) -> None:
    (world.bin / "systemd-run").unlink()
    environment = {**world.environment(), "PATH": str(world.bin)}
    name = world.receive(world.spec(1))
    done = subprocess.run(
        [sys.executable, "-I", str(world.program), "apply", name], capture_output=True, check=False, env=environment
    )
    assert done.returncode == 12
    assert last(done.stdout)["data"]["cause"] == "systemd-run is not installed on this host"
    assert b"Traceback" not in done.stdout + done.stderr


def test_the_same_sources_give_the_same_program_and_another_root_another(tmp_path: Path) -> None:
    assert program.build("shop") == program.build("shop")
    assert program.digest(program.build("shop")) != program.digest(program.build("shop", "/srv/shop"))
    assert program.digest(b"") == hashlib.sha256(b"").hexdigest()
    touched = tmp_path / "host"
    sources = Path(program.__file__).parents[2] / "files/host"
    for path in sources.rglob("*.py"):
        copy = touched / path.relative_to(sources)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert program.archive({"app": "shop", "root": "/opt/shop"}, touched) == program.build("shop")


def test_the_program_runs_by_its_own_first_line_wherever_it_is_called_from(tmp_path: Path) -> None:
    path = tmp_path / "shop"
    path.write_bytes(program.build("shop", str(tmp_path / "opt")))
    path.chmod(0o755)
    (tmp_path / "host.py").write_text("raise SystemExit('imported from the working directory')")
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the working directory')")
    assert path.read_bytes().splitlines()[0] == b"#!/usr/bin/python3 -I"
    done = subprocess.run(
        [sys.executable, "-I", str(path), "status"], cwd=tmp_path, capture_output=True, check=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert json.loads(done.stdout)["app"] == "shop"


def test_running_the_program_writes_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bin/shop"
    path.parent.mkdir()
    path.write_bytes(program.build("shop", str(tmp_path / "bin/opt")))
    subprocess.run([sys.executable, "-I", str(path), "status"], capture_output=True, check=True)
    assert [item.name for item in path.parent.iterdir()] == ["shop"]


def test_every_directory_has_its_mode(world: World) -> None:
    names = ("releases", "live", "shared", "shared/tls", "shared/upstreams", "shared/backups", "shared/state")
    modes = {name: stat.S_IMODE((world.config.root / name).stat().st_mode) for name in names}
    assert modes == {
        "releases": 0o700, "live": 0o755, "shared": 0o755, "shared/tls": 0o755, "shared/upstreams": 0o755,
        "shared/backups": 0o700, "shared/state": 0o700,
    }  # fmt: skip


def test_a_command_for_its_caller_alone_ends_when_the_caller_is_gone() -> None:
    words = (
        "import time\nfrom host import stopping\nstopping.when_deserted()\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    files = str(Path(systemd.__file__).parents[1])
    child = subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=files)
    assert child.stdout and child.stderr
    assert child.stdout.readline() == b"ready\n"
    time.sleep(0.3)
    assert child.poll() is None, "it works as long as somebody listens"
    child.stdout.close()
    assert child.wait(10) != 0
    assert "Terminated" in child.stderr.read().decode()
    child.stderr.close()
