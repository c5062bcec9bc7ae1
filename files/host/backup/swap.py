"""Exchanging databases by their names: one transaction, a moment without connections, whatever their size."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from host.backup import sql
from host.errors import Failure

_PATIENCE = 10.0  # seconds for sessions to end
_LISTS = {  # settings whose value is stored as a list that is quoted already
    "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
    "temp_tablespaces", "unix_socket_directories",
}  # fmt: skip
_LISTED = re.compile(r'"((?:[^"]|"")*)"|[^",\s]+')
_SETTINGS = """
SELECT coalesce(pg_get_userbyid(nullif(s.setrole, 0)), '') AS role, s.setconfig AS config
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = {name}
"""
_GRANTS = """
SELECT CASE WHEN a.grantee = 0 THEN '' ELSE pg_get_userbyid(a.grantee) END AS grantee, a.privilege_type AS privilege,
    a.is_grantable AS again
FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = {name}
"""
_ABOUT = """
SELECT pg_get_userbyid(datdba) AS owner, datconnlimit AS connections, datacl IS NOT NULL AS granted,
    shobj_description(oid, 'pg_database') AS comment
FROM pg_database WHERE datname = {name}
"""


@dataclass(frozen=True)
class Exchange:
    """Database `new` becomes `name`; what had that name until then is called `kept`, "" when there was none."""

    name: str
    new: str
    kept: str


def stamp() -> str:
    """UTC to the second, as a part of a database's name."""
    return time.strftime("%Y%m%dt%H%M%Sz", time.gmtime())


def side_name(name: str, purpose: str, moment: str) -> str:
    """A name for a copy of database `name`: `purpose` is restore or before. At most the 63 bytes PostgreSQL keeps."""
    ending = f"__{purpose}_{moment}"
    return name.encode()[: 63 - len(ending)].decode("utf-8", "ignore") + ending


def closing(names: Sequence[str]) -> str:
    """The statements that let nobody into these databases any more."""
    return "".join(f"ALTER DATABASE {sql.identifier(name)} WITH ALLOW_CONNECTIONS false;\n" for name in names)


def ending(names: Sequence[str]) -> str:
    """The statement that ends every session of these databases, autovacuum's too; it answers how many there were."""
    listed = ", ".join(sql.literal(name) for name in names)
    return (
        "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname IN ({listed}) AND pid <> pg_backend_pid()) ended;\n"
    )


def opening(names: Sequence[str]) -> str:
    """The statements that let everybody into these databases again."""
    return "".join(f"ALTER DATABASE {sql.identifier(name)} WITH ALLOW_CONNECTIONS true;\n" for name in names)


def renaming(exchanges: Sequence[Exchange]) -> str:
    """The transaction that exchanges the names, and lets everybody into what has them then: all of it or nothing."""
    lines = ["SET lock_timeout = '5s';", "BEGIN;"]
    for each in exchanges:
        if each.kept:
            lines.append(f"ALTER DATABASE {sql.identifier(each.name)} RENAME TO {sql.identifier(each.kept)};")
        lines.append(f"ALTER DATABASE {sql.identifier(each.new)} RENAME TO {sql.identifier(each.name)};")
    lines.append(opening([each.name for each in exchanges]).rstrip())
    return "\n".join([*lines, "COMMIT;\n"])


