"""Restoring PostgreSQL: into databases beside the live ones, compared, and only then exchanged; with a way back.

Before anything that serves is touched a mark is written; `repair` goes back to the data from before as long as the mark
is there and what was set aside has not been remembered as what can be undone.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from host import compose, durable
from host.backup import census, client, essentials, loading, past, postgres, sql, swap
from host.backup import source as sources
from host.backup.policy import Policy
from host.backup.source import SERVICE, Source
from host.backup.swap import Exchange
from host.backup.window import Window, closed, reopen, well
from host.config import Config
from host.errors import Failure, Status
from host.events import Journal

MARK = "restoring-postgres.json"
_KEPT = "restored-postgres.json"
_WELL = 20.0  # seconds the application gets to be well on the restored data
_RESTART = 120.0  # seconds the server gets to be back when it was restarted in a restore
_GROWTH = 6  # how much bigger than a compressed dump a database is taken to be, when nobody knows
_SPARE = 256 << 20  # bytes that stay free
_SIDE = re.compile(postgres.SIDE)
_BYTES = "SELECT datname AS name, pg_database_size(oid) AS bytes, datallowconn AS open FROM pg_database"


def _server(config: Config, policy: Policy) -> swap.Server:
    return swap.Server(client.server(config, SERVICE).id, policy.user)


def _awake(config: Config, policy: Policy) -> swap.Server:
    """The server, waited for: what cut a restore off may have been its restart. Raises Failure when it stays away."""
    ends = time.monotonic() + _RESTART
    while True:
        try:
            server = _server(config, policy)
            server.names()
        except Failure:
            if time.monotonic() > ends:
                raise
        else:
            return server
        time.sleep(0.5)


def inspect(config: Config, policy: Policy, name: str, *, other: bool) -> dict[str, Any]:
    """What would be restored and what it would replace, for a person to agree to. Raises as `source.opened`."""
    server = _server(config, policy)
    about = {"database": policy.database, "now": time.time()}
    if name.startswith(past.PREFIX):  # what was there then is known when it has been gone back to: not twice
        found = past.described(config, policy, name)
        live = [_live(server, each["name"]) for each in postgres.databases(client.server(config, SERVICE), policy)]
        return {**about, "source": name, "taken": found["moment"], "base": found["base"], "parts": live}
    journal = Journal(None, None)
    with (
        journal.step("check", f"proving {name}") as step,
        sources.opened(config, policy, name, step, other=other) as source,
    ):
        parts = []
        for database, place, kind in source.parts:
            told = source.described(database)
            parts.append({
                **_live(server, database), "format": kind, "bytes": sources.size(place),
                "rows": sum(t["rows"] for t in told["tables"]) if told else None,
                "tables": len(told["tables"]) if told else None,
            })  # fmt: skip
        # by a path it is asked for again, and not by what is in it
        chosen = name if name.startswith("/") else source.name
        return {**about, "source": chosen, "label": source.name, "taken": source.taken, "parts": parts}


def _live(server: swap.Server, database: str) -> dict[str, Any]:
    """What there is under that name now."""
    size = {each["name"]: each["bytes"] for each in server.rows(_BYTES) if each["open"]}.get(database)
    now = census.tables(partial(_lines, server, database)) if size is not None else []
    return {"database": database, "there": size is not None, "live_bytes": size,
            "live_rows": sum(int(t["rows"]) for t in now), "live_tables": len(now)}  # fmt: skip


def _lines(server: swap.Server, database: str, script: str) -> list[str]:
    return sql.lines(server.run(script, database))


def restore(
    config: Config, policy: Policy, name: str, journal: Journal, *, other: bool, anew: bool = False, by: str
) -> dict[str, object]:  # fmt: skip
    """Restore; the live databases serve until the copies beside them are whole and equal to what was backed up.

    Returns {"window": seconds, "source", "message"}. Raises Failure, and then the old data serve on.
    """
    client.sweep(config)
    repair(config, policy, journal)
    server = _server(config, policy)
    what = "going back" if name.startswith(past.PREFIX) else f"proving {name}"
    with journal.step("check", what) as step, sources.opened(config, policy, name, step, other=other) as source:
        source.anew = anew
        _room(config, server, source, journal)
        step.done(f"{source.name} is whole")
        moment, there = swap.stamp(), server.names()
        exchanges = [
            Exchange(database, swap.side_name(database, "restore", moment),
                     swap.side_name(database, "before", moment) if database in there else "")
            for database, _, _ in source.parts
        ]  # fmt: skip
        _decided(server, exchanges)
        with _marked(config, policy, exchanges, journal):
            if source.globals is not None:
                loading.roles(server, (source.manifest or {}).get("roles", []), source.globals)
            for part, each in zip(source.parts, exchanges, strict=True):
                with journal.step("load", f"loading {each.name} beside the live one") as loaded:
                    for lost in loading.load(config, policy, server, source, part=part, each=each):
                        journal.warn(f"the copy of {each.name} has {lost}: a drill would call that a failure")
                    loaded.done(f"{each.name} is loaded and equal to the backup" if source.manifest else "loaded")
            was_well = well(config, SERVICE, 0)
            window = _exchange(config, server, exchanges, journal, by)
            if was_well and not well(config, SERVICE, _WELL):
                raise Failure("the application is not well on the restored data: the old ones serve again",
                              hint="look at its log, then try another backup", status=Status.UNHEALTHY)  # fmt: skip
            _remember(config, policy, server, exchanges, source.name)
    return {"window": window.seconds, "source": source.name,
            "message": f"{source.name} serves; nobody was served for {window.seconds:.2f} s"}  # fmt: skip


def undo(config: Config, policy: Policy, journal: Journal, *, by: str) -> dict[str, object]:
    """Bring back what the last restore replaced; doing it again brings the restored data back. Raises Failure."""
    repair(config, policy, journal)
    kept = kept_now(config)
    if kept is None:
        raise Failure("there is no restore to undo", hint="fab backup.list", status=Status.REFUSED)
    server = _server(config, policy)
    moment, there = swap.stamp(), server.names()
    exchanges = [
        Exchange(each["name"], each["kept"], swap.side_name(each["name"], "before", moment))
        for each in kept["exchanges"]
    ]
    if missing := [each.new for each in exchanges if each.new not in there]:
        raise Failure(f"what was replaced is gone: {missing[0]}", hint="fab backup.list", status=Status.REFUSED)
    with _marked(config, policy, exchanges, journal):
        window = _exchange(config, server, exchanges, journal, by)
        _remember(config, policy, server, exchanges, kept["source"])
    return {"window": window.seconds, "message": f"what the restore of {kept['source']} had replaced serves"}


def _room(config: Config, server: swap.Server, source: Source, journal: Journal) -> None:
    """Raise Failure (REFUSED) unless a second copy fits; what can be undone goes when that is what it takes."""
    need = _SPARE
    for database, place, kind in source.parts:
        told = source.described(database)
        need += int(told["bytes"]) if told else sources.size(place) * (2 if kind == "plain" else _GROWTH)
    folder = essentials.volume(config, "postgres_data") or Path("/var/lib/docker")
    free = shutil.disk_usage(folder).free
    if free >= need:
        return
    kept = [str(each["kept"]) for each in (kept_now(config) or {}).get("exchanges", [])]
    freed = sum(int(each["bytes"]) for each in server.rows(_BYTES) if each["name"] in kept)
    if free + freed < need:
        raise Failure(f"no room beside the live data: need {need >> 20} MB, have {free >> 20} MB in {folder}",
                      hint="free some: docker system df", status=Status.REFUSED)  # fmt: skip
    journal.warn("the disk needs the room: what the last restore replaced goes, it cannot be undone any more")
    _forget(config, server, kept)


def _decided(server: swap.Server, exchanges: Sequence[Exchange]) -> None:
    """Raise Failure (REFUSED) when somebody's transaction waits for a decision in what is to be exchanged."""
    names = [name for each in exchanges for name in (each.name, each.new)]
    if names and (waiting := server.undecided(names)):
        raise Failure(f"the transaction {waiting[0]} is prepared and undecided; nothing was changed",
                      hint="commit or roll it back: see pg_prepared_xacts", status=Status.REFUSED)  # fmt: skip


