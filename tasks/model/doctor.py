"""What the doctor finds: everything looked at, graded, and with what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.model.health import Check
from tasks.model.provision.step import Step

OK, WARNING, ERROR = "ok", "warning", "error"
_ORDER = {ERROR: 0, WARNING: 1, OK: 2}


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        where: "workstation", "network" or "host".
        name: what it is.
        grade: "ok", "warning" or "error".
        what: what was seen, one line.
        fix: what to type or do; "" when all is well.
    """

    where: str
    name: str
    grade: str
    what: str
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as a JSON-able document."""
        return asdict(self)


def libraries(installed: Mapping[str, str | None], locked: Mapping[str, str]) -> Finding:
    """Whether the libraries are the ones of the lock file; both by name."""
    wrong = [f"{name} is {installed.get(name) or 'missing'}, not {version}" for name, version in locked.items()
             if installed.get(name) != version]  # fmt: skip
    if wrong:
        return Finding("workstation", "libraries", WARNING, "; ".join(wrong), "rm -r .venv, then make check")
    told = ", ".join(f"{name} {version}" for name, version in locked.items())
    return Finding("workstation", "libraries", OK, told)


def key(path: str, kind: str, bits: int, mode: int | None, present: bool) -> Finding:
    """The public key the deploy user is to have.

    Args:
        path: of the file.
        kind: the first word in it, such as "ssh-ed25519"; "" when it cannot be read.
        bits: of an RSA key, else 0.
        mode: permission bits of the private key beside it, None when it is not there.
        present: whether the deploy user of the host has this very key; True when that is not known.
    """
    if not kind:
        return Finding("workstation", "key", WARNING, f"{path} cannot be read: setup takes the key you log in with",
                       "set DEPLOY_PUBLIC_KEY_FILE")  # fmt: skip
    if kind == "ssh-dss" or (kind == "ssh-rsa" and bits < 3072):
        return Finding("workstation", "key", ERROR, f"{path} is {kind} of {bits} bits: a hardened sshd refuses it",
                       "ssh-keygen -t ed25519, and DEPLOY_PUBLIC_KEY_FILE")  # fmt: skip
    if mode is not None and mode & 0o077:
        private = path.removesuffix(".pub")
        return Finding(
            "workstation", "key", ERROR, f"{private} can be read by others ({mode:04o})", f"chmod 600 {private}"
        )
    if not present:
        return Finding("workstation", "key", ERROR, f"{path} is not among the keys of the deploy user", "fab setup")
    return Finding("workstation", "key", OK, f"{path} ({kind})")


def name(domain: str, found: Sequence[str], expected: Sequence[str]) -> Finding:
    """Whether a name leads to the host: the addresses it has, and those of the host."""
    if not found:
        return Finding("network", domain, ERROR, "does not resolve",
                       f"make an A or AAAA record that points to {', '.join(expected)}")  # fmt: skip
    astray = sorted(set(found) - set(expected))
    if astray:
        return Finding("network", domain, ERROR, f"leads to {', '.join(astray)}, and not only to {', '.join(expected)}",
                       "correct its records; behind a CDN set TRUSTED_PROXIES and PUBLIC_ADDRESS")  # fmt: skip
    return Finding("network", domain, OK, f"leads to {', '.join(sorted(found))}")


def port(number: int, is_open: bool, wanted: str) -> Finding | None:
    """A port as it is seen from here; `wanted` is what listens there, "" for one that must be closed. None: no news."""
    if wanted and not is_open:
        return Finding("network", f"port {number}", ERROR, f"closed: {wanted} cannot be reached from here",
                       "fab firewall; a firewall of the provider's may close it as well")  # fmt: skip
    if is_open and not wanted:
        return Finding("network", f"port {number}", ERROR, "open to this workstation, and none of the application's",
                       "fab firewall.status")  # fmt: skip
    return Finding("network", f"port {number}", OK, f"open ({wanted})") if wanted else None


def hsts(stage: str) -> Finding | None:
    """A remark while browsers are told to insist on HTTPS for minutes only."""
    if stage in ("off", "trial", "week"):
        return Finding("workstation", "HSTS", WARNING, f"HSTS={stage}: browsers still take plain HTTP for an answer",
                       "when HTTPS has proved to work: HSTS=full, fab deploy")  # fmt: skip
    return None


def promises(steps: Iterable[Step], remarks: Iterable[str], setup: str) -> Iterator[Finding]:
    """What `fab setup` would still do; `setup` is what to type for that."""
    steps = list(steps)
    for step in steps:
        yield Finding("host", step.name, ERROR, step.why, setup)
    for remark in remarks:
        yield Finding("host", "setup", WARNING, remark)
    if not steps:
        yield Finding("host", "setup", OK, "everything that setup promises holds")


def checks(found: Iterable[Check], where: str, fix: str) -> Iterator[Finding]:
    """The health checks as findings."""
    for check in found:
        yield Finding(where, check.name, OK if check.ok else ERROR, check.detail, "" if check.ok else fix)


def worst(findings: Iterable[Finding]) -> str:
    """The gravest grade among them."""
    return min((finding.grade for finding in findings), key=_ORDER.__getitem__, default=OK)


def table(findings: Iterable[Finding], *, colour: bool) -> str:
    """The findings for a person, in the order they were made; what is not well with its fix on a line of its own."""
    paint = {OK: "\033[32m", WARNING: "\033[33m", ERROR: "\033[31m"} if colour else {}
    rows = list(findings)
    width = max((len(row.name) for row in rows), default=0)
    lines = []
    for row in rows:
        mark = f"{paint.get(row.grade, '')}{row.grade:7}{chr(27) + '[0m' if colour else ''}"
        lines.append(f"{mark}  {row.name:{width}}  {row.what}")
        if row.fix:
            lines.append(f"         {'':{width}}  fix: {row.fix}")
    return "\n".join(lines)
