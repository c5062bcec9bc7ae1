"""How fast backups and restores are, against the plain tools on the same data, and what memory they take.

Everything is measured in one run, ours and the reference in turn; what counts is the median of the rounds' ratios.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from tests.bench import transfer
from tests.bench.compared import Comparison, Limit, Peak, table
from tests.bench.ground import DATABASE, OLD, USER, Ground, load

MEMORY = 64.0  # MB
LITTLE = 7  # pgbench's scale of the small database
NOISE = 256  # MB


class Dumps:
    """The backup of a database, `data` says of which."""

    def __init__(self, ground: Ground, data: str) -> None:
        self.ground = ground
        old, bare = "docker exec pg_dump \\| gzip", "bare pg_dump -Fd -j2 -Z zstd:1"
        whole, host = f"fab backup.postgres, {data}", f"its seconds on the host, {data}"
        self.against_gzip, self.host_against_gzip = Comparison(whole, old, 1 / 4), Comparison(host, old, 1 / 4)
        self.against_bare, self.host_against_bare = Comparison(whole, bare, 1.2), Comparison(host, bare, 1.2)

    @property
    def rows(self) -> list[Comparison]:
        """What was measured."""
        return [self.against_gzip, self.host_against_gzip, self.against_bare, self.host_against_bare]

    @property
    def reach(self) -> float:
        """How much faster than gzip the bare dump is, which does nothing but dump: the median of the rounds."""
        return statistics.median(
            old / bare for (_, old), (_, bare) in zip(self.against_gzip.pairs, self.against_bare.pairs, strict=True)
        )

    def round(self) -> None:
        """Once ours, once each of the others."""
        ground = self.ground
        ground.quiet()
        ours = ground.fab("backup.postgres").seconds
        host = ground.newest()["seconds"]
        ground.quiet()
        dump = f"docker exec {ground.server} pg_dump -U {USER} {DATABASE}"
        old = ground.timed(f"{dump} | gzip > {OLD}/dump.sql.gz")
        ground.quiet()
        bare = ground.bare(f"pg_dump -Fd -j2 -Z zstd:1 -f /bare/dump {DATABASE}")
        ground.bare("rm -r /bare/dump")
        self.against_gzip.pairs.append((ours, old))
        self.host_against_gzip.pairs.append((host, old))
        self.against_bare.pairs.append((ours, bare))
        self.host_against_bare.pairs.append((host, bare))


class Restores:
    """The restore of the newest backup."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.restored = Comparison("fab restore.postgres", "createdb, bare pg_restore -j2", 1.2)
        self.window = Limit("restore: without service", 1.0, "s")

    @property
    def rows(self) -> list[Comparison | Limit]:
        """What was measured."""
        return [self.restored, self.window]

    def round(self) -> None:
        """Once ours, once theirs of the same archive."""
        ground, manifest = self.ground, self.ground.newest()
        ground.quiet()
        ours = ground.fab("restore.postgres", "--file", "latest", "--yes")
        self.window.values.append(ours.told["window"])
        [archive] = [each["directory"] for each in manifest["databases"] if each["name"] == DATABASE]
        ground.quiet()
        theirs = ground.bare(f"createdb bare && pg_restore -j2 -d bare /in/{manifest['id']}/{archive}")
        self.restored.pairs.append((ours.seconds, theirs))
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
    plain, restores, noisy = Dumps(ground, "pgbench"), Restores(ground), Dumps(ground, f"pgbench and {NOISE} MB noise")
    _repeat("dumps and restores", rounds, plain, restores)
    ground.noise(NOISE)
    _repeat("dumps with noise", rounds, noisy)
    much = peaks(ground, work / "much")
    sent = transfer.Transfers(ground, work)
    print(f"Transfers: {sent.described}", flush=True)
    _repeat("transfers", rounds, sent)
    reach = f"{plain.reach:.1f} times as fast as gzip; {noisy.reach:.1f} with noise"
    print(f"The bare dump, which proves nothing, is {reach}.")
    memory = [Peak(what, MEMORY, little[what], much[what]) for what in little]
    return [*plain.rows, *noisy.rows, *restores.rows, *sent.rows, *memory]


def _repeat(what: str, rounds: int, *bodies: Dumps | Restores | transfer.Transfers) -> None:
    """So many rounds of each, one after the other; what a round found is told at once, should a later one fail."""
    for number in range(1, rounds + 1):
        before = load()
        for body in bodies:
            body.round()
        print(f"{what}, round {number} of {rounds}: load average {before} before, {load()} after", flush=True)
        for row in [row for body in bodies for row in body.rows]:
            print(f"  {row.latest}", flush=True)
