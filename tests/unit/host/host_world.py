"""A host made of a temporary directory and stand-in tools, for the tests of the host program."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host import config as configuration
from host.events import Journal
from host.receive import receive
from tasks.model import program

FAKE = Path(__file__).with_name("fake_tools.py")
ME = f"{os.geteuid()}:{os.getegid()}"


def owner(uid: int, gid: int) -> tuple[int, int]:
    """Who owns a file meant for uid:gid: only root can give files away."""
    return (uid, gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


@dataclass
class Spec:
    """A release to be: its files and services."""

    id: str
    files: dict[str, bytes]
    services: dict[str, dict[str, Any]]
    secrets: set[str] = field(default_factory=set)
    settings: dict[str, Any] = field(default_factory=dict)

    def manifest(self) -> dict[str, Any]:
        return {
            "format": 1, "release": self.id, "version": self.id.split("-", 1)[1], "created": "2026-11-22T10:00:00Z",
            "by": "me@here", "revision": None, "app": "app", "services": self.services,
            "settings": {"keep": 3, "health_timeout": 5, "domains": [], "acme_server": "", **self.settings},
            "files": {
                path: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data),
                       "mode": 0o600 if path in self.secrets else 0o644, "secret": path in self.secrets}
                for path, data in self.files.items()
            },
        }  # fmt: skip

    def tar(self, only: set[str] | None = None) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            add(tar, "manifest.json", json.dumps(self.manifest()).encode())
            for path, data in self.files.items():
                if only is None or path in only:
                    add(tar, path, data)
        return out.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes, **extra: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in extra.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(data))


POLICY = {"postgres_days": 30, "redis_days": 7, "weeks": 8, "months": 12, "keep_last": 3, "undo_hours": 24}


class World:
    """The host: paths, the stand-ins' state, releases to make, the program to run."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / "bin"
        self.bin.mkdir(parents=True)
        for tool in ("docker", "systemctl", "systemd-run", "certbot", "timedatectl"):
            (self.bin / tool).write_text(FAKE.read_text().replace("#!/usr/bin/env python3", f"#!{sys.executable} -SE"))
            (self.bin / tool).chmod(0o755)
        for name in ("units", "systemd", "letsencrypt"):
            (home / name).mkdir()
        self.set(containers={}, images=[], enabled=[], active=[])
        self.program = home / "app"
        self.settings = {
            "app": "app", "root": str(home / "opt"), "run": str(home / "run"), "units": str(home / "systemd"),
            "program": str(self.program), "letsencrypt": str(home / "letsencrypt"),
            "webroot": str(home / "acme"), "poll": 0.05, "settle": 0.1,
        }  # fmt: skip
        self.config = configuration.from_json(json.dumps(self.settings).encode())
        self.program.write_bytes(program.archive(self.settings))
        self.program.chmod(0o755)
        self.config.prepare()

    # -- the stand-ins' state
    def get(self) -> dict[str, Any]:
        return json.loads((self.home / "state.json").read_text())  # type: ignore[no-any-return]

    def set(self, **changes: Any) -> None:
        path = self.home / "state.json"
        value = json.loads(path.read_text()) if path.exists() else {}
        new = path.with_name("state.json.set")
        new.write_text(json.dumps({**value, **changes}))
        new.rename(path)

    def trap(self, on: str, when: str = "before", signal: int | str = 9) -> None:
        """Send `signal` to the program when it calls a tool with `on` in its command line."""
        self.set(trap={"on": on, "when": when, "signal": signal})

    def calls(self, word: str = "") -> list[str]:
        path = self.home / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for raw in lines if word in (line := " ".join(json.loads(raw)["argv"]))]

    def forget_calls(self) -> None:
        (self.home / "calls.jsonl").unlink(missing_ok=True)

    def lives(self) -> dict[str, tuple[str, str]]:
        """Changes for every container that was made or started again."""
        return {name: (item["Id"], item["State"]["StartedAt"]) for name, item in self.get()["containers"].items()}

    # -- releases
    def spec(self, number: int, **parts: Any) -> Spec:
        """Release `number`: nginx with files to reload, a database with a secret, a backend without either."""
        version = f"1.{number}.0"
        services: dict[str, dict[str, Any]] = {
            "nginx": {"image": "nginx:1", "user": "101:101" if os.geteuid() == 0 else ME, "config": ["nginx"],
                      "secrets": [], "check": ["nginx", "-t"], "reload": ["nginx", "-s", "reload"],
                      "healthcheck": True},
            "postgres": {"image": "postgres:17", "user": "999:999", "config": [], "secrets": ["secrets/postgres"],
                         "check": None, "reload": None, "healthcheck": True},
            "backend": {"image": f"backend:{version}", "user": "65532:65532", "config": [], "secrets": [],
                        "check": None, "reload": None, "healthcheck": False},
        }  # fmt: skip
        services.update(parts.pop("services", {}))
        compose = {
            "services": {
                name: {"image": item["image"], "healthcheck": item["healthcheck"], "volumes": [
                    {"type": "bind", "source": f"{self.config.live}/{prefix}", "target": f"/mnt/{prefix}"}
                    for prefix in (*item["config"], *item["secrets"])
                ]} for name, item in services.items()
            }
        }  # fmt: skip
        files = {
            "docker-compose.prod.yml": json.dumps(compose).encode(),
            "env": b"A='b'\n",
            "nginx/nginx.conf": f"# {parts.pop('nginx', 'one')}\n".encode(),
            "nginx/tls/site.conf": b"listen 443;\n",
            "secrets/postgres/password": b"s3cret",
            "secrets/registry/password": b"hunter2\n",
            "backup/policy.json": json.dumps(POLICY).encode(),
            "systemd/app.service": b"[Unit]\n[Install]\nWantedBy=multi-user.target\n",
        }
        files.update(parts.pop("files", {}))
        secrets = {"env", "secrets/postgres/password", "secrets/registry/password"}
        return Spec(f"20261122T10{number:02d}00Z-{version}", files, services, secrets, parts.pop("settings", {}))

    def receive(self, spec: Spec, only: set[str] | None = None) -> str:
        receive(self.config, io.BytesIO(spec.tar(only)), Journal())
        return spec.id

    # -- the program
    def run(self, *words: str, stdin: bytes = b"", check: bool = False) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-I", str(self.program), *words], input=stdin, capture_output=True, check=check,
            env=self.environment(), timeout=60,
        )  # fmt: skip

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", str(self.program), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=self.environment(),
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def run_certbot_again(self) -> None:
        """A renewal: certbot has another certificate, and nobody was told."""
        argv = json.loads(next(x for x in (self.home / "calls.jsonl").read_text().splitlines() if "certonly" in x))[
            "argv"
        ]
        subprocess.run([self.bin / "certbot", *argv[1:]], check=True, env=self.environment())

    def applied(self, spec: Spec) -> str:
        """Receive and apply, which must succeed."""
        self.receive(spec)
        done = self.run("apply", spec.id)
        assert done.returncode == 0, done.stdout.decode()[-3000:] + done.stderr.decode()
        return spec.id


def events(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def last(output: bytes) -> dict[str, Any]:
    return events(output)[-1]


def eventually(what: Any, seconds: float = 10) -> Any:
    """What `what()` returns as soon as that is true."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if value := what():
            return value
        time.sleep(0.02)
    raise AssertionError("did not happen in time")
