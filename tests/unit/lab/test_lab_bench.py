"""What the benchmark of backups makes of its figures, and how it sees the memory of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import backups, peak
from tests.bench.compared import Comparison, Limit, Peak, table


def test_the_median_of_the_rounds_decides_and_not_the_best() -> None:
    row = Comparison("ours", "theirs", 1.2, [(1.0, 1.0), (1.3, 1.0), (1.4, 1.0)])
    assert not row.met
    assert "1.30 | at most 1.2 times as long | **MISSED** |" in table([row])
    row.pairs[1] = (1.1, 1.0)
    assert row.met


def test_faster_means_faster_by_as_much_as_was_promised() -> None:
    row = Comparison("ours", "theirs", 1 / 4, [(1.0, 3.9)])
    assert not row.met
    assert "3.90x as fast | at least 4 times as fast | **MISSED** |" in table([row])
    assert Comparison("ours", "theirs", 1 / 4, [(1.0, 4.1)]).met


def test_one_round_over_a_limit_is_over_it() -> None:
    assert Limit("window", 1.0, "s", [0.4, 0.5]).met
    assert not Limit("window", 1.0, "s", [0.4, 1.0, 0.5]).met


@pytest.mark.parametrize(("little", "much", "met"), [(30, 31, True), (30, 39, False), (63, 65, False), (0, 31, False)])
def test_memory_is_below_its_limit_and_does_not_grow_with_the_data(little: float, much: float, met: bool) -> None:
    assert Peak("backup", 64, little, much).met is met


def test_what_was_not_measured_is_not_met() -> None:
    rows = [Comparison("ours", "theirs", 1.2), Limit("window", 1.0, "s")]
    assert not any(row.met for row in rows)
    assert table(rows).count("**MISSED**") == 2


def test_each_round_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Part:
        rows = (Comparison("ours", "theirs", 1.2), Limit("window", 1.0, "s"))

        def round(self) -> None:
            self.rows[0].pairs.append((len(self.rows[0].pairs) + 1.0, 4.0))
            self.rows[1].values.append(0.25)

    backups._repeat("parts", 2, Part())  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert said.count("load average") == 2
    assert said.index("ours 1.00 s, theirs 4.00 s") < said.index("round 2 of 2") < said.index("ours 2.00 s")
    assert said.count("window 0.25 s") == 2


_EATER = "import time; block = b'x' * ({megabytes} << 20); del block; print(flush=True); time.sleep(60)"


def eater(megabytes: int, name: str = "eater") -> subprocess.Popen[bytes]:
    """A process that had so much memory and gave it back."""
    child = subprocess.Popen([sys.executable, "-c", _EATER.format(megabytes=megabytes), name], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    return child


def test_the_peak_counts_what_was_given_back_and_nothing_of_others(tmp_path: Path) -> None:
    big, small = eater(96, f"{tmp_path}-big"), eater(1, f"{tmp_path}-small")
    try:
        watch = peak.Watch(small.pid)
        words = [sys.executable, "-c", Path(peak.__file__).read_text(), f"{tmp_path}-big"]
        remote = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            remote.wait(0.5)
        assert 96 * 1024 < int(remote.communicate()[0]) < 160 * 1024
        assert 0 < watch.kilobytes < 48 * 1024
    finally:
        for child in (big, small):
            child.kill()
            child.wait()
