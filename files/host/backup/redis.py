"""A backup of Redis: the state of one moment as an RDB file, fetched as a replica does, and checked."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from host.backup import catalog, client
from host.backup.catalog import Backup
from host.backup.policy import Policy
from host.backup.progress import Progress
from host.config import Config
from host.errors import Failure, Status, one_line
from host.events import Journal

KIND = SERVICE = "redis"
FILE = "dump.rdb"
_DEADLINE = 2 * 3600.0  # seconds
_READ = re.compile(r"(\d+) (keys read|expires|already expired)")
_MAGIC = re.compile(rb"(?:REDIS|VALKEY)(\d{3,4})")
# The file is the server's state at the moment it was asked; its own dump.rdb and its log are not touched. `--rdb` to a
# file, for to a pipe it appends the mark of the protocol's end.
_FETCH = "set -eu; redis-cli -h 127.0.0.1 --rdb /backup/dump.rdb; exec redis-check-rdb /backup/dump.rdb"


def make(config: Config, policy: Policy, journal: Journal, reason: str) -> Backup:
    """Back up the running server; returns the published backup. Raises Failure, and then nothing is left of it."""
    server = client.server(config, SERVICE)
    began = time.time()
    with journal.step(KIND, "backing up Redis") as step, catalog.staging(config, KIND) as (name, partial):
        about = info(config)
        usual = catalog.typical(config, KIND)
        catalog.room(config, KIND, usual * 13 // 10 if usual else int(about.get("used_memory") or 0))
        progress = Progress(step, "fetched", usual)
        done = client.beside(
            config, server, ["sh", "-c", _FETCH], purpose="backup", mounts={partial: "/backup"}, deadline=_DEADLINE,
            check=False, tick=lambda: progress.watch(partial), login=policy.login(SERVICE),
        )  # fmt: skip
        if done.status != 0:
            said = f"{done.text}\n{done.stderr}"
            if "No space left" in said:
                raise Failure(
                    "Redis cannot be backed up: no space left on the disk", hint="free some: fab backup.prune"
                )
            raise Failure(f"Redis cannot be backed up: {one_line(done.last_line)}", hint="look at: fab health",
                          data={"log": said.splitlines()[-20:]})  # fmt: skip
        now = time.time()
        size = (partial / FILE).stat().st_size
        small = usual > 1 << 20 and size < usual // 2
        backup = catalog.publish(config, KIND, name, partial, {
            "reason": reason, "started": began, "finished": now, "seconds": round(now - began, 2),
            "server": about.get("redis_version", ""), "rdb": version(partial / FILE),
            **counted(done.text), "databases": keyspace(about),
            "verified": {"at": now, "how": "redis-check-rdb"},
            "suspicious": f"{size} bytes, usually {usual}" if small else "",
            "tools": {"redis-cli": about.get("redis_version", "")},
        })  # fmt: skip
        odd = f"; SUSPICIOUS: {backup.manifest['suspicious']}" if small else ""
        step.done(f"{backup.id}: {backup.manifest['keys']} keys, {backup.bytes} bytes, checked{odd}", backup=backup.id)
    return backup


def info(config: Config) -> dict[str, str]:
    """What INFO says of the running server, by name. Raises Failure when it does not answer."""
    return parse_info(ask(config, "INFO", "everything"))


def ask(config: Config, *words: str, deadline: float = 60) -> str:
    """What the running server answers to a command. The password comes from the file it has itself."""
    server = client.server(config, SERVICE)
    shell = 'REDISCLI_AUTH="$(cat /run/secrets/password)" exec redis-cli "$@"'
    done = client.inside(server.id, ["sh", "-c", shell, "sh", *words], deadline=deadline, check=False)
    if done.status != 0 or done.text.startswith(("NOAUTH", "WRONGPASS")):
        raise Failure(f"Redis does not answer: {one_line(done.last_line)}", hint="look at: fab health")
    return done.text


def parse_info(text: str) -> dict[str, str]:
    """The lines of INFO as names and values."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line and not line.startswith("#"))
    return {name: value.strip() for name, _, value in pairs}


def keyspace(about: dict[str, str]) -> dict[str, int]:
    """Keys by number of the database, as INFO has them."""
    found = {}
    for name, value in about.items():
        if re.fullmatch(r"db\d+", name):
            fields = dict(word.partition("=")[::2] for word in value.split(","))
            found[name[2:]] = int(fields.get("keys", 0))
    return found


def counted(said: str) -> dict[str, int]:
    """{"keys", "expires"} as redis-check-rdb counted them in the file."""
    names = {"keys read": "keys", "expires": "expires"}
    return {"keys": 0, "expires": 0} | {
        names[what]: int(number) for number, what in _READ.findall(said) if what in names
    }


def version(path: Path) -> int:
    """The version of the format an RDB file has. Raises Failure (REFUSED) when it is none."""
    with path.open("rb") as stream:
        found = _MAGIC.match(stream.read(10))
    if found is None:
        raise Failure(f"{path.name} is not an RDB file", hint="take another", status=Status.REFUSED)
    return int(found[1])


def describe(config: Config) -> dict[str, Any]:
    """What the running server has now: {"keys", "databases", "bytes": of memory, "version"}."""
    about = info(config)
    databases = keyspace(about)
    return {
        "keys": sum(databases.values()), "databases": databases, "bytes": int(about.get("used_memory") or 0),
        "version": about.get("redis_version", ""),
    }  # fmt: skip
