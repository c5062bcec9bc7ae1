"""What the benchmark of backups works on: a host of the lab, its PostgreSQL filled by pgbench, and a stopwatch."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import peak
from tests.e2e.world import APP, FAB, container_of
from tests.lab import names

BACKUPS = f"/opt/{APP}/shared/backups"
DATABASE = USER = APP
BARE = f"{APP}-bench"  # the container in which the references run, and the directory of their files on the host
OLD = f"/opt/{APP}/bench"
_LONG = 3600  # seconds
_SIDES = "SELECT datname FROM pg_database WHERE datname ~ '__(restore|before)_[0-9]{8}t[0-9]{6}z$' OR datname = 'bare'"


@dataclass(frozen=True)
class Timed:
    """How a command of `fab` went: seconds from its start to its end, what it answered, its own peak and that of the
    host program in MB (0 when nobody looked)."""

    seconds: float
    told: dict[str, Any]
    here: float = 0.0
    there: float = 0.0


class Ground:
    """Host `number` of the lab."""

    def __init__(self, number: int) -> None:
        self.alias, self.host = names.alias(number), names.container(number)
        self.server = container_of("postgres", host=self.host)

    def inside(self, script: str, *words: str) -> str:
        """Run a script of the shell in the host, as root."""
        argv = ["docker", "exec", self.host, "sh", "-euc", script, "sh", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_LONG, check=False)
        if done.returncode:
            raise SystemExit(f"`{script}` in {self.host} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def timed(self, script: str, *words: str) -> float:
        """The seconds of that."""
        began = time.perf_counter()
        self.inside(script, *words)
        return time.perf_counter() - began

    def sql(self, *statements: str, database: str = DATABASE) -> str:
        """What PostgreSQL answers to statements, each a transaction of its own."""
        words = ["docker", "exec", self.server, "psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database]
        return self.inside('"$@"', *words, *(word for each in statements for word in ("-c", each)))

    def quiet(self) -> None:
        """Everything written so far goes to the disk now, and not at the expense of what is measured next."""
        self.sql("CHECKPOINT")
        self.inside("sync")

    def fab(self, *words: str, watched: bool = False) -> Timed:
        """Run a command of `fab` on this host as a user does. Ends the benchmark when it fails."""
        eye = self._eye() if watched else None
        began = time.perf_counter()
        child = subprocess.Popen([FAB, words[0], "-H", self.alias, *words[1:], "--json"], cwd=names.ROOT,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        watch = peak.Watch(child.pid) if watched else None
        out, said = child.communicate(timeout=_LONG)
        seconds = time.perf_counter() - began
        if child.returncode:
            raise SystemExit(f"fab {' '.join(words)} ended with {child.returncode}: {said.decode()[-2000:]}")
        there = int(eye.communicate()[0]) if eye else 0
        return Timed(seconds, json.loads(out), watch.kilobytes / 1024 if watch else 0, there / 1024)

    def _eye(self) -> subprocess.Popen[bytes]:
        """The watcher on the host; it says what it saw when its stdin is closed."""
        words = ["python3", "-c", Path(peak.__file__).read_text(), f"/usr/local/bin/{APP}"]
        return subprocess.Popen(["docker", "exec", "-i", self.host, *words],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip

    def fill(self, scale: int) -> int:
        """Make pgbench's tables in the application's database; returns the bytes of the database."""
        pgbench = ["docker", "exec", self.server, "pgbench", "-i", "-q", "-s", str(scale), "-U", USER, DATABASE]
        self.inside('"$@"', *pgbench)
        self.sql("DROP TABLE IF EXISTS pgbench_noise", "VACUUM ANALYZE")
        return int(self.sql("SELECT pg_database_size(current_database())"))

    def noise(self, megabytes: int) -> None:
        """Add a table of so many MB that nothing can compress: what is sent is then worth timing."""
        row = "(SELECT string_agg(sha512(int8send(g * 64 + i)), ''::bytea) FROM generate_series(0, 63) i)"
        self.sql(f"CREATE TABLE pgbench_noise AS SELECT g AS id, {row} AS noise FROM generate_series(1, "
                 f"{megabytes * 256}) g", "VACUUM ANALYZE pgbench_noise")  # fmt: skip

    def begin(self) -> None:
        """Start the container of the references: the server's image and network, and a tmpfs, which costs nothing."""
        self.end()
        image = self.inside("docker inspect -f '{{.Image}}' \"$1\"", self.server).strip()
        self.inside(
            f"mkdir -m 700 {OLD}; docker run -d --name {BARE} --network container:{self.server} --user 0:0 "
            f"--tmpfs /bare:size=4g -v {BACKUPS}/postgres:/in:ro -v /opt/{APP}/live/secrets/postgres:/run/secrets:ro "
            '--entrypoint sleep "$1" infinity', image,
        )  # fmt: skip

    def bare(self, script: str) -> float:
        """The seconds of a script in that container, logged in over TCP as the host program's own clients are."""
        login = f'export PGPASSWORD="$(cat /run/secrets/password)" PGHOST=127.0.0.1 PGUSER={USER}; '
        return self.timed(f"docker exec {BARE} sh -euc {shlex.quote(login + script)}")

    def end(self) -> None:
        """Take away whatever the benchmark has left on the host, backups of its data and undone restores included."""
        self.inside(f"docker rm -f -v {BARE} >/dev/null 2>&1 || true; rm -rf {OLD} {BACKUPS}/.incoming/*")
        for name in self.sql(_SIDES, database="template1").split():
            self.sql(f'DROP DATABASE "{name}" WITH (FORCE)', database="template1")
        self.inside(f"rm -f /opt/{APP}/shared/state/restored-postgres.json")
        tables = ("accounts", "branches", "history", "tellers", "noise")
        self.sql(f"DROP TABLE IF EXISTS {', '.join(f'pgbench_{name}' for name in tables)}")

    def newest(self) -> dict[str, Any]:
        """The newest backup of PostgreSQL, as its manifest has it."""
        read: dict[str, Any] = json.loads(self.inside('cat "$1"', f"{BACKUPS}/postgres/{self.ids()[-1]}/manifest.json"))
        return read

    def ids(self) -> list[str]:
        """The backups of PostgreSQL there are, oldest first."""
        folder = f"{BACKUPS}/postgres"
        return sorted(self.inside(f"test -d {folder} || mkdir -m 700 {folder}; ls {folder}").split())

    def forget(self, ids: Iterable[str]) -> None:
        """Remove these backups."""
        for name in ids:
            self.inside('rm -rf "$1"', f"{BACKUPS}/postgres/{name}")


def load() -> str:
    """The load average of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"
