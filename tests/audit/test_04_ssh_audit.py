"""ssh-audit: its policy for a hardened server of this release, and what it thinks of each algorithm."""

from __future__ import annotations

import json

from tests.audit import tools
from tests.audit.conftest import Target
from tests.audit.scores import Scores

POLICY = "Hardened Debian 13 (version 1)"
TOOL = "/opt/ssh-audit/bin/ssh-audit"
# its test of connection rates opens hundreds: sshd then shuts its address out, as it should
QUIET = "--skip-rate-test"


def test_its_policy_passes_and_no_algorithm_is_marked(target: Target, scores: Scores) -> None:
    judged = tools.run(TOOL, QUIET, "-n", "-P", POLICY, target.address, seconds=60)
    told = tools.run(TOOL, QUIET, "-j", target.address, seconds=60)
    document = json.loads(told.output)
    offered = [item for kind in ("kex", "key", "enc", "mac") for item in document[kind]]
    marked = {item["algorithm"]: item["notes"] for item in offered if item["notes"].keys() & {"warn", "fail"}}
    passed = "Passed" in judged.output
    scores.add(
        "ssh-audit", tools.version("ssh-audit"), f"sshd, by the policy {POLICY}",
        result=f"{'passed' if passed else 'failed'}, {len(marked)} of {len(offered)} algorithms marked",
        target="passed, 0 marked",
    )  # fmt: skip
    assert len(offered) >= 8, told.output
    assert marked == {}
    assert (passed, judged.status) == (True, 0), judged.output
    assert document["cves"] == []
