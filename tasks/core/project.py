"""Where the project's own files lie on the workstation: the only place that knows its layout."""

from __future__ import annotations

import getpass
import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "files"


def read_tree(top: Path = FILES) -> dict[str, bytes]:
    """Read the configuration bundle's sources.

    Args:
        top: the directory to read.
    Returns:
        Contents by path relative to `top`, with "/" as separator; compiled Python and the host program are left out.
    Raises:
        OSError: a file cannot be read.
    """
    tree = {}
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top).as_posix()
        if path.is_file() and "__pycache__" not in path.parts and not name.startswith("host/"):
            tree[name] = path.read_bytes()
    return tree


def git_revision(root: Path = ROOT) -> str | None:
    """Return the commit that is checked out, with "-dirty" behind it when the tree differs; None outside of git."""
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        return head + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def operator() -> str:
    """Return who is at the workstation, as user@machine, for manifests and the lock."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
