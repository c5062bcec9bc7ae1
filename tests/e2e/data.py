"""What is in the databases, as something to compare; and what a backup or a restore must not leave behind."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.e2e.world import (
    APP,
    HOST,
    Project,
    all_containers,
    busy,
    container_of,
    in_container,
    inside,
    sql,
    wait_until,
)

BACKUPS = f"/opt/{APP}/shared/backups"
STATE = f"/opt/{APP}/shared/state"
MARK = {kind: f"{STATE}/restoring-{kind}.json" for kind in ("postgres", "redis")}
CLOSED = f"test -e /opt/{APP}/shared/maintenance/on"
# Where a restore of PostgreSQL can be hit: a condition (of a shell in the host), and seconds after it. Once while it
# loads beside the live data, and twice while the site is closed: before the exchange, and around it.
PHASES = {
    "loading": (f"test -e {MARK['postgres']}", 0.3),
    "closed": (CLOSED, 0.05),
    "exchanging": (CLOSED, 0.15),  # names are exchanged 0.2 s after the site is closed
}
_SECRET = 'export REDISCLI_AUTH="$(cat /run/secrets/password)"; '


def execute(script: str, database: str = "") -> str:
    """Run SQL in a database, the application's without a name; stops at the first error."""
    shell = 'psql -qXAt -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "${1:-$POSTGRES_DB}"'
    return in_container("postgres", "sh", "-c", shell, "sh", database, stdin=script)


def raw(service: str, shell: str, *words: str) -> bytes:
    """What a shell in a container writes, byte for byte."""
    command = ["docker", "exec", HOST, "docker", "exec", container_of(service), "sh", "-c", shell, "sh", *words]
    return subprocess.run(command, check=True, capture_output=True, timeout=300).stdout


def dumped(database: str = "", *, create: bool = False) -> str:
    """A whole database as text, without the word that is another one each time; with `create` also what hangs on its
    name: owner, grants and settings."""
    flag = "--create" if create else ""
    text = raw("postgres", f'pg_dump {flag} -U "$POSTGRES_USER" -d "${{1:-$POSTGRES_DB}}"', database)
    return re.sub(r"^\\(un)?restrict .*$", "", text.decode("utf-8", "surrogateescape"), flags=re.M)


def fingerprint() -> str:
    """The sha256 of the application's database as text: for one that is too big to be carried here. Without its own
    notes of who visited it: a look at its health is one."""
    shell = 'pg_dump -T "visits*" -U "$POSTGRES_USER" -d "$POSTGRES_DB" | grep -avE \'^.(un)?restrict \' | sha256sum'
    return raw("postgres", shell).decode().split()[0]


def roles() -> str:
    """Every role with what it was granted and set, as text."""
    text = raw("postgres", 'pg_dumpall --globals-only -U "$POSTGRES_USER"').decode()
    return re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.M)


def differing(before: str, after: str) -> list[str]:
    """The first lines in which two texts differ, cut to a length that can be read; [] when they are equal."""
    if before == after:
        return []
    old, new = before.split("\n"), after.split("\n")
    pairs = ((a, b) for a, b in zip(old, new, strict=False) if a != b)
    found = [f"{a[:200]!r} became {b[:200]!r}" for a, b in pairs][:10]
    return found or [f"{len(old)} lines became {len(new)}"]


def databases() -> list[str]:
    return sql("SELECT datname FROM pg_database ORDER BY 1").split("\n")


def redis(*words: str) -> str:
    return in_container("redis", "sh", "-c", f'{_SECRET} exec redis-cli "$@"', "sh", *words)


def serialized(*names: str) -> list[str]:
    """A digest of each key as Redis serializes it."""
    shell = f'{_SECRET} redis-cli DUMP "$1" | sha256sum'
    return [in_container("redis", "sh", "-c", shell, "sh", name) for name in names]


