"""A backup of PostgreSQL: every database of the application in pg_dump's directory format, and the roles."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host.backup import catalog, census, client, sql, swap
from host.backup.catalog import Backup
from host.backup.policy import Policy
from host.backup.progress import Progress
from host.compose import Container
from host.config import Config
from host.errors import Failure, one_line
from host.events import Journal, Step

KIND = SERVICE = "postgres"
_DEADLINE = 12 * 3600.0  # seconds for one database
_LOCKS = "60s"  # what a dump waits for a table that somebody has locked
_ZSTD_SINCE = 160000
# Databases that a restore made, or set aside: `fab restore.undo` knows them, a backup does not want them.
SIDE = r"__(restore|before)_[0-9]{8}t[0-9]{6}z$"
_DATABASES = f"""
SELECT datname AS name, pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding,
    datcollate AS "collate", datctype AS ctype, pg_database_size(oid) AS bytes, to_jsonb(d) AS raw
FROM pg_database d WHERE NOT datistemplate AND datallowconn AND datname !~ '{SIDE}' ORDER BY 1
"""
_GLOBALS_END = b"PostgreSQL database cluster dump complete"
_ROLES = "SELECT rolname AS name FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
_SERVER = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
    pg_is_in_recovery() AS standby, (SELECT system_identifier::text FROM pg_control_system()) AS identifier
"""
# In one container: what is written is read to its end before it counts.
_DUMP = """set -eu
mkdir -p "$(dirname "$1")"
pg_dump --schema-only --snapshot="$3" --lock-wait-timeout={locks} -h 127.0.0.1 -U "$6" -d "$2" -f "$1.schema.sql" &
pg_dump -Fd -j "$4" -Z "$5" --snapshot="$3" --lock-wait-timeout={locks} -h 127.0.0.1 -U "$6" -d "$2" -f "$1"
wait $!
: > "$1.read"
pg_restore -f /dev/null "$1"
rm "$1.read"
"""


