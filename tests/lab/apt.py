"""Where this machine gets its Debian packages from, read out of its own apt configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MAIN_SUITE = re.compile(r"^(bookworm|trixie|forky|duke|bullseye|sid|oldstable|stable|testing|unstable)$")


@dataclass(frozen=True)
class Mirror:
    """The archive's address, and that of the security archive when the machine has one."""

    archive: str
    security: str | None = None

    def lines(self, suite: str) -> list[str]:
        """The one-line sources of a machine that runs `suite`."""
        found = [f"deb {self.archive} {suite} main"]
        if suite in {"trixie", "bookworm"}:  # the suites under development have neither
            found.append(f"deb {self.archive} {suite}-updates main")
            if self.security:
                found.append(f"deb {self.security} {suite}-security main")
        return found


@dataclass(frozen=True)
class _Source:
    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]


def machine_mirror(root: Path = Path("/etc/apt")) -> Mirror | None:
    """The mirror of the machine whose apt configuration is below `root`; None when it has no Debian archive."""
    files = [root / "sources.list", *sorted((root / "sources.list.d").glob("*"))]
    return find_mirror(
        (f.name, f.read_text("utf-8", "replace")) for f in files if f.suffix in {".list", ".sources"} and f.is_file()
    )


def find_mirror(files: Iterable[tuple[str, str]]) -> Mirror | None:
    """The first Debian archive (and security archive) among (file name, content) pairs in either of apt's formats."""
    archive = security = None
    for name, text in files:
        for source in _deb822(text) if name.endswith(".sources") else _one_line(text):
            if "main" not in source.components:
                continue
            if archive is None and any(MAIN_SUITE.match(s) for s in source.suites):
                archive = source.uri
            if security is None and any(re.match(r"^[a-z]+(-security|/updates)$", s) for s in source.suites):
                security = source.uri
    return Mirror(archive, security) if archive else None


def _one_line(text: str) -> Iterator[_Source]:
    for line in text.splitlines():
        match = re.match(r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            yield _Source(match[1].rstrip("/"), (match[2],), tuple(match[3].split()))


def _deb822(text: str) -> Iterator[_Source]:
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, list[str]] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields.setdefault(name, []).extend(line.split())
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.split()
        if fields.get("enabled", ["yes"])[:1] in (["no"], ["false"]) or "deb" not in fields.get("types", []):
            continue
        for uri in fields.get("uris", []):
            yield _Source(uri.rstrip("/"), tuple(fields.get("suites", [])), tuple(fields.get("components", [])))
