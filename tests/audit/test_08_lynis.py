"""Lynis: the host as it is inside. It is shell scripts only: they are laid into the host and taken away again."""

from __future__ import annotations

import re
import subprocess

from tests.audit import tools
from tests.audit.conftest import Target
from tests.audit.scores import Scores

WANTED = 80
AT = "/run/audit-lynis"
SECONDS = 240
PACK = """
mkdir /pack && cp -a /usr/share/lynis/include /usr/share/lynis/db /usr/sbin/lynis /etc/lynis/default.prf /pack/
mkdir -p /pack/plugins && tar -C /pack -c .
"""
UNPACK = f"rm -rf {AT} && mkdir -m 0700 {AT} && tar -C {AT} -x"
AUDIT = (
    f"cd {AT} && timeout {SECONDS} ./lynis audit system --quick --quiet --no-colors"
    f" --logfile {AT}/log --report-file {AT}/report"
)


def test_the_hardening_index_and_no_warning(target: Target, scores: Scores) -> None:
    words = ["docker", "run", "--rm", "--network", "none", tools.IMAGE.local, "sh", "-c", PACK]
    pack = subprocess.run(words, capture_output=True, check=True, timeout=60).stdout
    enter = ["docker", "exec", "-i", target.container, "sh", "-c"]
    try:
        subprocess.run([*enter, UNPACK], input=pack, capture_output=True, check=True, timeout=60)
        # its exit code counts warnings and suggestions; what it found is in the report
        subprocess.run(
            [*enter, AUDIT], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=SECONDS + 60
        )
        report = target.inside("cat", f"{AT}/report")
    finally:
        target.inside("rm", "-rf", AT)
    told = re.search(r"^hardening_index=(\d+)$", report, re.M)
    assert told, report[-2000:]
    warnings = re.findall(r"^warning\[\]=(.*)$", report, re.M)
    suggestions = re.findall(r"^suggestion\[\]=([A-Z]+-\d+)", report, re.M)
    scores.add(
        "Lynis", tools.version("lynis"), "the host, hardened, without audit daemon, scanners and file integrity tools",
        result=f"{told[1]}, {len(warnings)} warnings",
        target=f"{WANTED}, 0 warnings",
        deviations=[f"suggestions that stay: {', '.join(sorted(set(suggestions)))}"],
    )  # fmt: skip
    assert warnings == []
    assert int(told[1]) >= WANTED
