"""Mozilla's HTTP Observatory: what the site tells browsers."""

from __future__ import annotations

import json

from tests.audit import tools
from tests.audit.conftest import Target
from tests.audit.scores import Scores

WANTED = 125


def test_the_score_of_the_site(target: Target, scores: Scores) -> None:
    done = tools.run("node", f"{tools.OBSERVATORY}/src/scan.js", target.site, seconds=60, names=target.names)
    told = json.loads(done.output)
    assert "scan" in told, done.output
    lacking = {
        f"{name}: {test['result']} ({test['scoreModifier']:+d})"
        for name, test in told["tests"].items()
        if not test["pass"] or test["scoreModifier"] < 0
    }
    scores.add(
        "Observatory", tools.version("@mdn/mdn-http-observatory"), "headers of the site",
        result=f"{told['scan']['grade']}, {told['scan']['score']}, {told['scan']['testsFailed']} tests failed",
        target=f"A+, {WANTED}, 0 tests failed",
    )  # fmt: skip
    assert lacking == set()
    assert told["scan"]["testsPassed"] == told["scan"]["testsQuantity"] >= 10
    assert (told["scan"]["grade"], told["scan"]["score"] >= WANTED) == ("A+", True)
