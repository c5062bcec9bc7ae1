"""known_hosts as OpenSSH reads it: hashed names, ports, patterns, markers; and a verdict on the key a host shows."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tasks.core.errors import HostKeyError

# Names of the signatures an RSA key can make; known_hosts says "ssh-rsa" for all of them.
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True)
class HostKey:
    """A public key: `kind` as in known_hosts (ssh-ed25519), `blob` the bytes behind the base64."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """`SHA256:...` as ssh-keygen -l prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def family(self) -> str:
        """What ssh calls the type in messages: ED25519, ECDSA, RSA."""
        return self.kind.removeprefix("ssh-").split("-")[0].upper()


@dataclass(frozen=True)
class Entry:
    """One usable line of a known_hosts file; `marker` is "", "@revoked" or "@cert-authority"."""

    path: Path
    line: int
    marker: str
    names: tuple[str, ...]
    key: HostKey

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.path}:{self.line}"

    def concerns(self, name: str) -> bool:
        """Whether the line speaks of `name` (`host`, or `[host]:port` for a port other than 22)."""
        found = False
        for pattern in self.names:
            if pattern.startswith("!") and _matches(pattern[1:], name):
                return False
            found = found or _matches(pattern, name)
        return found


class Verdict(Enum):
    """What the known_hosts files say about a key."""

    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


class KnownHosts:
    """The lines of several known_hosts files."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = tuple(entries)

    @classmethod
    def load(cls, paths: Iterable[Path]) -> "KnownHosts":
        """Read the files that exist. Raises HostKeyError for one that cannot be read: half a list is no list."""
        entries: list[Entry] = []
        for path in paths:
            try:
                entries += parse(path.read_text(encoding="utf-8", errors="replace"), path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise HostKeyError(f"{path} cannot be read: {error.strerror}") from error
        return cls(entries)

    def judge(self, name: str, key: HostKey) -> tuple[Verdict, Entry | None]:
        """The verdict on `key` shown by `name`, with the line it rests on (None when no line speaks of the host)."""
        concerned = [entry for entry in self._entries if entry.concerns(name)]
        for entry in concerned:
            if entry.marker == "@revoked" and entry.key == key:
                return Verdict.REVOKED, entry
        # Certificates are not verified here, so a certificate authority's line vouches for nothing.
        plain = [entry for entry in concerned if not entry.marker]
        for entry in plain:
            if entry.key == key:
                return Verdict.TRUSTED, entry
        if not plain:
            return Verdict.UNKNOWN, None
        return Verdict.CHANGED, next((entry for entry in plain if entry.key.kind == key.kind), plain[0])

    def signature_preference(self, name: str, supported: Iterable[str]) -> list[str]:
        """`supported` host key algorithms, those first that produce a key we know for `name`.

        A host with an ed25519 and an RSA key shows only one of them: it has to be the one that can be checked.
        """
        known: list[str] = []
        for entry in self._entries:
            if not entry.marker and entry.concerns(name):
                known += _RSA_SIGNATURES if entry.key.kind == "ssh-rsa" else (entry.key.kind,)
        return sorted(supported, key=lambda algorithm: known.index(algorithm) if algorithm in known else len(known))


def parse(text: str, path: Path) -> list[Entry]:
    """The usable lines of a known_hosts file; comments and lines nobody can read are passed over, as ssh does."""
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or marker not in {"", "@revoked", "@cert-authority"}:
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        entries.append(Entry(path, number, marker, tuple(words[0].split(",")), HostKey(words[1], blob)))
    return entries


def check(name: str, key: HostKey, known: KnownHosts, *, alias: str) -> None:
    """Return when `key` may be trusted for `name`. Raises HostKeyError, with what to type, when it may not."""
    verdict, entry = known.judge(name, key)
    shown = f"{key.family} {key.fingerprint}"
    if verdict is Verdict.UNKNOWN:
        raise HostKeyError(
            f"unknown host key for {name}: {shown}",
            host=alias,
            hint=f"compare it with the host's own, then fab trust -H {alias}",
        )
    if verdict is Verdict.CHANGED and entry:
        raise HostKeyError(
            f"the host key of {name} is not the known one: it shows {shown}, {entry.place} says "
            f"{entry.key.family} {entry.key.fingerprint}",
            host=alias,
            hint=f"if the host was reinstalled, remove line {entry.line} of {entry.path}, then fab trust -H {alias}",
        )
    if verdict is Verdict.REVOKED and entry:
        raise HostKeyError(
            f"the host key of {name} is revoked: {shown}, by {entry.place}",
            host=alias,
            hint="give the host a new key; a revoked one is never accepted",
        )


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        return _matches_hash(pattern, name)
    # Only * and ? are wild in known_hosts; the brackets around host and port are literal.
    wild = "".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in pattern.lower())
    return re.fullmatch(wild, name) is not None


def _matches_hash(pattern: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in pattern.split("|")[2:4])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
