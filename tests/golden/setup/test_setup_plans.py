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
    cases = [read(path) for path in CASES if path.stem.startswith("bare-")]
    covered = {(case["facts"].split("-bare-")[0], case.get("wanted", {}).get("docker_source")) for case in cases}
    systems = ("debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04")
    assert covered == {(system, source) for system in systems for source in (None, "docker")}


def test_a_host_where_everything_holds_has_an_empty_plan() -> None:
    done = [read(path) for path in CASES if path.stem.startswith("nothing-to-do")]
    assert done
    assert all(case["steps"] == [] for case in done)
