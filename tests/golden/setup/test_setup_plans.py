"""Facts of a host in, the exact steps of `fab setup` out."""

from __future__ import annotations

from pathlib import Path

import pytest
from setup_cases import CASES, outcome, read


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_plan_is_exactly_the_recorded_one(path: Path) -> None:
    case = read(path)
    expected = {name: case[name] for name in ("refused", "remarks", "steps") if name in case}
    assert outcome(case) == expected


def test_every_supported_system_has_a_case_for_each_source_of_docker() -> None:
    covered = {(read(path)["facts"][:9], read(path).get("wanted", {}).get("docker_source", "distribution")) for path in CASES}
    systems = {"debian-12", "debian-13", "ubuntu-22", "ubuntu-24"}
    assert covered >= {(system, source) for system in systems for source in ("distribution", "docker")}


def test_a_host_where_everything_holds_has_an_empty_plan() -> None:
    done = [read(path) for path in CASES if path.stem.startswith("nothing-to-do")]
    assert done
    assert all(case["steps"] == [] for case in done)
