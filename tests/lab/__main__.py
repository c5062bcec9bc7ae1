"""The lab without Fabric: `python -m tests.lab up|down|status|dns`."""

from __future__ import annotations

import argparse
import json
import sys

from . import up as lab
from .docker import LabError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring it up")
    up.add_argument("--hosts", type=int, default=1)
    up.add_argument("--fresh", action="store_true", help="make host 1 anew, bare")
    down = commands.add_parser("down", help="remove it")
    down.add_argument("--images", action="store_true", help="and the images and caches")
    status = commands.add_parser("status", help="what there is")
    status.add_argument("--json", action="store_true")
    dns = commands.add_parser("dns", help="point every name at host N")
    dns.add_argument("number", type=int)
    given = parser.parse_args()
    try:
        if given.command == "up":
            lab.up(given.hosts, given.fresh)
        elif given.command == "down":
            lab.down(given.images)
        elif given.command == "dns":
            lab.dns(given.number)
        else:
            found = lab.status()
            print(json.dumps(found) if given.json else lab.status_text(found))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
