"""Backup and restore again and again: nothing piles up but what retention keeps.

Only with CYCLES=3, say; CYCLES=100 goes through a hundred of them, an hour on two cores.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.e2e.data import BACKUPS, STATE, execute, fingerprint, redis, settled
from tests.e2e.world import APP, Project, inside, sql, wait_until

CYCLES = int(os.environ.get("CYCLES", "0"))
pytestmark = pytest.mark.skipif(CYCLES < 1, reason="only with CYCLES=3, say")
EVENTS = 50  # files of events that are kept
STAMPS = re.compile(r"\d{8}[Tt]\d{6}[Zz](-[0-9a-f]{4})?")
PLACES = f"/opt/{APP} /run/{APP} /tmp /root /var/tmp /etc/systemd/system /run/systemd/transient"


@pytest.fixture(scope="module")
def story(project: Project, deployed: object) -> Iterator[Project]:
    execute("DROP TABLE IF EXISTS cycles; CREATE TABLE cycles (n int);")
    yield project
    execute("DROP TABLE IF EXISTS cycles;")
    inside("sh", "-c", f"rm -rf {BACKUPS}/*/*")


def listing(project: Project) -> dict[str, list[str]]:
    """Every database, container, image, network, volume and file there is, as far as it may not change: without the
    backups that are known, the last events, and the time in names."""
    volume = inside("docker", "volume", "inspect", "--format", "{{.Mountpoint}}", f"{APP}_redis_data").strip()
    found = inside(
        "sh", "-c", f"find {PLACES} -mindepth 1 -printf '%y %p\n'; find {volume} -maxdepth 2 -printf '%y %p\n'"
    )
    kept = {f"f {path}" for path in known(project)}
    kept |= {
        f"d {'/'.join(path.split('/')[:depth])}" for path in known(project) for depth in range(7, path.count("/") + 1)
    }
    # those of the host's own services, and what Redis writes by itself when it is stopped
    others = ("/tmp/systemd-private-", f"{STATE}/events/", "/dump.rdb")
    files = sorted(line for line in found.splitlines() if line not in kept and not any(word in line for word in others))
    events = inside("ls", f"{STATE}/events").split()
    assert len(events) <= EVENTS + 1
    return {
        "databases": normal(sql("SELECT datname FROM pg_database ORDER BY 1")),
        "roles": normal(sql("SELECT rolname FROM pg_roles ORDER BY 1")),
        "containers": normal(inside("docker", "ps", "-a", "--format", "{{.Names}} {{.ID}} {{.State}}")),
        "volumes": normal(inside("docker", "volume", "ls", "-q")),
        "networks": normal(inside("docker", "network", "ls", "--format", "{{.Name}}")),
        "images": normal(inside("docker", "image", "ls", "-a", "-q", "--no-trunc")),
        "units": normal(inside("systemctl", "list-units", "--all", "--plain", "--no-legend", f"{APP}*")),
        "files": normal("\n".join(files)),
    }


def normal(text: str) -> list[str]:
    return sorted(STAMPS.sub("<time>", line) for line in text.splitlines())


def known(project: Project) -> list[str]:
    """The files of all backups, as `fab backup.list` tells of them."""
    rows = project.json("backup.list", "-H", "lab")["backups"]
    return [
        f"{row['path']}/{name}" for row in rows for name in ("manifest.json", *(each["path"] for each in row["files"]))
    ]


def cycle(project: Project, number: int, *, undo: bool) -> None:
    """Back up, change, restore, and see that the change is gone; with `undo` also that it comes back."""
    sql(f"INSERT INTO cycles VALUES ({number})")
    redis("SET", "cycle", str(number))
    project.fab("backup.postgres", "-H", "lab")
    project.fab("backup.redis", "-H", "lab")
    data = fingerprint()
    sql("INSERT INTO cycles VALUES (-1)")
    redis("SET", "cycle", "changed")
    changed = fingerprint()
    project.fab("restore.postgres", "-H", "lab", "--file", "latest", "--yes")
    project.fab("restore.redis", "-H", "lab", "--file", "latest", "--yes")
    assert (fingerprint(), said()) == (data, str(number))
    if undo:
        project.fab("restore.undo", "-H", "lab", "--yes")
        project.fab("restore.undo", "-H", "lab", "--kind", "redis", "--yes")
        assert (fingerprint(), said()) == (changed, "changed")


def said() -> str:
    answer: str = wait_until("redis to answer", lambda: redis("GET", "cycle").strip())
    return answer


def test_cycles_of_backup_and_restore_leave_nothing_behind(story: Project) -> None:
    cycle(story, 0, undo=False)  # from here on there is one copy to undo of each
    before = listing(story)
    assert len([name for name in before["databases"] if "__before_" in name]) == 1
    for number in range(1, CYCLES + 1):
        cycle(story, number, undo=number % 3 == 0)
    settled()
    after = listing(story)
    for what, lines in before.items():
        more = [line for line in after[what] if line not in lines]
        less = [line for line in lines if line not in after[what]]
        assert "\n".join(more) == "", f"more {what}"
        assert "\n".join(less) == "", f"less {what}"
        assert len(after[what]) == len(lines), what
