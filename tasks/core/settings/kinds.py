"""What a value must look like: one check per kind. A check says what is expected and never repeats the value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

LONGEST = 1024
"""Characters in any value but free text; nothing legitimate comes near, and the patterns below stay fast."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?!\d+\Z){_LABEL}")
_PORT = r"(?::(?P<port>[0-9]{1,5}))?"
_HOST = re.compile(rf"(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*){_PORT}")
_REGISTRY = re.compile(rf"[A-Za-z0-9][A-Za-z0-9.-]*{_PORT}")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{{1,5}})?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@sha256:(?P<digest>[0-9a-f]{64}))?"
)
_SIZE = re.compile(r"(?P<number>[1-9][0-9]{0,11})(?P<unit>[kmg])b?", re.IGNORECASE)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@(?:{_LABEL}\.)+{_LABEL}")
_GRAFANA_EXPANDS = re.compile(r"\$(?:__\w+)?\{[^}]+\}|%\([^)]+\)s")
# Names that would put a program of ours in /usr/local/bin in front of one the server needs.
_TAKEN = re.compile(
    "apt|bash|certbot|cron|curl|docker|dockerd|git|kill|nginx|node|psql|python|python3|redis|root|sh|ssh|sshd|su|sudo"
    "|systemctl|systemd|tar|ufw"
)


@dataclass(frozen=True)
class Kind:
    """What values of one kind look like.

    Attributes:
        says: the expectation, as it stands in the reference page.
        problem: given a value that is not empty, what is wrong with it, or None.
    """

    says: str
    problem: Callable[[str], str | None]


def words(value: str) -> list[str]:
    """Return the parts of a list that has spaces or commas between them."""
    return [word for word in re.split(r"[,\s]+", value) if word]


def image_version(reference: str) -> str:
    """Return the tag of an image reference, or the start of its digest when it has no tag."""
    match = _IMAGE.fullmatch(reference)
    return (match["tag"] or (match["digest"] or "")[:12]) if match else ""


def _pattern(says: str, regex: str | re.Pattern[str]) -> Kind:
    compiled = re.compile(regex)
    return Kind(says, lambda value: None if compiled.fullmatch(value) else f"must be {says}")


def _number(says: str, low: int, high: int) -> Kind:
    says = f"{says}, {low} to {high}"
    digits = re.compile(r"[0-9]{1,9}")

    def problem(value: str) -> str | None:
        return None if digits.fullmatch(value) and low <= int(value) <= high else f"must be {says}"

    return Kind(says, problem)


def _image(value: str) -> str | None:
    match = _IMAGE.fullmatch(value)
    if not match:
        return "must be an image reference in lower case, such as registry.tld/team/app:1.2.3"
    if not match["digest"] and match["tag"] in (None, "latest"):
        return "must have a tag other than latest, or a digest: a rollback needs to name what was deployed"
    return None


def _app_name(value: str) -> str | None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", value) or len(value) > 30:
        return f"must be {_APP_NAME}"
    return "is the name of a program on the server; choose another" if _TAKEN.fullmatch(value) else None


def _port(says: str, regex: re.Pattern[str]) -> Kind:
    def problem(value: str) -> str | None:
        match = regex.fullmatch(value)
        if not match:
            return f"must be {says}"
        return None if 1 <= int(match["port"] or 1) <= 65535 else "has a port that is not 1 to 65535"

    return Kind(says, problem)


def _address(value: str) -> str | None:
    import ipaddress

    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return "must be an IPv4 or IPv6 address"
    if address.is_unspecified or address.is_loopback or address.is_multicast or "%" in value:
        return "must be an address that visitors can reach"
    return None


def _domains(value: str) -> str | None:
    names = words(value)
    if not names or any(not _DOMAIN.fullmatch(name) for name in names):
        return "must be full domain names in lower case, with spaces or commas between them"
    return "names a domain twice" if len(set(names)) < len(names) else None


def _networks(value: str) -> str | None:
    import ipaddress

    try:
        networks = [ipaddress.ip_network(word) for word in words(value)]
    except ValueError:
        return "must be addresses and networks such as 192.0.2.7 or 2001:db8::/32, with spaces or commas between them"
    if not networks or any(network.prefixlen == 0 for network in networks):
        return "must not be everybody"
    return None