class Server:
    """The running PostgreSQL, as administered: over a database that is never among those exchanged."""

    base = "template1"

    def __init__(self, container: str, user: str) -> None:
        self.container, self.user = container, user

    def run(self, script: str, database: str = "", deadline: float = 300) -> str:
        """Run statements. Raises Failure."""
        return sql.run(self.container, self.user, database or self.base, script, deadline=deadline)

    def rows(self, query: str, database: str = "") -> list[Any]:
        """The rows of a query. Raises Failure."""
        return sql.rows(self.container, self.user, database or self.base, query)

    def names(self) -> list[str]:
        """Every database there is."""
        return [each["name"] for each in self.rows("SELECT datname AS name FROM pg_database ORDER BY 1")]

    @contextmanager
    def ready(self) -> Iterator[Callable[[Sequence[Exchange]], None]]:
        """Yield what exchanges names, on a connection that stands already: a new one takes longer than all the rest.

        It raises Failure, and then every database has its own name and lets everybody in.
        """
        with sql.session(self.container, self.user, self.base) as session:
            session.ask("SELECT 1;")
            yield lambda exchanges: self._exchange(session, exchanges)

    def _exchange(self, session: sql.Session, exchanges: Sequence[Exchange]) -> None:
        before = [each.name for each in exchanges if each.kept]
        try:
            if before:
                session.ask(closing(before))
            self._alone(session, [*before, *(each.new for each in exchanges)])
            session.ask(renaming(exchanges))
        except BaseException:
            there = self.names()  # the session may have ended with what went wrong
            self.run(opening([name for name in before if name in there]))
            raise

    def _alone(self, session: sql.Session, names: Sequence[str]) -> None:
        ends = time.monotonic() + _PATIENCE
        while (left := session.ask(ending(names))[-1]) != "0":
            if time.monotonic() > ends:
                raise Failure(f"{left} sessions do not end", hint="see who: SELECT * FROM pg_stat_activity")
            time.sleep(0.02)

    def undecided(self, names: Sequence[str]) -> list[str]:
        """The transactions that are prepared in these databases: as long as there is one, a name cannot be changed."""
        listed = ", ".join(sql.literal(name) for name in names)
        found = self.rows(f"SELECT gid FROM pg_prepared_xacts WHERE database IN ({listed}) ORDER BY 1")
        return [str(each["gid"]) for each in found]

    def belongings(self, name: str) -> dict[str, Any]:
        """What hangs on the name of a database and is in no dump of it: owner, grants, settings, limit, comment."""
        literal = sql.literal(name)
        [about] = self.rows(_ABOUT.format(name=literal))
        grants = self.rows(_GRANTS.format(name=literal)) if about["granted"] else None
        return {"about": about, "grants": grants, "settings": self.rows(_SETTINGS.format(name=literal))}

    def give(self, target: str, told: dict[str, Any]) -> None:
        """Give a new database what `belongings` has told of another."""
        self.run(carrying(target, told["about"], told["grants"], told["settings"]))

    def drop(self, name: str) -> None:
        """Drop a database, whoever is in it. PostgreSQL keeps one that has subscriptions: they are let go of first, and
        nobody is asked at the other end."""
        subscribed = (
            "SELECT subname AS name FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid "
            f"WHERE d.datname = {sql.literal(name)}"
        )
        for each in self.rows(subscribed):
            mine = f"SUBSCRIPTION {sql.identifier(each['name'])}"
            self.run(opening([name]))
            self.run(f"ALTER {mine} DISABLE;\nALTER {mine} SET (slot_name = NONE);\nDROP {mine};", name)
        self.run(f"DROP DATABASE IF EXISTS {sql.identifier(name)} WITH (FORCE);")


def _listed(value: str) -> str:
    """A list as SQL wants it, from how it is stored: an empty name is a string there, and no name here."""
    words = [found[1].replace('""', '"') if found[1] is not None else found[0] for found in _LISTED.finditer(value)]
    return ", ".join(sql.literal(word) for word in words)


def carrying(
    target: str, about: dict[str, Any], grants: Sequence[dict[str, Any]] | None, settings: Sequence[dict[str, Any]]
) -> str:
    """The statements for `Server.give`; `grants` is None when the database has PostgreSQL's own."""
    database = sql.identifier(target)
    owner = sql.identifier(about["owner"])
    lines = [
        f"ALTER DATABASE {database} OWNER TO {owner};",
        f"ALTER DATABASE {database} WITH CONNECTION LIMIT {int(about['connections'])};",
    ]
    if about["comment"] is not None:
        lines.append(f"COMMENT ON DATABASE {database} IS {sql.literal(about['comment'])};")
    if grants is not None:
        lines.append(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC, {owner};")
        for each in grants:
            grantee = sql.identifier(each["grantee"]) if each["grantee"] else "PUBLIC"
            again = " WITH GRANT OPTION" if each["again"] else ""
            lines.append(f"GRANT {each['privilege']} ON DATABASE {database} TO {grantee}{again};")
    for each in settings:
        whose = f"ALTER ROLE {sql.identifier(each['role'])} IN DATABASE" if each["role"] else "ALTER DATABASE"
        for word in each["config"]:
            name, _, value = word.partition("=")
            text = _listed(value) if name in _LISTS else sql.literal(value)
            lines.append(f"{whose} {database} SET {sql.identifier(name)} TO {text or sql.literal('')};")
    return "\n".join(lines) + "\n"
