"""`make demo`: a bare host in the lab becomes a production server, with the same commands a real one would get."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS = (
    ("A bare Debian host, a registry and a certificate authority", "lab.up"),
    ("From bare to ready", "setup -H lab --yes"),
    ("From ready to serving", "deploy -H lab --yes"),
    ("Is it healthy?", "health -H lab"),
)


def main() -> int:
    """Run the steps; return the exit code of the first that fails, 0 when all went well."""
    begun = time.monotonic()
    for title, command in STEPS:
        print(f"\n== {title}: fab {command}", flush=True)
        status = subprocess.run([ROOT / ".venv/bin/fab", *command.split()], cwd=ROOT, check=False).returncode
        if status:
            print(f"\nThe demo stopped at `fab {command}` (exit code {status}).", file=sys.stderr)
            return status
    print(f"\nDone in {time.monotonic() - begun:.0f} s. What is running, on this machine only:")
    print("  https://maicivy.lab.test             the site         } at 172.31.213.11, trusted by .lab/ca.pem:")
    print("  https://analytics.maicivy.lab.test   the dashboards   }")
    print("  curl --cacert .lab/ca.pem --resolve maicivy.lab.test:443:172.31.213.11 https://maicivy.lab.test/health")
    print("  .venv/bin/fab health -H lab          .venv/bin/fab deploy -H lab")
    print("  .venv/bin/fab lab.down               takes it all away again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