def _header(value: str) -> str | None:
    if not value.isascii() or not value.isprintable():
        return "must be one line of ASCII"
    return "must not contain $, which nginx would expand" if "$" in value else None


def _body_size(value: str) -> str | None:
    match = _SIZE.fullmatch(value)
    size = int(match["number"]) * _UNITS[match["unit"].lower()] if match else 0
    return None if 1 << 10 <= size <= 1 << 40 and not value.lower().endswith("b") else f"must be {_BODY_SAYS}"


def _choice(*values: str) -> Kind:
    says = " or ".join([", ".join(values[:-1]), values[-1]])
    return Kind(says, lambda value: None if value in values else f"must be {says}")


def _https_url(value: str) -> str | None:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value)
        valid = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        valid = False
    valid = valid and bool(re.fullmatch(r"[!-~]+", value))
    return None if valid else "must be an https:// URL without a user or a password in it"


def _size(value: str) -> str | None:
    match = _SIZE.fullmatch(value)
    if not match:
        return f"must be {_SIZE_SAYS}"
    size = int(match["number"]) * _UNITS[match["unit"].lower()]
    return None if 6 << 20 <= size <= 1 << 40 else "must be between 6m, the least Docker accepts, and 1024g"


def _password(value: str) -> str | None:
    if value.endswith(("\n", "\r")):
        return "must not end in a line end: shells and images cut it off on the way"
    if len(value) < 12:
        return "is too weak: at least 12 characters"
    if len(value) > 512:
        return "is too long: at most 512 characters"
    return "is too weak: almost all of its characters are the same" if len(set(value)) < 5 else None


def _postgres_password(value: str) -> str | None:
    if "\n" in value or "\r" in value:
        return "must be one line: PostgreSQL takes the first line only when it creates the database"
    return _password(value)


def _grafana_password(value: str) -> str | None:
    if _GRAFANA_EXPANDS.search(value):
        return "must not contain ${NAME}, $__name{...} or %(name)s: Grafana replaces them by other values"
    return _password(value)


def _token(value: str) -> str | None:
    return None if value == value.strip() else "must not have spaces or line ends around it"


def _user(value: str) -> str | None:
    if value == "root":
        return "must not be root: `fab setup` creates an account and closes root's"
    return None if re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", value) else "must be a Unix account name in lower case"


def _database(value: str) -> str | None:
    if value in ("template0", "template1"):
        return "must not be one of PostgreSQL's templates"
    return None if re.fullmatch(_IDENTIFIER, value) else f"must be {_IDENTIFIER_SAYS}"


def _role(value: str) -> str | None:
    if value.startswith("pg_") or value in ("public", "none"):
        return "must not be a name PostgreSQL reserves (pg_..., public, none)"
    return None if re.fullmatch(_IDENTIFIER, value) else f"must be {_IDENTIFIER_SAYS}"


def _command(value: str) -> str | None:
    import shlex

    try:
        parts = shlex.split(value)
    except ValueError:
        return "has a quote that is not closed"
    return None if parts and parts[0] and value.isprintable() else f"must be {_COMMAND_SAYS}"


def _remotes(value: str) -> str | None:
    names = words(value)
    if not names or any(not _REMOTE.fullmatch(name) for name in names):
        return f"must be {_REMOTE_SAYS}"
    return "names a remote twice" if len(set(names)) < len(names) else None


def _host_keys(value: str) -> str | None:
    keys = [key.split() for key in value.split(",")]
    return None if all(_HOST_KEY.fullmatch(" ".join(key)) for key in keys) else f"must be {_HOST_KEYS_SAY}"


def _repository_password(value: str) -> str | None:
    if value != value.strip() or not value.isprintable():
        return "must be one line without spaces around it"
    return _password(value)


