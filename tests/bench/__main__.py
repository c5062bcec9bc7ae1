"""`make bench`: what the toolkit costs, measured in the lab of `make demo`. Alone: `python -m tests.bench backups`."""

from __future__ import annotations

import argparse
import sys

from tests.bench import backups, distance
from tests.lab import names


def main() -> int:
    """Measure the parts that are named, or all; 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="distance|backups", help="without: both")
    parser.add_argument("--number", type=int, default=1, help="backups: of this host of the lab (1 is `-H lab`)")
    parser.add_argument("--rounds", type=int, default=3, help="backups: how often everything is measured")
    parser.add_argument("--scale", type=int, default=70, help="backups: of pgbench's data; 70 is 1 GB")
    given = parser.parse_args()
    if unknown := set(given.parts) - {"distance", "backups"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if not (names.STATE / "ssh_config").is_file():
        raise SystemExit("the lab is not up. Next: make demo")
    status = 0
    if "distance" in (given.parts or ["distance"]):
        status |= distance.main()
    if "backups" in (given.parts or ["backups"]):
        status |= backups.main(given.number, given.rounds, given.scale)
    return status


if __name__ == "__main__":
    sys.exit(main())
