"""testssl.sh: the grade it gives the site's TLS, and every single finding."""

from __future__ import annotations

import json
from pathlib import Path

from tests.audit import tools
from tests.audit.conftest import Target
from tests.audit.scores import Scores

SECONDS = 420
BAD = {"LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL", "WARN"}
MEANT = {
    "cert_revocation": "the lab's test authority, pebble, issues certificates without the address of a list of revoked "
    "ones; Let's Encrypt's have one",
    "cert_expirationStatus": "a certificate of 45 days is what Let's Encrypt is on its way to",
    "cert_notAfter": "a certificate of 45 days is what Let's Encrypt is on its way to",
    "engine_problem": "about testssl's own OpenSSL: it cannot do GOST",
    "sessionresumption_ticket": "testssl's client at times leaves before the ticket of TLS 1.3 comes, and it says so",
}


def test_the_grade_is_the_best_there_is_and_nothing_is_marked(target: Target, scores: Scores, out: Path) -> None:
    done = tools.run(
        # no DNS: the lab's has no CAA records, which are a matter of the zone and not of the host
        "testssl", "--add-ca", "/ca.pem", "--ip", target.address, "--nodns", "none", "--warnings", "off",
        "--jsonfile", "/out/testssl.json", f"{target.site}:443",
        seconds=SECONDS, names=target.names, mounts={out: "/out"},
    )  # fmt: skip
    told = json.loads((out / "testssl.json").read_text())
    by_id = {item["id"]: item["finding"] for item in told}
    assert "overall_grade" in by_id, done.output[-2000:]
    marked = {item["id"]: f"{item['severity']}: {item['finding']}" for item in told if item["severity"] in BAD}
    issuer = by_id.get("cert_caIssuers", "")
    meant = {key: reason for key, reason in MEANT.items() if key != "cert_revocation" or "Pebble" in issuer}
    scores.add(
        "testssl.sh", tools.version("testssl.sh"), "TLS of the site",
        result=f"{by_id['overall_grade']}, {by_id['final_score']} of 100, {len(marked.keys() - meant.keys())} findings",
        target="A+, 96 of 100, 0 findings",
        deviations=[f"{key} ({marked[key]}): {meant[key]}" for key in sorted(marked.keys() & meant.keys())],
    )  # fmt: skip
    assert {key: text for key, text in marked.items() if key not in meant} == {}
    assert by_id["overall_grade"] == "A+"
    assert int(by_id["final_score"]) >= 96