_REMOTE = re.compile(
    r"s3:https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9._/-]+"
    r"|sftp://[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?/[A-Za-z0-9._/-]+"
)
_REMOTE_SAYS = "s3:https://HOST/BUCKET[/PATH] or sftp://USER@HOST[:PORT]/PATH, with spaces or commas between several"
_HOST_KEY = re.compile(r"(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]{20,}={0,3}")
_HOST_KEYS_SAY = "host keys such as ssh-ed25519 AAAA..., with commas between several"
_BODY_SAYS = "a size such as 512k, 10m or 1g"
_COMMAND_SAYS = "a command and its arguments, quoted as for a shell but run without one"
_APP_NAME = "lower-case letters, digits and single hyphens, starting with a letter, at most 30"
_SIZE_SAYS = "a memory size such as 512m or 2g"
_IDENTIFIER = r"[a-z_][a-z0-9_-]{0,62}"
_IDENTIFIER_SAYS = "lower-case letters, digits, _ and -, starting with a letter, at most 63"

KINDS: dict[str, Kind] = {
    "app name": Kind(_APP_NAME, _app_name),
    "switch": _choice("yes", "no"),
    "domains": Kind("domain names, with spaces or commas between them", _domains),
    "networks": Kind("addresses and networks, with spaces or commas between them", _networks),
    "rate": _number("requests a minute", 1, 1_000_000),
    "burst": _number("a number of requests", 1, 100_000),
    "connections": _number("a number of requests", 10, 100_000),
    "timeout": _number("a whole number of seconds", 1, 86400),
    "body size": Kind(_BODY_SAYS, _body_size),
    "time of day": _pattern("a time such as 04:00", r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"),
    "hsts": _choice("off", "trial", "week", "full", "preload"),
    "frame options": _choice("DENY", "SAMEORIGIN"),
    "opener policy": _choice("same-origin", "same-origin-allow-popups", "unsafe-none"),
    "resource policy": _choice("same-origin", "same-site", "cross-origin"),
    "embedder policy": _choice("credentialless", "require-corp", "unsafe-none"),
    "referrer policy": _choice(
        "no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin", "no-referrer-when-downgrade"
    ),
    "header": Kind("one line of ASCII without $, or off", _header),
    "domain": _pattern("a full domain name in lower case (punycode for accents), without https://", _DOMAIN),
    "ip address": Kind("an IPv4 or IPv6 address", _address),
    "host": _port("an ssh alias or [user@]host[:port]", _HOST),
    "user": Kind("a Unix account name other than root", _user),
    "public key file": _pattern("the path of a file ending in .pub (never the private key)", r"[^\x00-\x1f]*\.pub"),
    "docker source": _pattern("distribution or docker", "distribution|docker"),
    "e-mail": _pattern("an e-mail address", _EMAIL),
    "https url": Kind("an https:// URL", _https_url),
    "existing file": _pattern("the path of a file; a relative one starts at the project", r"[^\x00-\x1f]+"),
    "registry": _port("host or host:port, without https:// and without a path", _REGISTRY),
    "registry user": _pattern("an account name without spaces", r"[^\s\x00-\x1f:]+"),
    "image": Kind("an image reference with a tag (not latest) or a digest", _image),
    "database name": Kind(_IDENTIFIER_SAYS, _database),
    "database user": Kind(_IDENTIFIER_SAYS, _role),
    "password": Kind("12 to 512 characters, any but a line end at the end", _password),
    "postgres password": Kind("12 to 512 characters, any but line ends", _postgres_password),
    "grafana password": Kind(
        "12 to 512 characters, any but ${...} and %(...)s, which Grafana would expand", _grafana_password
    ),
    "token": Kind("any characters, without spaces around them", _token),
    "remotes": Kind(_REMOTE_SAYS, _remotes),
    "host keys": Kind(_HOST_KEYS_SAY, _host_keys),
    "repository password": Kind("one line of 12 to 512 characters without spaces around it", _repository_password),
    "size": Kind(_SIZE_SAYS, _size),
    "seconds": _number("a whole number of seconds", 5, 3600),
    "port": _number("a port number", 1, 65535),
    "directory": _pattern("the path of a directory; a relative one starts at the project", r"[^\x00-\x1f]+"),
    "command": Kind(_COMMAND_SAYS, _command),
    "days": _number("a whole number of days", 1, 3650),
    "past days": _number("a whole number of days", 0, 365),
    "releases": _number("a whole number", 2, 100),
    "few": _number("a whole number", 0, 120),
    "copies": _number("a whole number", 1, 100),
    "hours": _number("a whole number of hours", 1, 8760),
    "retention": _pattern("a number and h, d, w or y, such as 15d", r"[1-9][0-9]{0,4}[hdwy]"),
}