def closed() -> bool:
    """Are visitors turned away?"""
    return bool(inside("sh", "-c", f"ls /opt/{APP}/shared/maintenance/on 2>/dev/null; true"))


def nothing_is_left() -> None:
    """No half backup, nothing unpacked, and no throwaway container."""
    left = inside("sh", "-c", f"ls -d {BACKUPS}/*/.partial-* {BACKUPS}/.restore 2>/dev/null; true").split()
    assert left == []
    purposes = {f"{APP}-{purpose}" for purpose in ("backup", "restore", "drill", "try", "recover")}
    assert purposes & {container.name for container in all_containers()} == set()
    assert purposes & set(inside("docker", "ps", "-a", "--format", "{{.Names}}").split()) == set()


def settled() -> None:
    """Nobody holds the lock, no restore is half done, no copy is half loaded, visitors are let in, nothing is left."""
    wait_until("the host to be done", lambda: busy() is None, seconds=120)
    marks = inside("sh", "-c", f"ls {STATE}/restoring-* 2>/dev/null; true").split()
    assert marks == []
    assert [name for name in databases() if "__restore" in name] == []
    assert not closed(), "the site is open"
    nothing_is_left()


def set_aside() -> list[str]:
    """The databases that a restore has replaced and that are still there."""
    return [name for name in databases() if "__before_" in name]


def kill_when(condition: str, later: float, unit: str = "restore") -> subprocess.Popen[str]:
    """Kill the unit without mercy, `later` seconds after the condition (of a shell in the host) holds."""
    return when(condition, f"sleep {later}; systemctl kill -s KILL '{APP}-{unit}-*'")


# In the host: wait until a file is there (with that mode), and kill whoever holds the lock at once. A shell that looks,
# sleeps and calls systemctl is too slow for the moment between the last checksum and the name of a backup.
_SNIPE = """
import glob, json, os, sys, time
ends = time.monotonic() + 60
def there():
    for path in glob.glob(sys.argv[2]):
        try:
            if sys.argv[3] in ("", oct(os.stat(path).st_mode & 0o777)):
                return True
        except OSError:
            pass
    return False
while not there():
    if time.monotonic() > ends:
        sys.exit("it never was there")
    time.sleep(0.001)
os.kill(json.load(open(sys.argv[1]))["pid"], 9)
"""


def kill_at(pattern: str, mode: str = "") -> subprocess.Popen[str]:
    """Kill the unit without mercy as soon as there is a file of that pattern (and mode, as `oct` writes it)."""
    words = ["python3", "-c", _SNIPE, f"/run/{APP}/lock", pattern, mode]
    return subprocess.Popen(["docker", "exec", HOST, *words], text=True)


def when(condition: str, script: str) -> subprocess.Popen[str]:
    """Run a script in the host as soon as the condition holds; it ends with 124 when that is not within a minute."""
    waiting = f"while ! {{ {condition}; }}; do sleep 0.01; done; {script}"
    return subprocess.Popen(
        ["docker", "exec", HOST, "timeout", "60", "sh", "-c", waiting], text=True, stdout=subprocess.DEVNULL
    )


def listed(project: Project, kind: str) -> list[dict[str, Any]]:
    """The backups of a kind, newest first."""
    return [row for row in project.json("backup.list", "-H", "lab")["backups"] if row["kind"] == kind]


def told_in_one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a `fab` that failed: exactly one line that says so, and no traceback. Returns it."""
    assert "Traceback" not in done.stdout + done.stderr
    assert "this is a mistake of the toolkit" not in done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


def write(path: str, content: bytes) -> None:
    """Write a file on the host."""
    words = ["docker", "exec", "-i", HOST, "sh", "-c", 'cat > "$1"', "sh", path]
    subprocess.run(words, input=content, check=True, capture_output=True, timeout=120)


def scripts(*names: str) -> Iterable[str]:
    """SQL that lies beside the tests."""
    return [(Path(__file__).parent / f"{name}.sql").read_text("utf-8") for name in names]
