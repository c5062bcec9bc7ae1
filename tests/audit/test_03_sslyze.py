"""sslyze against Mozilla's intermediate guideline, and sslscan for a second opinion on protocols and ciphers."""

from __future__ import annotations

import re

import pytest

from tests.audit import tools
from tests.audit.conftest import Target
from tests.audit.scores import Scores


@pytest.mark.parametrize("which", ["site", "grafana"])
def test_it_complies_with_mozillas_intermediate_guideline(target: Target, scores: Scores, which: str) -> None:
    done = tools.run(
        "/opt/sslyze/bin/sslyze", "--certinfo_ca_file", "/ca.pem", "--sni", getattr(target, which),
        "--mozilla_config", "intermediate", f"{target.address}:443",
        seconds=120,
    )  # fmt: skip
    verdict = done.output.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2]
    told = re.search(rf"{re.escape(target.address)}:443: (\S+ - .*)", verdict)
    assert told, done.output[-2000:]
    scores.add(
        "sslyze", tools.version("sslyze"), f"TLS of {'the site' if which == 'site' else 'the dashboards'}",
        result=told[1].strip(" ."), target="OK - Compliant (Mozilla, intermediate)",
    )  # fmt: skip
    assert (told[1].startswith("OK - Compliant"), done.status) == (True, 0), verdict


def test_only_tls_1_2_and_1_3_with_six_ciphers_at_most(target: Target, scores: Scores) -> None:
    words = ["sslscan", "--no-colour", f"--sni-name={target.site}", f"{target.address}:443"]
    done = tools.run(*words, seconds=120)
    protocols = re.findall(r"^((?:SSL|TLS)v\S+) +enabled", done.output, re.M)
    ciphers = re.findall(r"^(?:Preferred|Accepted) +TLSv1\.2 +\d+ bits +(\S+)", done.output, re.M)
    scores.add(
        "sslscan", tools.version("sslscan"), "TLS of the site",
        result=f"{', '.join(protocols)}; {len(ciphers)} ciphers below 1.3",
        target="TLSv1.2, TLSv1.3; 6 ciphers below 1.3 at most",
    )  # fmt: skip
    assert protocols == ["TLSv1.2", "TLSv1.3"]
    assert 1 <= len(ciphers) <= 6
    assert all(re.fullmatch(r"ECDHE-\w+-(AES\d+-GCM-SHA\d+|CHACHA20-POLY1305)", cipher) for cipher in ciphers), ciphers
