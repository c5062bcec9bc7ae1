"""nmap: every TCP port of the host, from outside, over both families."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.audit import tools
from tests.audit.conftest import Target
from tests.audit.scores import Scores

OPEN = {22, 80, 443}
SECONDS = 300
FAMILIES = ("IPv4", "IPv6")


@pytest.fixture(scope="module")
def scans(target: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, str]]:
    """What each family shows: the state of every port that does not stay silent, and -1 for how many do."""

    def scan(family: str) -> dict[int, str]:
        out: Path = tmp_path_factory.mktemp(family)
        at = ["-6", target.address6] if family == "IPv6" else [target.address]
        # a few thousand packets a second, each lost one sent again twice: the way is a bridge of this machine
        pace = ["-T4", "--min-rate", "1500", "--max-retries", "2", "--host-timeout", f"{SECONDS - 20}s"]
        done = tools.run(
            "nmap", "-Pn", "-n", "-p-", *pace, "-oX", "/out/nmap.xml", *at, seconds=SECONDS, mounts={out: "/out"}
        )
        assert done.status == 0, done.output
        host = ElementTree.parse(out / "nmap.xml").find("host")
        assert host is not None and host.get("timedout") != "true", done.output
        found = {int(port.get("portid", 0)): port.find("state").get("state", "") for port in host.iter("port")}  # type: ignore[union-attr]
        silent = sum(int(extra.get("count", 0)) for extra in host.iter("extraports"))
        assert len(found) + silent == 65535, done.output
        return found

    with ThreadPoolExecutor() as pool:
        return dict(zip(FAMILIES, pool.map(scan, FAMILIES), strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_only_ssh_and_the_web_answer(scans: dict[str, dict[int, str]], scores: Scores, family: str) -> None:
    seen = {port for port, state in scans[family].items() if state == "open"}
    scores.add(
        "nmap", tools.version("nmap"), f"all TCP ports over {family}",
        result=f"open: {', '.join(map(str, sorted(seen)))}", target=f"open: {', '.join(map(str, sorted(OPEN)))}",
    )  # fmt: skip
    assert seen == OPEN
