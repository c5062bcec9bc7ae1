"""wapiti: the demo application through the edge, with every module that needs nobody outside."""

from __future__ import annotations

import json
from pathlib import Path

from tests.audit import tools
from tests.audit.conftest import Target
from tests.audit.scores import Scores

MODULES = (
    "backup", "crlf", "csrf", "exec", "file", "htaccess", "ldap", "methods", "permanentxss", "redirect", "shellshock",
    "sql", "timesql", "upload", "xss",
)  # fmt: skip
STARTS = ("/", "/api/version", "/api/visits", "/health", "/?q=1&next=/")


def test_no_vulnerability_and_no_anomaly(target: Target, unlimited: None, scores: Scores, out: Path) -> None:
    starts = [word for path in STARTS for word in ("-s", f"https://{target.site}{path}")]
    done = tools.run(
        "env", "HOME=/tmp", "/opt/wapiti3/bin/wapiti", "-u", f"https://{target.site}/", "--scope", "domain", *starts,
        "-m", ",".join(MODULES), "--verify-ssl", "1", "--no-bugreport", "--flush-session",
        "--max-scan-time", "60", "--max-attack-time", "45", "-f", "json", "-o", "/out/report.json",
        seconds=540, names=target.names, mounts={out: "/out"},
    )  # fmt: skip
    assert (out / "report.json").exists(), done.output[-2000:]
    told = json.loads((out / "report.json").read_text())
    found = {
        f"{kind}: {item['info']} at {item['path']}"
        for part in ("vulnerabilities", "anomalies")
        for kind, items in told[part].items()
        for item in items
    }
    scores.add(
        "wapiti", tools.version("wapiti3"), f"the site, {told['infos']['crawled_pages_nbr']} addresses",
        result=f"{len(found)} findings", target="0 findings",
    )  # fmt: skip
    launched = {name for name in MODULES if f"Launching module {name}" in done.output}
    assert launched == set(MODULES), done.output[-3000:]
    assert "Traceback" not in done.output, done.output[-3000:]
    assert told["infos"]["crawled_pages_nbr"] >= 8
    assert found == set()
