"""What is in a PostgreSQL database, counted: what a restored copy of it is compared with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from host.backup import sql

# Those whose rows pg_dump writes or makes anew: tables (also single partitions) and materialised views, in any schema
# but PostgreSQL's own, and not what an extension brings. With the columns that tell when a row was made.
_TABLES = """
SELECT n.nspname AS schema, c.relname AS name, coalesce((
    SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
    AND NOT a.attisdropped AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)), '[]') AS times
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated) AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
AND n.nspname <> 'information_schema'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""
# What hangs on the tables: PostgreSQL loses one of these without an error when the dump makes it in a world that is not
# quite the one it was made in. Parts of partitioned ones and what extensions bring are not counted.
_BELONGING = """
SELECT kind, count(*) AS number FROM (
    SELECT CASE c.relkind WHEN 'v' THEN 'views' WHEN 'S' THEN 'sequences' ELSE 'indexes' END AS kind, c.oid, n.nspname,
        'pg_class'::regclass AS class
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
    WHERE c.relkind IN ('v', 'S') OR c.relkind IN ('i', 'I') AND i.indisvalid AND NOT c.relispartition
    UNION ALL SELECT 'constraints', k.oid, n.nspname, 'pg_constraint'::regclass
    FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE k.conparentid = 0 AND k.coninhcount = 0
    UNION ALL SELECT 'triggers', t.oid, n.nspname, 'pg_trigger'::regclass
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND t.tgparentid = 0
    UNION ALL SELECT 'functions', p.oid, n.nspname, 'pg_proc'::regclass
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    UNION ALL SELECT 'policies', y.oid, n.nspname, 'pg_policy'::regclass
    FROM pg_policy y JOIN pg_class c ON c.oid = y.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
) each WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = class AND d.objid = each.oid AND d.deptype = 'e')
GROUP BY 1 ORDER BY 1
"""
_EXTENSIONS = "SELECT extname AS name, extversion AS version FROM pg_extension ORDER BY 1"
_OBJECTS = "SELECT count(*) AS number FROM pg_largeobject_metadata"
# Where well-known migration tools keep how far they are: table, and the column that says it.
_MIGRATIONS = (
    ("schema_migrations", "version"),  # golang-migrate, dbmate, Rails
    ("goose_db_version", "version_id"),
    ("atlas_schema_revisions", "version"),
    ("flyway_schema_history", "installed_rank"),
    ("alembic_version", "version_num"),
    ("_prisma_migrations", "migration_name"),
    ("django_migrations", "id"),
)
_VOLATILE = re.compile(r"(--|\\(un)?restrict\b|\s*$)")

UTC = "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO';"
"""What a session has to say first, so that times are written alike."""

Ask = Callable[[str], Iterable[str]]
"""Runs SQL in one transaction, and gives the lines it answers."""


def tables(ask: Ask) -> list[dict[str, Any]]:
    """[{"schema", "name", "rows", "newest": the latest time in any column of that type, UTC, or None}], all counted."""
    listed = [json.loads(line) for line in ask(f"SELECT row_to_json(t) FROM ({_TABLES}) t;")]
    return [json.loads(line) for each in listed for line in ask(_count(each["schema"], each["name"], each["times"]))]


def _count(schema: str, name: str, times: Sequence[str]) -> str:
    newest = ", ".join(f"max({sql.identifier(column)})::timestamptz" for column in times)
    value = f"greatest({newest})::text" if times else "NULL"
    return (
        f"SELECT json_build_object('schema', {sql.literal(schema)}, 'name', {sql.literal(name)}, 'rows', count(*), "
        f"'newest', {value}) FROM {sql.identifier(schema)}.{sql.identifier(name)};"
    )


def extensions(ask: Ask) -> dict[str, str]:
    """Version by name."""
    found = [json.loads(line) for line in ask(f"SELECT row_to_json(e) FROM ({_EXTENSIONS}) e;")]
    return {each["name"]: each["version"] for each in found}


def belonging(ask: Ask) -> dict[str, int]:
    """How many indexes, constraints, triggers, functions, views, sequences and policies there are."""
    found = [json.loads(line) for line in ask(f"SELECT row_to_json(b) FROM ({_BELONGING}) b;")]
    return {each["kind"]: int(each["number"]) for each in found}


def large_objects(ask: Ask) -> int:
    """How many there are."""
    return int(next(iter(ask(f"{_OBJECTS};"))))


def migration(ask: Ask) -> dict[str, str] | None:
    """{"table", "version"}: how far the migrations of the application are, when a well-known tool does them."""
    for table, column in _MIGRATIONS:
        places = list(ask(
            f"SELECT table_schema FROM information_schema.columns WHERE table_name = '{table}' "
            f"AND column_name = '{column}' ORDER BY 1 LIMIT 1;"
        ))  # fmt: skip
        if places:
            name = f"{sql.identifier(places[0])}.{sql.identifier(table)}"
            version = list(ask(f"SELECT coalesce(max({column})::text, '') FROM {name};"))
            return {"table": table, "version": version[0] if version else ""}
    return None


def take(ask: Ask) -> dict[str, Any]:
    """Everything above: {"tables", "belonging", "extensions", "large_objects", "migration"}."""
    return {
        "tables": tables(ask),
        "belonging": belonging(ask),
        "extensions": extensions(ask),
        "large_objects": large_objects(ask),
        "migration": migration(ask),
    }


def of(container: str, user: str, database: str) -> dict[str, Any]:
    """The same of a database of a running server, in a session of its own. Raises Failure."""
    with sql.session(container, user, database) as session:
        session.ask(UTC)
        return take(session.ask)


def schema_text(dumped: str) -> str:
    """The output of `pg_dump --schema-only` without what differs from one run to the next: comments, blank lines, the
    random word that newer versions put around it."""
    return "".join(f"{line}\n" for line in dumped.split("\n") if not _VOLATILE.match(line))


def schema_digest(dumped: str) -> str:
    """sha256 of that, in hexadecimal."""
    return hashlib.sha256(schema_text(dumped).encode()).hexdigest()


def lost(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What a restored database has less of than its manifest says, of what hangs on tables: in words, [] for none."""
    wanted, there = (side.get("belonging") or {} for side in (expected, found))
    return [f"{there.get(kind, 0)} {kind} instead of {number}" for kind, number in sorted(wanted.items())
            if there.get(kind, 0) < number]  # fmt: skip


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What a restored database has otherwise than its manifest says, in words; [] when it is equal."""
    told = []
    wanted, there = ({(t["schema"], t["name"]): t for t in side["tables"]} for side in (expected, found))
    for key in sorted(set(wanted) - set(there)):
        told.append(f"table {'.'.join(key)} is missing")
    for key in sorted(set(there) - set(wanted)):
        told.append(f"table {'.'.join(key)} should not be there")
    for key in sorted(set(there) & set(wanted)):
        if wanted[key]["rows"] != there[key]["rows"]:
            told.append(f"{'.'.join(key)} has {there[key]['rows']} rows instead of {wanted[key]['rows']}")
        elif wanted[key].get("newest") != there[key].get("newest"):
            told.append(f"the newest row of {'.'.join(key)} is of {there[key].get('newest')} instead of "
                        f"{wanted[key].get('newest')}")  # fmt: skip
    for name in ("large_objects", "migration"):
        if expected.get(name) != found.get(name):
            told.append(f"{name.replace('_', ' ')}: {found.get(name)} instead of {expected.get(name)}")
    if missing := sorted(set(expected["extensions"]) - set(found["extensions"])):
        told.append(f"the extension {missing[0]} is missing")
    return told