def _exchange(config: Config, server: swap.Server, exchanges: Sequence[Exchange], journal: Journal, by: str) -> Window:
    with journal.step("exchange", "exchanging the databases") as step:
        _decided(server, exchanges)
        with server.ready() as exchange, closed(config, by) as window:
            exchange(exchanges)
        step.done(f"exchanged, {window.seconds:.2f} s without service", window=window.seconds)
    return window


def kept_now(config: Config) -> dict[str, Any] | None:
    """What can be undone: {"at", "until", "source", "exchanges": [{"name", "new", "kept"}]}, or None."""
    value = durable.read_json(config.state / _KEPT)
    return value if isinstance(value, dict) else None


def _remember(config: Config, policy: Policy, server: swap.Server, exchanges: Sequence[Exchange], source: str) -> None:
    """From here on the exchange has happened, and can be undone; what an earlier one set aside goes."""
    earlier = {str(each["kept"]) for each in (kept_now(config) or {}).get("exchanges", [])}
    doomed, now = sorted(earlier - {each.new for each in exchanges}), time.time()
    durable.write_json(config.state / _KEPT, {
        "at": now, "until": now + policy.undo_seconds, "source": source,
        "exchanges": [asdict(each) for each in exchanges if each.kept], "doomed": doomed,
    })  # fmt: skip
    for name in doomed:
        server.drop(name)


