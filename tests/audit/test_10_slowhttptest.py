"""slowhttptest: 300 clients that never come to an end, and the site serves all the while: them and somebody else."""

from __future__ import annotations

import csv
import statistics
import threading
import time
from pathlib import Path

import pytest

from tasks.core.visit import Visitor
from tests.audit import tools
from tests.audit.conftest import Target
from tests.audit.scores import Scores

CONNECTIONS = 300
SECONDS = 30
PATIENCE = 3  # seconds after which the site counts as away
ATTACKS = {
    "slow headers": ["-H"],
    "slow bodies": ["-B", "-t", "POST", "-s", "8192"],
    "slow readers": ["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"],
}


class SomebodyElse:
    """Asks for the page all the time, from another address: to slowhttptest a refusal is an answer as well."""

    def __init__(self, target: Target) -> None:
        self.visitor, self.url = Visitor(target.address, tools.CA), f"https://{target.site}/"
        self.seen: list[tuple[int, float]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> SomebodyElse:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._end.wait(0.5):
            began = time.monotonic()
            self.seen.append((self.visitor.get(self.url).status, time.monotonic() - began))


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_site_is_available_throughout(target: Target, scores: Scores, out: Path, attack: str) -> None:
    with SomebodyElse(target) as other:
        done = tools.run(
            "slowhttptest", *ATTACKS[attack], "-c", str(CONNECTIONS), "-r", "100", "-i", "10", "-x", "24",
            "-p", str(PATIENCE), "-l", str(SECONDS), "-g", "-o", "/out/slow", "-u", f"https://{target.site}/",
            seconds=SECONDS + 20, names=target.names, mounts={out: "/out"},
        )  # fmt: skip
    assert (out / "slow.csv").exists(), done.output[-2000:]
    with (out / "slow.csv").open() as file:
        rows = [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]
    most = max(row["Connected"] for row in rows)
    away = [row["Seconds"] for row in rows if not row["Service Available"]]
    available = "available throughout" if not away else f"away at second {away[0]}"
    scores.add(
        "slowhttptest", tools.version("slowhttptest"), f"{CONNECTIONS} {attack}",
        result=f"{available}, over after {rows[-1]['Seconds']} s",
        target="available throughout",
    )  # fmt: skip
    assert most >= CONNECTIONS * 0.9, f"only {most} connections were ever open"
    assert away == []
    assert len(other.seen) >= 10
    assert {status for status, _ in other.seen} == {200}
    # one answer may be late on a busy machine; none as late as slowhttptest itself calls away
    waits = [seconds for _, seconds in other.seen]
    assert statistics.median(waits) < 1
    assert max(waits) < PATIENCE