def make(config: Config, policy: Policy, journal: Journal, reason: str) -> Backup:
    """Back up the running server; returns the published backup. Raises Failure, and then nothing is left of it."""
    server = client.server(config, SERVICE)
    began = time.time()
    with journal.step(KIND, "backing up PostgreSQL") as step, catalog.staging(config, KIND) as (name, partial):
        total = size(server, policy)
        usual = catalog.typical(config, KIND)
        catalog.room(config, KIND, usual * 13 // 10 if usual else total // 2)
        found = dump(config, policy, server, partial, step=step, usual=usual)
        backup = _publish(config, name, partial, {"reason": reason, "started": began, **found}, usual)
        step.done(_told(backup), backup=backup.id)
    return backup


def size(server: Container, policy: Policy) -> int:
    """Bytes of the databases that a backup of the server holds."""
    return sum(int(each["bytes"]) for each in databases(server, policy))


def dump(
    config: Config, policy: Policy, server: Container, partial: Path, *, step: Step, usual: int
) -> dict[str, Any]:  # fmt: skip
    """Dump every database of the application that a server has, and the roles, into directory `partial`.

    Returns what a manifest says of it: server, identifier, databases, roles. `usual` is the size in bytes it mostly
    comes to, for telling how far it is; 0 when nobody knows. Raises Failure.
    """
    with sql.session(server.id, policy.user, "postgres") as session:
        [about] = session.rows(_SERVER)
        found = _databases(session, policy)
        roles = [each["name"] for each in session.rows(_ROLES)]
    run = _Run(config, policy, server, int(about["number"]), partial, Progress(step, "dumped", usual))
    _globals(server, policy, partial)
    for number, each in enumerate(found):
        if len(found) > 1:
            step.output(f"database {each['name']}")
        each.update(_dump(run, each, f"databases/{number}"))
    return {"server": about["version"], "identifier": about["identifier"], "databases": found, "roles": roles}


def databases(server: Container, policy: Policy) -> list[dict[str, Any]]:
    """Those of the application: {"name", "owner", "bytes", and how it is encoded and sorted}."""
    with sql.session(server.id, policy.user, "postgres") as session:
        return _databases(session, policy)


def _databases(session: sql.Session, policy: Policy) -> list[dict[str, Any]]:
    found = session.rows(_DATABASES)
    if all(each["name"] != policy.database for each in found):
        raise Failure(f"there is no database {policy.database} on the server", hint="check POSTGRES_DB")
    for each in found:
        raw = each.pop("raw")
        each["provider"] = raw.get("datlocprovider", "c")
        each["locale"] = raw.get("datlocale") or raw.get("daticulocale")
    others = [str(each["name"]) for each in found if each["name"] != "postgres"]
    # has somebody put tables into the database that is only there for administration?
    wanted = (policy.database, *others, *(["postgres"] if census.tables(session.ask) else []))
    return [each for each in found if each["name"] in wanted]


def _globals(server: Container, policy: Policy, partial: Path) -> None:
    words = ["pg_dumpall", "--globals-only", "-U", policy.user]
    done = client.inside(server.id, words, deadline=600, check=False)
    if done.status != 0:  # what it wrote has hashes of passwords: it is not what is told
        said = one_line(done.stderr[-300:]) or f"exit status {done.status}"
        raise Failure(f"the roles cannot be dumped: {said}", hint="look at: fab health")
    if _GLOBALS_END not in done.stdout[-200:]:
        raise Failure("the roles cannot be dumped: their end did not arrive", hint="run it again; look at: fab health")
    (partial / "globals.sql").write_bytes(done.stdout)


def jobs() -> int:
    """How many tables are dumped or restored at once."""
    return min(4, max(2, (os.cpu_count() or 1) // 2))


@dataclass(frozen=True)
class _Run:
    """What the dump of every database of one backup needs."""

    config: Config
    policy: Policy
    server: Container
    version: int  # as server_version_num has it
    partial: Path
    progress: Progress


def _dump(run: _Run, database: dict[str, Any], place: str) -> dict[str, Any]:
    """Dump one database and count its tables in the same snapshot; returns what the manifest says of it."""
    server, policy, partial = run.server, run.policy, run.partial
    connection = sql.connection(database["name"])
    method = "zstd:1" if run.version >= _ZSTD_SINCE else "1"
    reading, settled = partial / f"{place}.read", list[Future[None]]()

    def tick() -> None:
        run.progress.watch(partial)
        if not settled and reading.exists():  # it is whole: it goes to the disk while it is read back
            settled.append(pool.submit(catalog.settle, partial / place))

    with sql.session(server.id, policy.user, database["name"]) as session, ThreadPoolExecutor(2) as pool:
        session.ask(f"SET lock_timeout = '{_LOCKS}'; {census.UTC}")
        session.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;")
        [snapshot] = session.ask("SELECT pg_export_snapshot();")
        counted = pool.submit(census.take, session.ask)
        belongings = pool.submit(swap.Server(server.id, policy.user).belongings, database["name"])
        words = ["sh", "-c", _DUMP.format(locks=_LOCKS), "sh", f"/backup/{place}", connection, snapshot, str(jobs()),
                 method, policy.user]  # fmt: skip
        done = client.beside(
            run.config, server, words, purpose="backup", mounts={partial: "/backup"}, deadline=_DEADLINE, check=False,
            tick=tick, login=policy.login(SERVICE),
        )  # fmt: skip
        if done.status != 0:
            raise _failed(done.stderr or done.text, database["name"], reading)
        for each in settled:
            each.result()
        found = {**counted.result(), "belongings": belongings.result()}
    schema = partial / f"{place}.schema.sql"
    text = census.schema_text(schema.read_text("utf-8", "surrogateescape"))
    schema.write_text(text, "utf-8", "surrogateescape")
    return {"directory": place, "schema_sha256": catalog.digest(schema), **found}


def _failed(said: str, name: str, reading: Path) -> Failure:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    cause = next((line for line in lines if "error:" in line), lines[-1] if lines else "no word")
    if "No space left" in said:
        return Failure(f"the dump of {name} failed: no space left on the disk",
                       hint="free some: fab backup.prune; docker system df; journalctl --vacuum-size=200M")  # fmt: skip
    what = "the dump of {} was written but cannot be read back" if reading.exists() else "the dump of {} failed"
    return Failure(f"{what.format(name)}: {one_line(cause)}", hint="look at: fab health", data={"log": lines[-20:]})


def _publish(config: Config, name: str, partial: Path, manifest: dict[str, Any], usual: int) -> Backup:
    now = time.time()
    for each in manifest["databases"]:
        archive = partial / each["directory"]
        if not (archive / "toc.dat").is_file():
            raise Failure(f"the dump of {each['name']} has no table of contents", hint="look at: fab health")
        rows = sum(int(table["rows"]) for table in each["tables"])
        if rows and not any(path.name != "toc.dat" for path in archive.iterdir()):
            raise Failure(f"the dump of {each['name']} holds no data, the database has {rows} rows")
    size = sum(path.stat().st_size for path in catalog.files_of(partial))
    small = usual > 1 << 20 and size < usual // 2
    return catalog.publish(config, KIND, name, partial, {
        **manifest, "finished": now, "seconds": round(now - manifest["started"], 2),
        "verified": {"at": now, "how": "read to its end"},
        "suspicious": f"{size} bytes, usually {usual}" if small else "",
        "tools": {"pg_dump": manifest["server"]},
    })  # fmt: skip


def _told(backup: Backup) -> str:
    tables = sum(len(each["tables"]) for each in backup.manifest["databases"])
    rows = sum(int(table["rows"]) for each in backup.manifest["databases"] for table in each["tables"])
    odd = f"; SUSPICIOUS: {backup.manifest['suspicious']}" if backup.manifest["suspicious"] else ""
    return f"{backup.id}: {tables} tables, {rows} rows, {backup.bytes} bytes, read back{odd}"
