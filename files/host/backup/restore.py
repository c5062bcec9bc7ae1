"""Restoring PostgreSQL: into databases beside the live ones, compared, and only then exchanged; with a way back."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from host import compose, durable
from host.backup import catalog, census, client, essentials, postgres, recognise, sql, swap
from host.backup.policy import Policy
from host.backup.window import closed, reopen, well
from host.config import Config
from host.errors import Failure, Status, one_line
from host.events import Journal

SERVICE = "postgres"
_DEADLINE = 12 * 3600.0  # seconds for one database
_WELL = 20.0  # seconds the application gets to be well on the restored data
_GROWTH = 6  # how much bigger than a compressed dump a database is taken to be, when nobody knows
_DBNAME = re.compile(r"^;\s+dbname: (.*)$", re.M)
_DUMPED = re.compile(r"^;\s+Dumped from database version: (\S+)", re.M)
_SIDE = re.compile(postgres.SIDE)


@dataclass
class Source:
    """What is to be restored: the dump of each database (name, where, as what), and the manifest when it is ours."""

    name: str
    taken: float | None
    parts: list[tuple[str, Path, str]] = field(default_factory=list)
    manifest: dict[str, Any] | None = None
    globals: Path | None = None

    def described(self, database: str) -> dict[str, Any] | None:
        """What the manifest says of a database."""
        found = (self.manifest or {}).get("databases") or []
        return next((each for each in found if each["name"] == database), None)


@contextmanager
def opened(config: Config, policy: Policy, name: str, *, other: bool) -> Iterator[Source]:
    """Find and prove what is to be restored: a backup's id, "latest", or a path. Raises Failure (REFUSED) for what is
    damaged, of another application, another version or another database (unless `other`). Changes nothing.
    """
    room = catalog.scratch(config)
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(mode=0o700, parents=True)
    try:
        if name == "latest" or catalog.is_id(name):
            yield _ours(config, catalog.find(config, SERVICE, name))
        else:
            path = Path(name)
            if not path.is_absolute():
                raise Failure(f"there is no backup called {name}", hint="see: fab backup.list", status=Status.REFUSED)
            manifest = catalog.read(path) if path.is_dir() else None
            if manifest is not None:
                if manifest.get("app") != config.app or manifest.get("kind") != SERVICE:
                    raise recognise.refuse(path, f"is of {manifest.get('app')} ({manifest.get('kind')})")
                yield _ours(config, catalog.Backup(SERVICE, path.name, path, manifest))
            else:
                yield _theirs(config, policy, path, room, other=other)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _ours(config: Config, backup: catalog.Backup) -> Source:
    if backup.manifest.get("app") != config.app:
        raise Failure(f"backup {backup.id} is of {backup.manifest.get('app')}", status=Status.REFUSED)
    catalog.check(backup.path, backup.manifest)
    parts = [(each["name"], backup.path / each["directory"], "directory") for each in backup.manifest["databases"]]
    return Source(backup.id, backup.taken, parts, backup.manifest, backup.path / "globals.sql")


def _theirs(config: Config, policy: Policy, path: Path, room: Path, *, other: bool) -> Source:
    server = client.server(config, SERVICE)
    major = int(sql.run(server.id, policy.user, policy.database, "SHOW server_version_num;")) // 10000
    kind, place = _unwrapped(config, path, room)
    if kind == "rdb":
        raise recognise.refuse(path, "is a dump of Redis", "fab restore.redis")
    if kind == "plain":
        recognise.check_plain(place, major)
    else:
        listing = _pg_restore(config, policy, place, ["-l"])
        if found := _DUMPED.search(listing):
            recognise.check_version(path, found[1], major)
        named = _DBNAME.search(listing)
        if named and named[1].strip() != policy.database and not other:
            raise recognise.refuse(path, f"is a dump of the database {named[1].strip()}, not of {policy.database}",
                                   "--other-database takes it nevertheless")  # fmt: skip
        _pg_restore(config, policy, place, ["-f", "/dev/null"])
    return Source(str(path), path.stat().st_mtime, [(policy.database, place, kind)])


def _unwrapped(config: Config, path: Path, room: Path) -> tuple[str, Path]:
    """What is in it and where that lies, unpacked into `room` if need be."""
    found, place = recognise.look(path), path
    if found.packed:
        place = room / "unpacked"
        if found.packed == "gzip":
            recognise.unzip(path, place)
        else:
            _unzstd(config, path, place)
        found = recognise.look(place)
        if found.packed:
            raise recognise.refuse(path, "is packed twice")
    if found.kind == "tar":
        inside = room / "directory"
        inside.mkdir(mode=0o700)
        directory = recognise.unpack_tar(place, inside)
        return ("directory", directory) if directory else ("tar", place)
    return found.kind, place


def _unzstd(config: Config, path: Path, target: Path) -> None:
    words = ["zstd", "-d", "-q", "-f", f"/in/{path.name}", "-o", f"/out/{target.name}"]
    server = client.server(config, SERVICE)
    done = client.beside(config, server, words, purpose="restore", deadline=_DEADLINE, check=False,
                         mounts={path.parent: "/in:ro", target.parent: "/out"})  # fmt: skip
    if done.status in (126, 127):
        raise recognise.refuse(path, "is compressed with zstd, which the image lacks", "unpack it first: zstd -d")
    if done.status != 0:
        raise recognise.refuse(path, "is damaged or cut off: it cannot be unpacked to its end")


def _pg_restore(config: Config, policy: Policy, place: Path, words: Sequence[str]) -> str:
    del policy
    server = client.server(config, SERVICE)
    done = client.beside(config, server, ["pg_restore", *words, f"/in/{place.name}"], purpose="restore",
                         mounts={place.parent: "/in:ro"}, deadline=_DEADLINE, check=False)  # fmt: skip
    if done.status != 0:
        raise recognise.refuse(place, f"cannot be read: {one_line(done.last_line)}")
    return done.text


def inspect(config: Config, policy: Policy, name: str, *, other: bool) -> dict[str, Any]:
    """What would be restored and what it would replace, for a person to agree to. Raises as `opened`."""
    server = _server(config, policy)
    live = {each["name"]: each["bytes"] for each in server.rows(
        "SELECT datname AS name, pg_database_size(oid) AS bytes FROM pg_database WHERE datallowconn")}  # fmt: skip
    with opened(config, policy, name, other=other) as source:
        parts = []
        for database, place, kind in source.parts:
            told = source.described(database)
            now = census.tables(partial(_lines, server, database)) if database in live else []
            parts.append({
                "database": database, "format": kind, "there": database in live,
                "bytes": _size(place), "rows": sum(t["rows"] for t in told["tables"]) if told else None,
                "tables": len(told["tables"]) if told else None, "live_bytes": live.get(database),
                "live_rows": sum(int(t["rows"]) for t in now), "live_tables": len(now),
            })  # fmt: skip
        return {"source": source.name, "taken": source.taken, "database": policy.database, "parts": parts,
                "now": time.time()}  # fmt: skip


def _lines(server: swap.Server, database: str, script: str) -> list[str]:
    return server.run(script, database).splitlines()


def _size(place: Path) -> int:
    return sum(path.stat().st_size for path in catalog.files_of(place)) if place.is_dir() else place.stat().st_size


def _server(config: Config, policy: Policy) -> swap.Server:
    return swap.Server(client.server(config, SERVICE).id, policy.user, policy.database)


def restore(config: Config, policy: Policy, name: str, journal: Journal, *, other: bool, by: str) -> dict[str, object]:
    """Restore; the live databases serve until the copies beside them are whole and equal to what was backed up.

    Returns {"window": seconds, "kept": [names], "message"}. Raises Failure, and then the old data serve on.
    """
    client.sweep(config)
    server = _server(config, policy)
    repair(config, policy, journal)
    with journal.step("check", f"proving {name}") as step, opened(config, policy, name, other=other) as source:
        _room(config, server, policy, source, journal)
        step.done(f"{source.name} is whole")
        moment = swap.stamp()
        there = server.names()
        exchanges = [
            swap.Exchange(database, swap.side_name(database, "restore", moment),
                          swap.side_name(database, "before", moment) if database in there else "")
            for database, _, _ in source.parts
        ]  # fmt: skip
        _mark(config, exchanges)
        try:
            _roles(server, source)
            for part, each in zip(source.parts, exchanges, strict=True):
                database = part[0]
                with journal.step("load", f"loading {database} beside the live one") as loading:
                    _load(config, policy, server, source, part=part, each=each)
                    loading.done(f"{database} is loaded and equal to the backup" if source.manifest else "loaded")
            window = _exchange(config, server, exchanges, journal, by=by)
        except BaseException:
            repair(config, policy, journal)
            raise
    _remember(config, policy, server, exchanges, source.name)
    _unmark(config)
    kept = [each.kept for each in exchanges if each.kept]
    return {"window": window, "kept": kept, "source": source.name,
            "message": f"{source.name} serves; nobody was served for {window:.2f} s"}  # fmt: skip


def _room(config: Config, server: swap.Server, policy: Policy, source: Source, journal: Journal) -> None:
    need = 0
    for database, place, kind in source.parts:
        told = source.described(database)
        need += int(told["bytes"]) if told else _size(place) * (2 if kind == "plain" else _GROWTH)
    folder = essentials.volume(config, "postgres_data") or Path("/var/lib/docker")

    def free() -> int:
        return shutil.disk_usage(folder).free - (256 << 20)

    if free() < need and (kept := kept_now(config)):
        journal.warn("the disk needs the room: what the last restore replaced goes, it cannot be undone any more")
        for each in kept["exchanges"]:
            server.drop(each["kept"])
        (config.state / _KEPT).unlink(missing_ok=True)
    if free() < need:
        raise Failure(f"no room beside the live data: need {need >> 20} MB, have {max(0, free()) >> 20} MB in {folder}",
                      hint="free some: docker system df", status=Status.REFUSED)  # fmt: skip


def _roles(server: swap.Server, source: Source) -> None:
    """Make the roles that were there then and are missing now; those that are there stay as they are."""
    if source.globals is None or not source.globals.is_file():
        return
    there = {each["name"] for each in server.rows("SELECT rolname AS name FROM pg_roles")}
    missing = [name for name in (source.manifest or {}).get("roles", []) if name not in there]
    if missing:
        server.run(role_statements(source.globals.read_text("utf-8"), missing))


def role_statements(dumped: str, missing: Sequence[str]) -> str:
    """The lines of `pg_dumpall --globals-only` that make these roles and give them what they had."""
    names = {_as_dumped(name) for name in missing}
    chosen = []
    for line in dumped.splitlines():
        found = re.match(r'(?:CREATE|ALTER) ROLE ("(?:[^"]|"")+"|[^\s;]+)', line)
        granted = re.match(r'GRANT (?:"(?:[^"]|"")+"|\S+) TO ("(?:[^"]|"")+"|[^\s;]+)', line)
        match = found or granted
        if match and match[1] in names:
            chosen.append(line)
    return "\n".join(chosen) + "\n"


def _as_dumped(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else sql.identifier(name)


def _load(
    config: Config, policy: Policy, server: swap.Server, source: Source, *, part: tuple[str, Path, str],
    each: swap.Exchange,
) -> None:  # fmt: skip
    database, place, kind = part
    told = source.described(database)
    server.run(creation(server, policy, each, told))
    container = client.server(config, SERVICE)
    target = sql.connection(each.new)
    login = ["-h", "127.0.0.1", "-U", policy.user, "-d", target]
    if kind == "plain":
        words = ["psql", "-qX", "-1", "-v", "ON_ERROR_STOP=1", *login, "-f", f"/in/{place.name}", "-o", "/dev/null"]
    else:
        parallel = [] if kind == "tar" else ["-j", str(postgres.jobs())]
        words = ["pg_restore", "--exit-on-error", *parallel, *login, f"/in/{place.name}"]
    done = client.beside(config, container, words, purpose="restore", mounts={place.parent: "/in:ro"},
                         deadline=_DEADLINE, check=False, login=policy.login(SERVICE))  # fmt: skip
    if done.status != 0:
        said = sql.told(done.stderr) or one_line(done.last_line)
        raise Failure(f"{source.name} cannot be loaded: {said}; nothing was changed", hint="take another file",
                      status=Status.REFUSED, data={"log": done.stderr.splitlines()[-20:]})  # fmt: skip
    server.run("ANALYZE;", each.new, deadline=_DEADLINE)
    if told is not None:
        with sql.session(container.id, policy.user, each.new) as session:
            session.ask("SET TIME ZONE 'UTC'; SET DateStyle = 'ISO';")
            different = census.differences(told, census.take(session.ask))
        if different:
            raise Failure(f"what was loaded differs from the backup: {different[0]}; nothing was changed",
                          status=Status.REFUSED, data={"log": different[:20]})  # fmt: skip
    if each.kept:
        server.carry(each.name, each.new)


def creation(server: swap.Server, policy: Policy, each: swap.Exchange, told: dict[str, Any] | None) -> str:
    """The statement for the database beside: with the locale of the one it is to replace, or of the one backed up."""
    query = 'SELECT pg_encoding_to_char(encoding) AS encoding, datcollate AS "collate", datctype AS ctype, ' \
            f"to_jsonb(d) AS raw FROM pg_database d WHERE datname = {sql.literal(each.name)}"  # fmt: skip
    found = server.rows(query)
    about = found[0] if found else told or {"encoding": "UTF8", "collate": "C.UTF-8", "ctype": "C.UTF-8"}
    raw = about.get("raw") or {}
    provider = raw.get("datlocprovider") or about.get("provider") or "c"
    locale = raw.get("datlocale") or raw.get("daticulocale") or about.get("locale")
    words = [
        f"CREATE DATABASE {sql.identifier(each.new)} TEMPLATE template0 OWNER {sql.identifier(policy.user)}",
        f"ENCODING {sql.literal(about['encoding'])} LC_COLLATE {sql.literal(about['collate'])}",
        f"LC_CTYPE {sql.literal(about['ctype'])}",
    ]
    if provider == "i" and locale:
        words.append(f"LOCALE_PROVIDER icu ICU_LOCALE {sql.literal(locale)}")
    if provider == "b" and locale:
        words.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {sql.literal(locale)}")
    return " ".join(words) + ";\n"


def _exchange(
    config: Config, server: swap.Server, exchanges: Sequence[swap.Exchange], journal: Journal, *, by: str
) -> float:
    """Exchange the databases while visitors get 503; back again when the application is not well afterwards.

    Returns the seconds for which nobody was served.
    """
    was_well = well(config, SERVICE, 0)
    with journal.step("exchange", "exchanging the databases") as step:
        with closed(config, by) as window:
            server.exchange(exchanges)
        if was_well and not well(config, SERVICE, _WELL):
            with closed(config, by):
                server.exchange([_back(each) for each in exchanges])
            server.run(opening_of(exchanges))
            raise Failure("the application is not well on the restored data: the old ones serve again",
                          hint="look at its log, then try another backup", status=Status.UNHEALTHY)  # fmt: skip
        step.done(f"exchanged, {window.seconds:.2f} s without service", window=window.seconds)
    return window.seconds


def opening_of(exchanges: Sequence[swap.Exchange]) -> str:
    """The statements that open the databases that have their old names again."""
    return swap.opening([each.name for each in exchanges if each.kept])


def _back(each: swap.Exchange) -> swap.Exchange:
    return swap.Exchange(each.name, each.kept, each.new)


_KEPT, MARK = "restored-postgres.json", "restoring-postgres.json"


def kept_now(config: Config) -> dict[str, Any] | None:
    """What can be undone: {"at", "until", "source", "exchanges": [{"name", "new", "kept"}]}, or None."""
    value = durable.read_json(config.state / _KEPT)
    return value if isinstance(value, dict) else None


def _remember(
    config: Config, policy: Policy, server: swap.Server, exchanges: Sequence[swap.Exchange], source: str
) -> None:
    earlier = kept_now(config)
    now = time.time()
    durable.write_json(config.state / _KEPT, {
        "at": now, "until": now + policy.undo_seconds, "source": source,
        "exchanges": [{"name": each.name, "new": each.new, "kept": each.kept} for each in exchanges if each.kept],
    })  # fmt: skip
    for each in (earlier or {}).get("exchanges", []):
        server.drop(each["kept"])


def undo(config: Config, policy: Policy, journal: Journal, *, by: str) -> dict[str, object]:
    """Bring back what the last restore replaced; doing it again brings the restored data back. Raises Failure."""
    kept = kept_now(config)
    if kept is None:
        raise Failure("there is no restore to undo", hint="fab backup.list", status=Status.REFUSED)
    server = _server(config, policy)
    there = server.names()
    moment = swap.stamp()
    exchanges = [
        swap.Exchange(each["name"], each["kept"], swap.side_name(each["name"], "before", moment))
        for each in kept["exchanges"]
    ]
    if missing := [each.new for each in exchanges if each.new not in there]:
        raise Failure(f"what was replaced is gone: {missing[0]}", hint="fab backup.list", status=Status.REFUSED)
    server.run(swap.opening([each.new for each in exchanges]))
    with journal.step("exchange", "exchanging the databases") as step:
        with closed(config, by) as window:
            server.exchange(exchanges)
        step.done(f"exchanged, {window.seconds:.2f} s without service")
    now = time.time()
    durable.write_json(config.state / _KEPT, {
        **kept, "at": now, "until": now + policy.undo_seconds,
        "exchanges": [{"name": each.name, "new": each.new, "kept": each.kept} for each in exchanges],
    })  # fmt: skip
    return {"window": window.seconds, "message": f"the data from before the restore of {kept['source']} serve again"}


def expire(config: Config, policy: Policy) -> list[str]:
    """Drop what the last restore replaced when its time is up; returns the names."""
    kept = kept_now(config)
    if kept is None or time.time() < float(kept["until"]):
        return []
    server = _server(config, policy)
    gone = [str(each["kept"]) for each in kept["exchanges"]]
    for name in gone:
        server.drop(name)
    (config.state / _KEPT).unlink(missing_ok=True)
    return gone


def _mark(config: Config, exchanges: Sequence[swap.Exchange]) -> None:
    durable.write_json(config.state / MARK, [
        {"name": each.name, "new": each.new, "kept": each.kept} for each in exchanges])  # fmt: skip


def _unmark(config: Config) -> None:
    (config.state / MARK).unlink(missing_ok=True)
    durable.sync_directory(config.state)


def repair(config: Config, policy: Policy, journal: Journal) -> None:
    """End what a restore that was cut off left: the old data under their names, nothing of the new. The caller holds
    the host's lock."""
    value = durable.read_json(config.state / MARK)
    marked = [swap.Exchange(**each) for each in value] if isinstance(value, list) else []
    server = _server(config, policy)
    there = server.names()
    remembered = {str(each["kept"]) for each in (kept_now(config) or {}).get("exchanges", [])}
    done = [each for each in marked if each.kept and each.kept in there and each.kept not in remembered]
    if done:
        journal.warn("a restore was cut off: the data from before it serve again")
        server.exchange([_back(each) for each in done])
    names = [each.name for each in marked if each.kept]
    if names:
        server.run(swap.opening(names))
    for name in server.names():
        if _SIDE.search(name) and name not in remembered:
            server.drop(name)
    if marked:
        reopen(config)
        _unmark(config)


def running(config: Config) -> bool:
    """Is the database server there to be asked?"""
    return any(item.service == SERVICE and item.state == "running" for item in compose.containers(config))