def _forget(config: Config, server: swap.Server, names: Sequence[str]) -> None:
    for name in names:
        server.drop(name)
    (config.state / _KEPT).unlink(missing_ok=True)


def expire(config: Config, policy: Policy) -> list[str]:
    """Drop what the last restore replaced when its time is up; returns the names."""
    kept = kept_now(config)
    if kept is None or time.time() < float(kept["until"]):
        return []
    gone = [str(each["kept"]) for each in kept["exchanges"]]
    _forget(config, _server(config, policy), gone)
    return gone


@contextmanager
def _marked(config: Config, policy: Policy, exchanges: Sequence[Exchange], journal: Journal) -> Iterator[None]:
    """While the block runs, whatever ends it too soon brings the old data back: here, after a kill, or at boot."""
    durable.write_json(config.state / MARK, [asdict(each) for each in exchanges])
    try:
        yield
    except BaseException:
        repair(config, policy, journal)
        raise
    _unmark(config)


def _unmark(config: Config) -> None:
    (config.state / MARK).unlink(missing_ok=True)
    durable.sync_directory(config.state)


def repair(config: Config, policy: Policy, journal: Journal) -> None:
    """End what was cut off: the old data under their names, open to everybody, and no half-loaded copy.

    The caller holds the host's lock. A database __before_... that nobody remembers is told and left.
    """
    value = durable.read_json(config.state / MARK)
    marked = [Exchange(**each) for each in value] if isinstance(value, list) else []
    server = _awake(config, policy) if marked else _server(config, policy)
    there = server.names()
    kept = kept_now(config) or {}
    remembered = {str(each["kept"]) for each in kept.get("exchanges", [])}
    done = [each for each in marked if each.kept in there and each.kept not in remembered]
    if done:
        journal.warn("going back: the data from before serve again")
        with server.ready() as exchange, closed(config, "repair"):
            exchange([Exchange(each.name, each.kept, each.new) for each in done])
    if names := [each.name for each in marked if each.kept]:
        server.run(swap.opening(names))
    if marked:
        reopen(config)
        _unmark(config)
    for name in server.names():
        found = _SIDE.search(name)
        if found and (found[1] == "restore" or name in kept.get("doomed", [])):
            server.drop(name)
        elif found and name not in remembered:
            journal.warn(f"the database {name} was set aside by a restore, and nothing tells of which: drop it by hand")


def running(config: Config) -> bool:
    """Is the database server there to be asked?"""
    return any(item.service == SERVICE and item.state == "running" for item in compose.containers(config))
