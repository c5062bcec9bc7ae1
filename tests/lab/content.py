"""What an image is made of, as one digest: the same digest means nothing to build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

NOT_CONTENT = {"__pycache__", "node_modules", ".next", ".ruff_cache"}


def digest(directory: Path, arguments: Mapping[str, str], parents: Iterable[str]) -> str:
    """Over the files of `directory` (path, executable or not, bytes), the build arguments and the parents' digests."""
    total = hashlib.sha256()
    for path in files(directory):
        data = path.read_bytes()
        executable = "x" if path.stat().st_mode & 0o100 else "-"
        total.update(f"{path.relative_to(directory).as_posix()}\0{executable}\0{len(data)}\0".encode())
        total.update(data)
    for name in sorted(arguments):
        total.update(f"{name}={arguments[name]}\0".encode())
    for parent in parents:
        total.update(f"from {parent}\0".encode())
    return total.hexdigest()


def files(directory: Path) -> list[Path]:
    """The files that count, in an order that does not depend on the file system."""
    found = (p for p in directory.rglob("*") if p.is_file() and not NOT_CONTENT & set(p.relative_to(directory).parts))
    return sorted(found, key=lambda p: p.relative_to(directory).as_posix())
