"""h2load: who asks for more than one address may is told so, and nobody gets an error of the server."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.audit import tools
from tests.audit.conftest import Target
from tests.audit.scores import Scores

REFILL = 35  # seconds until the burst of API_BURST at API_RATE is whole again, with the defaults


def answers(target: Target, out: Path, path: str, requests: int, *flags: str) -> Counter[int]:
    """How many answers of each status so many requests got, over ten connections; -1 for none."""
    words = ["h2load", "-n", str(requests), "-c", "10", "-t", "1", "--log-file", "/out/log", *flags]
    done = tools.run(*words, f"https://{target.site}{path}", seconds=60, names=target.names, mounts={out: "/out"})
    assert re.search(rf"^requests: {requests} total, {requests} started, {requests} done", done.output, re.M), (
        done.output
    )
    return Counter(int(line.split("\t")[1]) for line in (out / "log").read_text().splitlines())


@pytest.mark.parametrize("protocol", ["HTTP/2", "HTTP/1.1"])
def test_beyond_the_limit_it_is_429_and_never_an_error_of_the_server(
    target: Target, scores: Scores, out: Path, protocol: str
) -> None:
    time.sleep(REFILL)
    flags = ["--h1"] if protocol == "HTTP/1.1" else ["-m", "10"]
    seen = answers(target, out, "/api/version", 600, *flags)
    errors = sum(count for status, count in seen.items() if status not in {200, 429})
    scores.add(
        "h2load", tools.version("nghttp2-client"), f"600 requests at once for /api/ over {protocol}",
        result=f"{seen[200]} answered, {seen[429]} refused with 429, {errors} errors",
        target="the burst of 50 answered, the rest refused with 429, 0 errors",
    )  # fmt: skip
    assert errors == 0, seen
    assert 50 <= seen[200] <= 60, "API_BURST and what API_RATE adds meanwhile"
    assert seen[200] + seen[429] == 600


def test_what_has_no_limit_is_answered_whole(target: Target, scores: Scores, out: Path) -> None:
    seen = answers(target, out, "/health", 2000, "-m", "10")
    scores.add(
        "h2load", tools.version("nghttp2-client"), "2000 requests at once for /health, which has no limit",
        result=f"{seen[200]} answered, {2000 - seen[200]} not", target="2000 answered, 0 not",
    )  # fmt: skip
    assert seen == {200: 2000}
