"""How fast backups and restores are, against the plain tools on the same data, and what memory they take.

Everything is measured in one run, ours and the reference in turn; what counts is the median of the rounds' ratios.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import transfer
from tests.bench.compared import Comparison, Limit, Peak, table
from tests.bench.ground import DATABASE, OLD, USER, Ground, load

MEMORY = 64.0  # MB
LITTLE = 7  # pgbench's scale of the small database
NOISE = 256  # MB


class Dumps:
    """Backup and restore of a big database."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        old, bare = "docker exec pg_dump \\| gzip", "bare pg_dump -Fd -j2 -Z zstd:1"
        self.against_gzip = Comparison("fab backup.postgres", old, 1 / 4)
        self.host_against_gzip = Comparison("its seconds on the host", old, 1 / 4)
        self.against_bare = Comparison("fab backup.postgres", bare, 1.2)
        self.host_against_bare = Comparison("its seconds on the host", bare, 1.2)
        self.restored = Comparison("fab restore.postgres", "createdb, bare pg_restore -j2", 1.2)
        self.window = Limit("restore: without service", 1.0, "s")

    @property
    def rows(self) -> list[Comparison | Limit]:
        """What was measured."""
        return [
            self.against_gzip, self.host_against_gzip, self.against_bare, self.host_against_bare, self.restored,
            self.window,
        ]  # fmt: skip

    def round(self) -> None:
        """Everything once, ours and theirs in turn."""
        ground = self.ground
        ground.quiet()
        ours = ground.fab("backup.postgres")
        manifest = ground.newest()
        ground.quiet()
        dump = f"docker exec {ground.server} pg_dump -U {USER} {DATABASE}"
        old = ground.timed(f"{dump} | gzip > {OLD}/dump.sql.gz")
        ground.quiet()
        bare = ground.bare(f"pg_dump -Fd -j2 -Z zstd:1 -f /bare/dump {DATABASE}")
        ground.bare("rm -r /bare/dump")
        for mine, theirs, row in (
            (ours.seconds, old, self.against_gzip),
            (manifest["seconds"], old, self.host_against_gzip),
            (ours.seconds, bare, self.against_bare),
            (manifest["seconds"], bare, self.host_against_bare),
        ):
            row.pairs.append((mine, theirs))
        ground.quiet()
        restored = ground.fab("restore.postgres", "--file", "latest", "--yes")
        self.window.values.append(restored.told["window"])
        [archive] = [each["directory"] for each in manifest["databases"] if each["name"] == DATABASE]
        ground.quiet()
        theirs = ground.bare(f"createdb bare && pg_restore -j2 -d bare /in/{manifest['id']}/{archive}")
        self.restored.pairs.append((restored.seconds, theirs))
        ground.bare("dropdb bare")


def peaks(ground: Ground, work: Path) -> dict[str, float]:
    """The peak of each of our processes in MB, by what was done."""
    made = ground.fab("backup.postgres", watched=True)
    restored = ground.fab("restore.postgres", "--file", "latest", "--yes", watched=True)
    pulled = ground.fab("backup.pull", "--to", str(work / "pulled"), watched=True)
    local = work / "dump.sql"
    transfer.download_dump(ground, local)
    sent = ground.fab("restore.postgres", "--file", str(local), "--yes", watched=True)
    found = {}
    for what, each in (("backup", made), ("restore", restored), ("pull", pulled), ("upload and restore of it", sent)):
        found[f"{what}, fab"] = each.here
        found[f"{what}, host program"] = each.there
    return found


def main(number: int, rounds: int, scale: int) -> int:
    """Measure, print the table; 1 when a target was missed."""
    ground = Ground(number)
    before = ground.ids()
    try:
        with tempfile.TemporaryDirectory() as directory:
            rows = _measured(ground, Path(directory), rounds, scale)
    finally:
        ground.end()
        ground.forget(set(ground.ids()) - set(before))
    print(f"\n{table(rows)}")
    missed = [row.what for row in rows if not row.met]
    print(
        f"\n{len(rows) - len(missed)} of {len(rows)} targets met" + (f"; MISSED: {'; '.join(missed)}" if missed else "")
    )
    return 1 if missed else 0


def _measured(ground: Ground, work: Path, rounds: int, scale: int) -> list[Comparison | Limit | Peak]:
    ground.begin()
    print(f"Backups on {ground.alias}, {os.cpu_count()} cores, load average {load()} at the start.", flush=True)
    ground.fill(LITTLE)
    little = peaks(ground, work / "little")
    size = ground.fill(scale)
    print(f"pgbench -i -s {scale}: a database of {size / 1e6:,.0f} MB; little data are -s {LITTLE}.", flush=True)
    dumps = Dumps(ground)
    _repeat("dumps", rounds, dumps.round)
    ground.noise(NOISE)
    much = peaks(ground, work / "much")
    sent = transfer.Transfers(ground, work)
    print(f"Transfers: {sent.described}", flush=True)
    _repeat("transfers", rounds, sent.round)
    return [*dumps.rows, *sent.rows, *(Peak(what, MEMORY, little[what], much[what]) for what in little)]


def _repeat(what: str, rounds: int, body: Callable[[], None]) -> None:
    for number in range(1, rounds + 1):
        before = load()
        body()
        print(f"{what}, round {number} of {rounds}: load average {before} before, {load()} after", flush=True)
