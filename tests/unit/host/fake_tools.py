#!/usr/bin/env python3
"""Stand-ins for docker, systemctl, systemd-run and certbot: one small state machine that records every call.

Called under the name of the tool it stands for; its state lies next to it (../state.json, ../calls.jsonl).
"""

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
import zlib
from pathlib import Path

HOME = Path(sys.argv[0]).parents[1]
INFO = {"ServerVersion": "29.0.0", "Architecture": "x86_64", "DockerRootDir": "/", "DriverStatus": []}
TOOL, ARGV = Path(sys.argv[0]).name, sys.argv[1:]


@contextlib.contextmanager
def state():
    with (HOME / "state.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        value = json.loads((HOME / "state.json").read_text())
        yield value
        # by a rename: tests read it without the lock
        (HOME / "state.json.new").write_text(json.dumps(value))
        (HOME / "state.json.new").rename(HOME / "state.json")


def say(text):
    print(text, flush=True)


def fail(text, status=1):
    print(text, file=sys.stderr, flush=True)
    sys.exit(status)


def now_id(value):
    value["clock"] = value.get("clock", 0) + 1
    return f"2026-11-22T10:00:00.{value['clock']:09d}Z"


def make(value, name, spec, number=1):
    """A container of service `name`; the first is kept under that name, later ones as name-2, name-3, ..."""
    started = now_id(value)
    mood = value.get("moods", {}).get(spec["image"], "well")
    status = {"exits": "exited"}.get(mood, "running")
    health = {"unhealthy": "unhealthy", "starting": "starting"}.get(mood, "healthy" if spec.get("healthcheck") else "")
    value["containers"][name if number == 1 else f"{name}-{number}"] = {
        "Id": f"{zlib.crc32(f'{name} {started}'.encode()):064x}"[:64],
        "Name": f"/app-{name}-{number}",
        "Image": f"sha256:{zlib.crc32(spec['image'].encode()):064x}",
        "NetworkSettings": {"Networks": {"app_edge": {"IPAddress": f"127.9.0.{value['clock']}"}}},
        "spec": spec,
        "RestartCount": 5 if mood == "loops" else 0,
        "Config": {
            "Image": spec["image"],
            "Labels": {"com.docker.compose.service": name, "com.docker.compose.config-hash": hashed(spec)},
        },
        "State": {
            "Status": status,
            "ExitCode": 3 if mood in ("exits", "loops") else 0,
            "OOMKilled": False,
            "StartedAt": started,
            "Error": "",
            **({"Health": {"Status": health, "Log": []}} if health else {}),
        },
    }
    if name == "nginx":
        reload_nginx(value)


def of_service(value, name):
    return [item for item in value["containers"].values() if service_of(item) == name]


def service_of(item):
    return item["Config"]["Labels"]["com.docker.compose.service"]


def upstreams():
    path = HOME / "opt" / "shared" / "upstreams" / "services.conf"
    return path.read_text() if path.exists() else ""


def reload_nginx(value):
    """It reads its files and gets new workers. The old ones end at once, or after as many looks as `busy` says."""
    value["loaded"] = upstreams()
    kept = value.get("workers", []) if value.get("busy") else []
    value["workers"] = [*kept, int(now_id(value)[-5:-1])]


def hashed(spec):
    return str(zlib.crc32(json.dumps(spec, sort_keys=True).encode()))


def psql(value):
    """Answer what a backup asks, and close every answer of a session."""
    known = {
        "pg_control_system": {"version": "17.2", "number": 170002, "standby": False, "identifier": "7"},
        "datistemplate": {"name": "shop", "owner": "shop", "encoding": "UTF8", "collate": "C", "ctype": "C",
                          "bytes": value.get("database_size", 1000), "raw": {}},
        "pg_roles": {"name": "shop"},
        "datconnlimit": {"owner": "shop", "connections": -1, "granted": False, "comment": None},
    }  # fmt: skip
    for line in sys.stdin:
        if value.get("psql_error"):
            fail(value["psql_error"])
        if line.startswith("\\echo "):
            say(line.split(" ", 1)[1].rstrip())
        elif "pg_export_snapshot" in line:
            say("00000003-1")
        elif "json_agg" in line or "count(*), 'newest'" in line:
            continue
        elif "pg_largeobject_metadata" in line:
            say(0)
        for word, row in known.items():
            if word in line:
                say(json.dumps(row))
        sys.stdout.flush()


def pg_dump(value, argv):
    """Write what pg_dump would into the directory that is mounted."""
    [place] = [Path(word.rsplit(":", 1)[0]) for word in argv if word.endswith(":/backup")]
    if error := value.get("dump_error"):
        fail(error)
    archive = place / "databases/0"
    archive.mkdir(parents=True)
    if value.get("toc", True):
        (archive / "toc.dat").write_text("PGDMP")
    (place / "databases/0.schema.sql").write_text("CREATE TABLE visits ();\n")


def compose(value, argv):
    path = Path(argv[argv.index("-f") + 1])
    services = json.loads(path.read_text())["services"]
    if "--hash" in argv:
        for name, spec in services.items():
            say(f"{name} {hashed(spec)}")
        return
    if "config" in argv:
        say(json.dumps({"services": services}))
        return
    if "run" in argv:
        for line in value.get("migration_says", ["migrated"]):
            say(line)
        sys.exit(value.get("migration_status", 0))
    if "stop" in argv:
        for item in value["containers"].values():
            item["State"]["Status"] = "exited"
        return
    if "--scale" in argv:
        for word in [argv[i + 1] for i, word in enumerate(argv) if word == "--scale"]:
            name, _, count = word.partition("=")
            for _missing in range(int(count) - len(of_service(value, name))):
                last = max([int(item["Name"].rsplit("-", 1)[1]) for item in of_service(value, name)], default=0)
                make(value, name, services[name], last + 1)
        if value.get("compose_error"):
            fail(value["compose_error"])
        return
    for name, spec in services.items():
        if name not in argv:
            continue
        there = value["containers"].get(name)
        if there is None or (there["spec"] != spec and "--no-recreate" not in argv):
            make(value, name, spec)
        elif there["State"]["Status"] != "running":
            there["State"].update(Status="running", StartedAt=now_id(value))
    if value.get("compose_error"):
        fail(value["compose_error"])


def docker(value, argv):
    containers = value["containers"]
    by_id = {item["Id"]: item for item in containers.values()}
    if argv[0] == "compose":
        compose(value, argv)
    elif argv[0] == "ps":
        say("\n".join(by_id))
    elif argv[0] == "inspect":
        say(json.dumps([by_id[word] for word in argv if word in by_id]))
    elif argv[0] == "info":
        say(json.dumps(value.get("info", INFO)))
    elif argv[:2] == ["volume", "ls"]:
        say("\n".join(value.get("volumes", [])))
    elif argv[:2] == ["image", "ls"]:
        say("\n".join(item["Id"] for item in value.get("details", {}).values()))
    elif argv[:2] == ["image", "inspect"] and argv[2] != "--format":
        if argv[2] not in value.get("details", {}):
            fail(f"Error: No such image: {argv[2]}")
        say(json.dumps([value["details"][argv[2]]]))
    elif argv[:2] == ["image", "inspect"] and "Layers" in argv[3]:
        for item in value.get("details", {}).values():
            say(json.dumps(item["RootFS"]["Layers"]))
    elif argv[:2] == ["image", "inspect"]:
        wanted, ids = argv[4:], value.get("ids", {})  # name -> id, of those whose id matters
        if missing := [word for word in wanted if word not in value["images"] and word not in ids.values()]:
            fail(f"Error: No such image: {missing[0]}")
        for word in wanted:
            if word in ids or word in ids.values():
                say(ids.get(word, word))
    elif argv[0] == "tag":
        value["ids"] = {**value.get("ids", {}), argv[2]: argv[1]}
        value["images"] = [*value["images"], argv[2]]
    elif argv[:2] == ["image", "rm"]:
        value["images"] = [word for word in value["images"] if word not in argv[2:]]
    elif argv[0] == "pull":
        if error := value.get("pull_errors", {}).get(argv[1]):
            fail(error)
        say("0123456789ab: Pull complete")
        value["images"].append(argv[1])
    elif argv[0] == "run":
        if error := value.get("check_error"):
            fail(error)
        if "pg_dump" in " ".join(argv):
            pg_dump(value, argv)
    elif argv[0] == "exec":
        if error := value.get("exec_error"):
            fail(error)
        if "pg_dumpall" in argv:
            say("-- roles\n--\n-- PostgreSQL database cluster dump complete\n--")
        elif "marker" in argv:
            say(value.get("loaded", "").partition('default "')[2].partition('"')[0])
        elif "reload" in argv and not value.get("deaf"):
            reload_nginx(value)
    elif argv[0] == "top":
        say("PID ARGS")
        for pid in value.get("workers", []):
            say(f"{pid} nginx: worker process")
        if value.get("busy"):  # one look later they are done
            value["busy"] -= 1
            value["workers"] = value["workers"] if value["busy"] else value["workers"][-1:]
    elif argv[0] == "start":
        by_id[argv[1]]["State"].update(Status="running", StartedAt=now_id(value))
    elif argv[0] == "stop":
        by_id[argv[1]]["State"]["Status"] = "exited"
    elif argv[0] == "rm":
        for key in [key for key, item in containers.items() if item["Id"] in argv]:
            del containers[key]
    elif argv[0] == "restart":
        by_id[argv[1]]["State"]["StartedAt"] = now_id(value)
    elif argv[0] == "logs":
        service = by_id[argv[3]]["Config"]["Labels"]["com.docker.compose.service"]
        say(value.get("logs", {}).get(service, ""))
    else:
        fail(f"docker: unknown command {argv}")


def systemctl(value, argv):
    if argv[0] == "show":
        timer = value.get("timer") or {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active"}
        blocks = []
        for name in argv[argv.index("--") + 1 :]:
            if name == "certbot.timer" and name not in value["enabled"]:
                blocks.append("\n".join(f"{key}={text}" for key, text in {"Id": name, **timer}.items()))
                continue
            unit = HOME / "units" / name
            active = "active" if unit.exists() or name in value["active"] else "inactive"
            known = "loaded" if unit.exists() or (HOME / "systemd" / name).exists() else "not-found"
            enabled = "enabled" if name in value["enabled"] else "disabled" if known == "loaded" else ""
            blocks.append(f"Id={name}\nLoadState={known}\nUnitFileState={enabled}\nActiveState={active}\nJob=0")
        say("\n\n".join(blocks))
    elif argv[0] == "enable":
        value["enabled"].append(argv[-1])
        if "--now" in argv:
            value["active"].append(argv[-1])
    elif argv[0] == "start":
        value["active"].append(argv[-1])
    elif argv[0] == "disable":
        value["enabled"] = [name for name in value["enabled"] if name != argv[-1]]


def systemd_run(argv):
    import subprocess

    # Runs the command like a transient unit: in a session of its own, with ExecStopPost at its end.
    options = dict(word.removeprefix("--property=").split("=", 1) for word in argv if word.startswith("--property="))
    name = next(word for word in argv if word.startswith("--unit=")).removeprefix("--unit=")
    unit = HOME / "units" / name
    if unit.exists():
        fail(f"Failed to start transient service unit: Unit {name}.service was already loaded or has a fragment file.")
    unit.write_text("")
    if os.fork():
        return
    os.setsid()
    for stream in (0, 1, 2):
        os.dup2(os.open("/dev/null", os.O_RDWR), stream)
    python = [sys.executable, "-I"]
    child = subprocess.Popen([*python, *argv[argv.index("--") + 1 :]])
    unit.write_text(str(child.pid))
    status = child.wait()
    result = "success" if status == 0 else "exit-code" if status > 0 else "signal"
    shown = str(status) if status >= 0 else signal.Signals(-status).name.removeprefix("SIG")
    if json.loads((HOME / "state.json").read_text()).get("power_cut"):
        os.kill(os.getpid(), signal.SIGKILL)  # nothing runs after that
    with contextlib.suppress(KeyError):
        environment = {**os.environ, "SERVICE_RESULT": result, "EXIT_STATUS": shown}
        subprocess.run([*python, *options["ExecStopPost"].split()], env=environment, check=False)
    unit.unlink()


def certbot(value, argv):
    import subprocess

    if argv == ["--version"]:
        say("certbot 4.0.0")
        return
    if errors := value.get("certbot_errors"):  # one for each of the next calls
        value["certbot_errors"] = errors[1:]
        (HOME / "state.json").write_text(json.dumps(value))  # `fail` does not come back to write it
        fail(errors[0])
    if error := value.get("certbot_error"):
        fail(error)
    name = argv[argv.index("--cert-name") + 1]
    live = HOME / "letsencrypt" / "live" / name
    live.mkdir(parents=True, exist_ok=True)
    names = [argv[i + 1] for i, word in enumerate(argv) if word == "-d"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "45",
         "-subj", "/CN=test", "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
         "-keyout", live / "privkey.pem", "-out", live / "fullchain.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    renewal = HOME / "letsencrypt" / "renewal"
    renewal.mkdir(exist_ok=True)
    (renewal / f"{name}.conf").write_text(f"[renewalparams]\nserver = {argv[argv.index('--server') + 1]}\n")


def main():
    line = " ".join([TOOL, *ARGV])
    with (HOME / "calls.jsonl").open("a") as log:
        log.write(json.dumps({"argv": [TOOL, *ARGV], "docker_config": os.environ.get("DOCKER_CONFIG")}) + "\n")
    config_dir = os.environ.get("DOCKER_CONFIG")
    if config_dir:
        path = Path(config_dir, "config.json")
        seen = {"dir": oct(Path(config_dir).stat().st_mode), "file": oct(path.stat().st_mode), "text": path.read_text()}
        (HOME / "docker_config_seen.json").write_text(json.dumps(seen))
    if TOOL == "systemd-run":
        return systemd_run(ARGV)
    with state() as value:
        trap = dict(value.get("trap", {}))
        if trap and trap["on"] in line:
            value["trap"] = {}
    hit = trap and trap["on"] in line

    def spring():
        if trap["signal"] == "HANG":
            (HOME / "hanging").write_text("")
            time.sleep(60)
        os.kill(os.getppid(), trap["signal"])
        time.sleep(0.3)

    if hit and trap["when"] == "before":
        spring()
    with state() as value:
        {"docker": docker, "systemctl": systemctl, "certbot": certbot, "timedatectl": lambda *_: say("yes")}[TOOL](
            value, ARGV
        )
    if TOOL == "docker" and "psql" in ARGV:
        psql(value)  # a session lasts: the others are not kept waiting for it
    if hit and trap["when"] == "after":
        spring()
    return None


if __name__ == "__main__":
    main()
