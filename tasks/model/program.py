"""The host program as one file: a zipapp of files/host/, the same bytes for the same sources."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

_SOURCES = Path(__file__).parents[2] / "files" / "host"
_SHEBANG = b"#!/usr/bin/python3 -I\n"  # -I: neither the user's environment nor the directory decides what is imported
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format knows nothing earlier
_ENTRY = "import sys\n\nfrom host.cli import main\n\nsys.exit(main())\n"


def archive(config: Mapping[str, object], sources: Path = _SOURCES) -> bytes:
    """The zipapp with `config` as its config.json. Order, times, modes and compression do not depend on the machine."""
    files = {f"host/{path.relative_to(sources).as_posix()}": path.read_bytes() for path in sources.rglob("*.py")}
    files["__main__.py"] = _ENTRY.encode()
    files["host/config.json"] = json.dumps(config, indent=1, sort_keys=True).encode() + b"\n"
    out = io.BytesIO()
    out.write(_SHEBANG)
    # Stored, not deflated: compressed bytes differ between versions of zlib, and start-up is faster.
    with zipfile.ZipFile(out, "a", zipfile.ZIP_STORED) as bundle:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            bundle.writestr(entry, files[name])
    return out.getvalue()


def build(app: str, root: str | None = None) -> bytes:
    """The program for application `app`, whose files are below `root` on the host (default /opt/<app>)."""
    return archive({"app": app, "root": root or f"/opt/{app}"})


def digest(program: bytes) -> str:
    """sha256 of the program in hexadecimal: what the host's `status` reports as "program"."""
    return hashlib.sha256(program).hexdigest()
