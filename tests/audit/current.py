"""Whether the recorded scores are those of what is in the checkout.

`python -m tests.audit.current` says so by its exit code, 0 or 1. Standard library only.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

from tests.lab import content

ROOT = Path(__file__).resolve().parents[2]
SCORES = ROOT / "docs" / "reference" / "scores.md"
JUDGED = ("files", "tests/audit", "tasks/model/provision")
_DIGEST = re.compile(r"^<!-- digest: ([0-9a-f]{64}) -->$", re.MULTILINE)


def digest(root: Path = ROOT) -> str:
    """Over what the scanners judge and how: the bundle, the hardening, the scanners and their targets."""
    parts = (f"{name} {content.digest(root / name, {}, ())}\n" for name in JUDGED)
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def line(value: str) -> str:
    """How the digest is written into the scores."""
    return f"<!-- digest: {value} -->"


def recorded(scores: Path = SCORES) -> str | None:
    """The digest in the scores, None when there are none."""
    found = _DIGEST.search(scores.read_text()) if scores.is_file() else None
    return found[1] if found else None


def main() -> int:
    """Say whether the scores are current."""
    if recorded() == digest():
        print("docs/reference/scores.md: the scores of what is here")
        return 0
    print("docs/reference/scores.md: the scores of something else than what is here (`make audit`)")
    return 1


if __name__ == "__main__":
    sys.exit(main())
