"""Several hosts, one after the other: a bad version reaches the first alone."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.e2e.world import FAB, ROOT, SITE, Project, Watch, audit, containers, current, touched, visit
from tests.lab import up as lab_up

SECOND = "lab-vps2"


@pytest.fixture(scope="module")
def two(ground: Project, deployed: Watch) -> Project:
    """A second host, set up and with the same release as the first."""
    subprocess.run([FAB, "lab.up", "--hosts", "2"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    for name in ("ssh_config", "known_hosts"):
        (ground.root / ".lab" / name).write_text((ROOT / ".lab" / name).read_text())
    ground.fab("setup", "-H", "lab2", "--yes", timeout=900)
    lab_up.dns(2)  # the certificate authority looks for the site there
    try:
        ground.fab("deploy", "-H", "lab2", "--yes", timeout=900)
    finally:
        lab_up.dns(1)
    return ground


def versions() -> list[str]:
    return [visit(f"https://{SITE}/health", number).headers["x-app-version"] for number in (1, 2)]


def test_a_version_that_fails_on_the_first_host_does_not_reach_the_second(two: Project) -> None:
    assert versions() == ["1.0.0", "1.0.0"]
    releases = current(), current(host=SECOND)
    before, entries = containers(host=SECOND), len(audit(host=SECOND))
    two.version("2.0.0-broken", "1.0.0")
    two.set(HEALTH_TIMEOUT="15")
    done = two.fab("deploy", "-H", "lab,lab2", "--rolling", "1", "--yes", expect=9)
    assert versions() == ["1.0.0", "1.0.0"]
    assert (current(), current(host=SECOND)) == releases
    assert containers(host=SECOND) == before
    assert len(audit(host=SECOND)) == entries, "nothing was begun there"
    end = "\n".join((done.stdout + done.stderr).strip().splitlines()[-6:])
    for host, release in zip(("lab", "lab2"), releases, strict=True):
        assert re.search(rf"\b{host}\b.*{release}", end), (
            f"the end says what runs on {host}:\n{done.stdout}\n{done.stderr}"
        )


def test_a_good_version_goes_to_one_after_the_other(two: Project) -> None:
    two.version("1.1.0")
    two.set(HEALTH_TIMEOUT="120")
    before = containers()
    two.fab("deploy", "-H", "lab,lab2", "--rolling", "1", "--yes", timeout=900)
    assert versions() == ["1.1.0", "1.1.0"]
    assert touched(before) == {"backend": "switched", "frontend": "switched"}
    first, second = audit()[-1], audit(host=SECOND)[-1]
    assert (first["result"], second["result"]) == ("done", "done")
    assert first["end"] <= second["start"], "the second began when the first was through"
