"""Which files change, and how."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.model import guards
from tasks.model.plan.types import FileChange

LIVE = "live/"
_DIFF_LIMIT = 256 * 1024  # bytes of a file that is compared line by line


def files_to_compare(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> list[str]:
    """Name the files of the host whose content a diff needs: public ones that will change or were edited by hand.

    Args:
        manifest: of the release that is to serve.
        status: what the host program reports.
    Returns:
        Paths of the current release, and paths below live/.
    """
    old = (status.get("manifest") or {}).get("files", {})
    changing = [
        path
        for path, entry in manifest["files"].items()
        if path in old and old[path]["sha256"] != entry["sha256"] and not entry["secret"] and not old[path]["secret"]
    ]
    edited = [
        item["path"]
        for item in status.get("drift", ())
        if item["path"].startswith(LIVE) and item["state"] == "changed" and not _secret(item["path"])
    ]
    known = [LIVE + path for path in old if not old[path]["secret"]]
    kept = [path.removeprefix(LIVE) for path in edited if path in known]
    return sorted({*changing, *kept, *(path for path in edited if path in known)})


def _secret(path: str) -> bool:
    return path.removeprefix(LIVE).startswith("secrets/")


def changes(
    manifest: Mapping[str, Any], status: Mapping[str, Any], new: Mapping[str, bytes], old: Mapping[str, bytes]
) -> Iterator[FileChange]:
    """What differs between the current release and the one to come, and between the current one and the host.

    Args:
        manifest: of the release that is to serve.
        status: what the host program reports.
        new: contents of the files to come, by path.
        old: contents of the host's files that `files_to_compare` named.
    """
    before, after = (status.get("manifest") or {}).get("files", {}), manifest["files"]
    for path in sorted(before.keys() | after.keys()):
        secret = bool(after.get(path, before.get(path))["secret"])
        if path not in before:
            yield FileChange(path, "added", secret)
        elif path not in after:
            yield FileChange(path, "removed", secret)
        elif before[path]["sha256"] != after[path]["sha256"]:
            yield FileChange(path, "changed", secret, "" if secret else diff(path, old.get(path), new.get(path)))
        elif any(before[path][name] != after[path][name] for name in ("mode", "secret")):
            yield FileChange(path, "changed", secret)
    for item in sorted(status.get("drift", ()), key=lambda item: str(item["path"])):
        path, state = item["path"], item["state"]
        inner = path.removeprefix(LIVE)
        secret = _secret(path) or bool(before.get(inner, {}).get("secret"))
        if state == "missing":
            yield FileChange(path, "missing on the host", secret)
            continue
        who = "by hand" if guards.by_hand(path, status) else "by a deploy that has not ended"
        shown = path.startswith(LIVE) and not secret
        yield FileChange(
            path, f"{state} {who}", secret, diff(path, old.get(path), new.get(inner, old.get(inner))) if shown else ""
        )


def diff(path: str, old: bytes | None, new: bytes | None) -> str:
    """The unified diff of two texts; "" when one is missing, large or no text."""
    if old is None or new is None or max(len(old), len(new)) > _DIFF_LIMIT or b"\0" in old + new:
        return ""
    try:
        before, after = old.decode().splitlines(), new.decode().splitlines()
    except UnicodeDecodeError:
        return ""
    return "\n".join(difflib.unified_diff(before, after, f"host/{path}", f"new/{path}", lineterm="", n=2))
