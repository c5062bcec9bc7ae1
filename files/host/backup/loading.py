"""Loading a dump into a database of its own, beside the live ones, and proving that it is what was backed up."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from host.backup import census, client, essentials, postgres, sql, swap
from host.backup.policy import Policy
from host.backup.source import SERVICE, Source
from host.config import Config
from host.errors import Failure, Status, one_line

_DEADLINE = 12 * 3600.0  # seconds for one database
_RESERVE = 128 << 20  # bytes that stay free for the live server while a copy is loaded beside it
_CUT = ("terminating connection", "server closed the connection", "the database system is", "Connection refused")
# A statement with the comments before it; names and strings may have line breaks and semicolons in them.
_STATEMENT = re.compile(r"""(?:--[^\n]*\n|"(?:[^"]|"")*"|'(?:[^']|'')*'|-(?!-)|[^;"'-])+;""")
_COMMENTS = re.compile(r"\A(?:\s+|--[^\n]*\n)+")
_WORD = r'("(?:[^"]|"")+"|[^\s;]+)'
_OF_ROLES = tuple(re.compile(form) for form in (
    rf"(?:CREATE|ALTER) ROLE {_WORD}", rf"COMMENT ON ROLE {_WORD}", rf"SECURITY LABEL FOR {_WORD} ON ROLE {_WORD}",
    rf"GRANT {_WORD} TO {_WORD}", rf"GRANT [A-Z ]+ ON PARAMETER \S+ TO {_WORD}",
))  # fmt: skip


def roles(server: swap.Server, names: Sequence[str], dumped: Path) -> None:
    """Make those of the roles `names` that are missing, as `pg_dumpall --globals-only` wrote them into `dumped`; those
    that are there stay as they are, with their passwords."""
    there = {each["name"] for each in server.rows("SELECT rolname AS name FROM pg_roles")}
    missing = [name for name in names if name not in there]
    if missing:
        server.run(role_statements(dumped.read_bytes().decode(), missing))


def role_statements(dumped: str, missing: Sequence[str]) -> str:
    """The statements of `pg_dumpall --globals-only` that make these roles and give them what they had, memberships of
    others in them too."""
    names = set(missing)
    chosen = []
    for found in _STATEMENT.finditer(dumped):
        statement = _COMMENTS.sub("", found[0])
        concerned = next((match.groups() for match in (form.match(statement) for form in _OF_ROLES) if match), ())
        if names & {_name(word) for word in concerned}:
            chosen.append(statement)
    return "\n".join(chosen) + "\n"


def _name(word: str) -> str:
    """A name as it is, from how SQL has it."""
    return word[1:-1].replace('""', '"') if word.startswith('"') else word


def load(
    config: Config, policy: Policy, server: swap.Server, source: Source, *, part: tuple[str, Path, str],
    each: swap.Exchange,
) -> list[str]:  # fmt: skip
    """Load one part of the source into the new database of `each`, and compare it with what the manifest says.

    Returns what it has less of, indexes and the like: no row is missing for that, but somebody should know. Raises
    Failure (REFUSED) when it cannot be loaded or is not equal; the live databases have not been touched.
    """
    database, place, kind = part
    told = source.described(database)
    server.run(creation(server, policy, each, told, anew=source.anew))
    container = client.server(config, SERVICE)
    target = sql.connection(each.new)
    login = ["-h", "127.0.0.1", "-U", policy.user, "-d", target]
    if kind == "plain":
        words = ["psql", "-qX", "-1", "-v", "ON_ERROR_STOP=1", *login, "-f", f"/in/{place.name}", "-o", "/dev/null"]
    else:
        parallel = [] if kind == "tar" else ["-j", str(postgres.jobs())]
        words = ["pg_restore", "--exit-on-error", *parallel, *login, f"/in/{place.name}"]
    done = client.beside(config, container, words, purpose="restore", mounts={place.parent: "/in:ro"},
                         deadline=_DEADLINE, check=False, login=policy.login(SERVICE), tick=_room(config))  # fmt: skip
    if done.status != 0:
        said = sql.told(done.stderr) or one_line(done.last_line)
        if any(word in done.stderr for word in _CUT):
            raise Failure(f"PostgreSQL was stopped while it loaded: {said}; nothing was changed",
                          hint="run the same again; look at: fab health")  # fmt: skip
        raise Failure(f"{source.name} cannot be loaded: {said}; nothing was changed", hint="take another file",
                      status=Status.REFUSED, data={"log": done.stderr.splitlines()[-20:]})  # fmt: skip
    lost: list[str] = []
    with ThreadPoolExecutor(1) as pool:  # both read all there is
        analysed = pool.submit(server.run, "ANALYZE;", each.new, deadline=_DEADLINE)
        found = None if told is None else census.of(container.id, policy.user, each.new)
        analysed.result()
    if told is not None and found is not None:
        lost = census.lost(told, found)
        if different := census.differences(told, found):
            raise Failure(f"what was loaded differs from the backup: {different[0]}; nothing was changed",
                          status=Status.REFUSED, data={"log": different[:20]})  # fmt: skip
    # what the live one has counts; one that is gone, or was only just made, gets what it had when it was backed up
    belongings = (told or {}).get("belongings") if source.anew or not each.kept else None
    if belongings or each.kept:
        server.give(each.new, belongings or server.belongings(each.name))
    return lost


def _room(config: Config) -> Callable[[], None]:
    """What raises Failure (REFUSED) while it is called when the live server is about to lose its disk: with none left
    for its log it would stop."""
    folder = essentials.volume(config, "postgres_data") or Path("/var/lib/docker")

    def look() -> None:
        if (free := shutil.disk_usage(folder).free) < _RESERVE:
            raise Failure(f"no room to load it: {free >> 20} MB are left in {folder}; nothing was changed",
                          hint="free some: docker system df", status=Status.REFUSED)  # fmt: skip

    return look


def creation(
    server: swap.Server, policy: Policy, each: swap.Exchange, told: dict[str, Any] | None, *, anew: bool = False
) -> str:  # fmt: skip
    """The statement for the database beside: with the locale of the one it is to replace, or (there is none, or `anew`)
    of the one backed up."""
    query = 'SELECT pg_encoding_to_char(encoding) AS encoding, datcollate AS "collate", datctype AS ctype, ' \
            f"to_jsonb(d) AS raw FROM pg_database d WHERE datname = {sql.literal(each.name)}"  # fmt: skip
    found = server.rows(query)
    about = (
        found[0]
        if found and not (anew and told)
        else told or {"encoding": "UTF8", "collate": "C.UTF-8", "ctype": "C.UTF-8"}
    )
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
