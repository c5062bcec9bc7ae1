"""Start: read the settings, check the provisioning, serve. What Grafana would refuse ends it with status 1."""

from __future__ import annotations

import os
import signal
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

from . import provisioning, settings, web


def main() -> int:
    version = os.environ.get("LAB_STANDS_FOR", "unknown")
    print(f'logger=stand-in msg="THIS IS NOT GRAFANA: the lab\'s stand-in for grafana/grafana {version}"', flush=True)
    try:
        found = settings.read(os.environ)
    except settings.SettingsError as error:
        print(f"logger=settings level=error msg={str(error)!r}", file=sys.stderr)
        return 1
    data = Path(found.get("GF_PATHS_DATA", "/var/lib/grafana"))
    try:
        (data / "stand-in.db").write_text("This is not Grafana's database.\n")
    except OSError as error:
        print(f"GF_PATHS_DATA='{data}' is not writable: {error.strerror}", file=sys.stderr)
        return 1
    provisioned = provisioning.load(Path(found.get("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning")))
    for problem in provisioned.problems:
        print(f"logger=provisioning level=error msg={problem!r}", file=sys.stderr)
    if provisioned.problems:
        return 1
    print(
        f"logger=provisioning data_sources={len(provisioned.datasources)} dashboards={len(provisioned.dashboards)}",
        flush=True,
    )
    answers = web.handler(
        provisioned,
        version,
        found.get("GF_SECURITY_ADMIN_USER", "admin"),
        found.get("GF_SECURITY_ADMIN_PASSWORD", "admin"),
    )
    server = ThreadingHTTPServer(("0.0.0.0", int(found.get("GF_SERVER_HTTP_PORT", "3000"))), answers)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.2)
    return 0


sys.exit(main())
