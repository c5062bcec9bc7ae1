"""slowhttptest: 300 clients that never come to an end, and the site serves all the while."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.audit import tools
from tests.audit.conftest import Target
from tests.audit.scores import Scores

CONNECTIONS = 300
SECONDS = 40
ATTACKS = {
    "slow headers": ["-H"],
    "slow bodies": ["-B", "-t", "POST", "-s", "8192"],
    "slow readers": ["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_site_is_available_throughout(target: Target, scores: Scores, out: Path, attack: str) -> None:
    done = tools.run(
        "slowhttptest", *ATTACKS[attack], "-c", str(CONNECTIONS), "-r", "100", "-i", "10", "-x", "24", "-p", "3",
        "-l", str(SECONDS), "-g", "-o", "/out/slow", "-u", f"https://{target.site}/",
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
