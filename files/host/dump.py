"""A dump of the database, verified before it counts as one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from host import compose, durable, health, process
from host import config as configuration
from host.compose import Container
from host.config import Config
from host.errors import Failure, from_os_error, one_line
from host.releases import Release

SERVICE = "postgres"
_DEADLINE = 4 * 3600.0  # seconds for one dump
_QUERY = 60.0  # seconds
_SPARE = 64 << 20  # bytes that stay free
_LOOK = 0.1  # seconds
# Those that pg_dump writes: in any schema, for there may be no "public", and not what an extension brings itself.
_TABLES = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
    " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend d"
    " WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
)


def make(config: Config, release: Release) -> Path:
    """Dump the database of the running stack, in pg_dump's custom format, to shared/backups/postgres/<release>.dump.

    The file is 0600, and there only when pg_restore could read its table of contents. Raises Failure.
    """
    container = health.of_service(compose.containers(config), SERVICE)
    if container is None or container.state != "running":
        raise Failure("the database cannot be dumped: postgres does not run", hint="look at: docker ps -a")
    directory = config.root / "shared" / "backups" / SERVICE
    path = directory / f"{release.id}.dump"
    user, database = release.manifest.settings.postgres_user, release.manifest.settings.postgres_db
    login = ["-U", user, "-d", database]
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _room(container, login, directory)
        with _temporary(directory / f".{path.name}.part") as part:
            with part.open("wb") as out:
                _piped(["docker", "exec", container.id, "pg_dump", "-Fc", *login], "the dump", stdout=out)
                out.flush()
                os.fsync(out.fileno())
            _verify(container, login, part)
            part.rename(path)
        durable.sync_directory(directory)
    except OSError as error:
        raise from_os_error(error, "dumping the database") from error
    return path


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A new file 0600 at `path`; removed unless it was renamed."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _query(container: Container, login: list[str], statement: str) -> int:
    done = process.run(
        ["docker", "exec", container.id, "psql", "-qXAt", *login, "-c", statement], deadline=_QUERY, check=False
    )
    if done.status != 0 or not done.text.strip().isdigit():
        raise Failure(f"the database does not answer: {one_line(done.last_line)}", hint="docker logs postgres")
    return int(done.text)


def _room(container: Container, login: list[str], directory: Path) -> None:
    """Raise Failure unless even an uncompressed dump would fit."""
    need = _query(container, login, "SELECT pg_database_size(current_database())") + _SPARE
    have = shutil.disk_usage(directory).free
    if have < need:
        raise Failure(
            f"no room for a dump of the database: need {need >> 20} MB, have {have >> 20} MB in {directory}",
            hint="free some: docker system df; journalctl --vacuum-size=200M",
        )


def _verify(container: Container, login: list[str], path: Path) -> None:
    """Raise Failure unless pg_restore reads a table of contents in it that names tables, if there are any."""
    if path.stat().st_size == 0:
        raise Failure("the dump is empty", hint="docker logs postgres")
    with path.open("rb") as source:
        listing = _piped(
            ["docker", "exec", "-i", container.id, "pg_restore", "--list"], "reading the dump", stdin=source
        )
    tables = _query(container, login, _TABLES)
    if tables and b" TABLE " not in listing:
        raise Failure(f"the dump names no table, the database has {tables}", hint="docker logs postgres")


def _piped(argv: list[str], what: str, *, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None) -> bytes:
    """Run a program with files for streams; returns its stdout unless that went to a file. Raises Failure."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            argv, stdin=stdin or subprocess.DEVNULL, stdout=stdout or out, stderr=err, cwd="/",
            env=configuration.child_environment(), start_new_session=True,
        )  # fmt: skip
        ends = time.monotonic() + _DEADLINE
        try:
            while child.poll() is None:
                if time.monotonic() > ends:
                    raise Failure(f"{what} did not end within {_DEADLINE:.0f} s", hint="look at: docker top postgres")
                time.sleep(_LOOK)
        except BaseException:
            child.kill()
            child.wait()
            raise
        if child.returncode != 0:
            err.seek(0)
            said = err.read(64 << 10).decode("utf-8", "replace").strip().splitlines()
            raise Failure(f"{what} failed: {one_line(said[-1] if said else f'status {child.returncode}')}",
                          hint="docker logs postgres", data={"log": said[-20:]})  # fmt: skip
        out.seek(0)
        return out.read(32 << 20)
