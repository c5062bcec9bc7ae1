"""What the doctor finds: everything looked at, graded, and with what to do about it. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tasks.model import health
from tasks.model.health import Check
from tasks.model.provision.step import Step

if TYPE_CHECKING:
    from tasks.core.settings import Settings

OK, WARNING, ERROR = "ok", "warning", "error"
_ORDER = {ERROR: 0, WARNING: 1, OK: 2}

Fab = Callable[[str], str]
"""Makes the command line of a task for the host that is looked at."""


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


def for_host(text: str, fab: Fab) -> str:
    """The text with the tasks it names made into command lines for the host."""
    return re.sub(r"\bfab ([a-z]+(?:\.[a-z]+)?)(?! -H)\b", lambda match: fab(match[1]), text)


# --- the workstation


def satisfies(version: str, needed: str) -> bool:
    """Whether a version is in a range such as ">=5.1,<6". What follows its numbers, such as "rc1", does not count."""
    for part in filter(None, (part.strip() for part in needed.split(","))):
        match = re.fullmatch(r"(>=|<=|==|!=|>|<)\s*([0-9.]+)", part)
        if match is None:
            continue  # "~=" and the like, which pyproject.toml does not use
        have, want = _numbers(version), _numbers(match[2])
        length = max(len(have), len(want))
        have, want = have + (0,) * (length - len(have)), want + (0,) * (length - len(want))
        holds = {
            ">=": have >= want, "<=": have <= want, "==": have == want,
            "!=": have != want, ">": have > want, "<": have < want,
        }  # fmt: skip
        if not holds[match[1]]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def python(running: str, needed: str) -> Finding:
    """The Python that runs this; `needed` as in pyproject.toml, "" when that is not known."""
    if not satisfies(running, needed):
        return Finding("workstation", "Python", ERROR, f"{running}, but {needed} is needed",
                       "PYTHON=/path/to/that/python make venv")  # fmt: skip
    return Finding("workstation", "Python", OK, f"{running} ({needed} is needed)" if needed else running)


def libraries(
    installed: Mapping[str, str | None], locked: Mapping[str, str], needed: Mapping[str, str] | None = None
) -> Finding:
    """Whether the libraries are in the ranges of pyproject.toml, and the very ones of the lock file; all by name."""
    fix = "rm -r .venv, then make venv"
    bad = [f"{name} is {installed.get(name) or 'missing'}, but {wanted} is needed"
           for name, wanted in (needed or {}).items() if not satisfies(installed.get(name) or "0", wanted)]  # fmt: skip
    if bad:
        return Finding("workstation", "libraries", ERROR, "; ".join(bad), fix)
    wrong = [f"{name} is {installed.get(name) or 'missing'}, not {version}" for name, version in locked.items()
             if installed.get(name) != version]  # fmt: skip
    if wrong:
        return Finding("workstation", "libraries", WARNING, "; ".join(wrong), fix)
    told = ", ".join(f"{name} {version}" for name, version in installed.items() if version)
    return Finding("workstation", "libraries", OK, told)


@dataclass(frozen=True)
class Key:
    """The public key the deploy user is to have.

    Attributes:
        path: of the file.
        kind: the first word in it, such as "ssh-ed25519"; "" when there is no key to be read.
        bits: of an RSA key, else 0.
        mode: permission bits of the private key beside it, None when it is not there.
        present: whether the deploy user of the host has this very key; True when that is not known.
        usable: whether a login here can be made with it: its private part can be read, or the agent has it.
    """

    path: str
    kind: str
    bits: int = 0
    mode: int | None = None
    present: bool = True
    usable: bool = True


def key(seen: Key) -> Finding:
    """The gravest thing there is to say about the key."""
    path, private = seen.path, seen.path.removesuffix(".pub")
    if not seen.kind:
        what = f"{path} holds no public key: setup takes the key you log in with"
        return Finding("workstation", "key", WARNING, what, "set DEPLOY_PUBLIC_KEY_FILE")
    if seen.kind == "ssh-dss" or (seen.kind == "ssh-rsa" and seen.bits < 3072):
        what = f"{path} is {seen.kind}{f' of {seen.bits} bits' if seen.bits else ''}: a hardened sshd refuses it"
        return Finding("workstation", "key", ERROR, what, "ssh-keygen -t ed25519, and DEPLOY_PUBLIC_KEY_FILE")
    if seen.mode is not None and seen.mode & 0o077:
        return _loose("key", private, seen.mode)
    if not seen.present:
        return Finding("workstation", "key", ERROR, f"{path} is not among the keys of the deploy user", "fab setup")
    if not seen.usable:
        what = f"no login from here can use {path}: its private key is neither offered to hosts nor in the agent"
        fix = f"ssh-add {private}, or name it as IdentityFile in ~/.ssh/config"
        return Finding("workstation", "key", WARNING, what, fix)
    return Finding("workstation", "key", OK, f"{path} ({seen.kind})")


def logins(modes: Mapping[str, int], notes: Iterable[str], agent_keys: int, offered: int) -> Iterator[Finding]:
    """What a login has to offer.

    Args:
        modes: permission bits of the private keys, by path.
        notes: why keys and the agent could not be used, one line each.
        agent_keys: how many of the keys that would be offered the agent holds.
        offered: how many there are in all.
    """
    for path, mode in modes.items():
        if mode & 0o077:
            yield _loose("login key", path, mode)
    for note in notes:
        if note.startswith("agent: "):
            yield Finding("workstation", "agent", WARNING, f"does not answer ({note.removeprefix('agent: ')})",
                          'eval "$(ssh-agent)"; ssh-add')  # fmt: skip
        elif " is encrypted" in note:
            yield Finding("workstation", "login key", WARNING, note, f"ssh-add {note.partition(' is encrypted')[0]}")
        else:
            yield Finding("workstation", "login key", WARNING, note, "mend the file, or name another IdentityFile")
    if not offered:
        yield Finding("workstation", "login key", WARNING, "there is none to log in with: a hardened sshd wants one",
                      "ssh-keygen -t ed25519, or IdentityFile in ~/.ssh/config")  # fmt: skip
    elif agent_keys:
        yield Finding("workstation", "agent", OK, f"holds {agent_keys} of the {offered} keys that are offered")


def _loose(name: str, path: str, mode: int) -> Finding:
    return Finding(
        "workstation", name, ERROR, f"{path} can be read by others ({mode:04o}): ssh ignores it", f"chmod 600 {path}"
    )


def unusable_settings(problems: Iterable[str], fix: str) -> Iterator[Finding]:
    """What is wrong with a settings file that cannot be used: placeholders, missing values, who may read it."""
    for problem in problems:
        yield Finding("workstation", "settings", ERROR, problem, fix)


def choices(chosen: Settings, fab: Fab) -> Iterator[Finding]:
    """Values that are allowed and had better be others, and optional ones that are missed sooner or later."""
    deploy, setup = fab("deploy"), fab("setup")
    if chosen.hsts in ("off", "trial", "week"):
        yield _choice("HSTS", f"{chosen.hsts}: browsers still take plain HTTP for an answer",
                      f"when HTTPS has proved to work: HSTS=full, then {deploy}")  # fmt: skip
    if "staging" in chosen.acme_server:
        yield _choice("ACME_SERVER", "a server for rehearsals: no browser trusts its certificates",
                      f"take ACME_SERVER out, then {fab('ssl.issue')} --force")  # fmt: skip
    if chosen.deep_health_public:
        yield _choice("DEEP_HEALTH_PUBLIC", "yes: everybody learns what the application is made of, and how it is",
                      f"DEEP_HEALTH_PUBLIC=no, then {deploy}")  # fmt: skip
    for name in ("PAGE_CSP", "FALLBACK_CSP", "PERMISSIONS_POLICY"):
        if getattr(chosen, name.lower()) is None:
            yield _choice(name, "off: browsers are not told what the pages may do", f"take {name} out, then {deploy}")
    if chosen.reboot_time is None:
        yield _choice("REBOOT_TIME", "none: updates of the kernel wait until somebody restarts the server",
                      f"REBOOT_TIME=04:30, then {setup}; or leave it, and restart the server yourself")  # fmt: skip
    if chosen.claude_api_key is None and chosen.openai_api_key is None:
        yield _choice("CLAUDE_API_KEY", "neither this nor OPENAI_API_KEY is set: the backend cannot ask a model",
                      f"set one of them, then {deploy}; nothing to do when the application needs none")  # fmt: skip


def _choice(name: str, what: str, fix: str) -> Finding:
    return Finding("workstation", name, WARNING, what, fix)


# --- the way there


def name(
    domain: str, found: Sequence[str], expected: Sequence[str], *, proxies: Sequence[str] = (), has_ipv6: bool = True,
    switched: bool = True,
) -> Finding:  # fmt: skip
    """Whether a name leads to the host.

    Only addresses of a family in which the host's own is known can be compared; of the other one it is said where they
    lead.

    Args:
        domain: the name.
        found: the addresses it has.
        expected: the host's, none when they cannot be known from here.
        proxies: the networks of TRUSTED_PROXIES, which a name may lead to instead.
        has_ipv6: whether the host has IPv6 at all; True when that is not known.
        switched: whether DNS is to lead to the host by now; PUBLIC_ADDRESS says that it is not.
    """
    where = ", ".join(expected) or "the host"
    grade, then = (ERROR, "") if switched else (WARNING, "; then take PUBLIC_ADDRESS out")
    if not found:
        return Finding("network", domain, grade, "does not resolve",
                       f"make an A or AAAA record that points to {where}{then}")  # fmt: skip
    through = [address for address in found if _within(address, proxies)]
    families = {_version(address) for address in expected}
    same = [address for address in found if _version(address) in families and address not in through]
    others = [address for address in found if _version(address) not in families and address not in through]
    if astray := sorted(set(same) - set(expected)):
        fix = "correct its records" + (then or "; if ssh takes another way to the host than visitors do, set "
                                       "PUBLIC_ADDRESS; if a CDN is before it, TRUSTED_PROXIES")  # fmt: skip
        return Finding("network", domain, grade, f"leads to {', '.join(astray)}, and not only to {where}", fix)
    if expected and not same and not through:
        return Finding("network", domain, grade, f"leads to {', '.join(sorted(others))} only, not to {where}",
                       f"make a record that points to {where}{then}")  # fmt: skip
    if not has_ipv6 and any(_version(address) == 6 for address in others):
        return Finding("network", domain, ERROR, f"leads to {', '.join(sorted(others))}, but the host has no IPv6",
                       "delete its AAAA record, or give the host that address")  # fmt: skip
    told = f"leads to {', '.join(sorted(found))}"
    if through:
        told += " (a proxy of TRUSTED_PROXIES)"
    elif others:
        told += f" ({', '.join(sorted(others))} not compared: the host's own is not known here)"
    return Finding("network", domain, OK, told)


def _version(address: str) -> int:
    return ipaddress.ip_address(address.partition("%")[0]).version


def _within(address: str, networks: Sequence[str]) -> bool:
    one = ipaddress.ip_address(address.partition("%")[0])
    return any(one in ipaddress.ip_network(network, strict=False) for network in networks)


def ports(
    is_open: Mapping[int, bool], wanted: Mapping[int, str], fab: Fab, unsure: Collection[int] = ()
) -> list[Finding]:
    """The ports as they are seen from here.

    Args:
        is_open: what was tried, by number.
        wanted: what listens there, for those that are to be open; the others are to be closed.
        fab: makes command lines.
        unsure: where perhaps nothing listens yet, so that a closed one is a warning only.
    """
    found = [port(n, seen, wanted.get(n, ""), fab, certain=n not in unsure) for n, seen in is_open.items()]
    closed = [number for number, seen in is_open.items() if not seen and number not in wanted]
    said = [Finding("network", "other ports", OK, f"closed: {', '.join(map(str, closed))}")] if closed else []
    return [*filter(None, found), *said]


def port(number: int, is_open: bool, wanted: str, fab: Fab, *, certain: bool = True) -> Finding | None:
    """One port; `wanted` is what listens there, "" for one that must be closed. None: no news."""
    if wanted and not is_open:
        what = f"closed: {wanted} cannot be reached from here" if certain else f"closed, or nothing serves {wanted} yet"
        return Finding("network", f"port {number}", ERROR if certain else WARNING, what,
                       f"{fab('firewall.status')}; a firewall of the provider's may close it as well")  # fmt: skip
    if is_open and not wanted:
        return Finding("network", f"port {number}", ERROR, "open to this workstation, and none of the application's",
                       fab("firewall.status"))  # fmt: skip
    return Finding("network", f"port {number}", OK, f"open ({wanted})") if wanted else None


# --- the host


def promises(steps: Iterable[Step], remarks: Iterable[str], setup: str) -> Iterator[Finding]:
    """What `fab setup` would still do; `setup` is what to type for that."""
    steps = list(steps)
    for step in steps:
        yield Finding("host", step.name, ERROR, step.why, setup)
    for remark in remarks:
        yield Finding("host", "setup", WARNING, remark, "setup leaves this alone: change it on the host, or leave it")
    if not steps:
        yield Finding("host", "setup", OK, "everything that setup promises holds")


def program(status: Mapping[str, Any] | None, installed: bool, digest: str, setup: str) -> Finding | None:
    """The host program beside this checkout's (sha256 `digest`); None when the plan of setup says it all."""
    if status is None and installed:
        return Finding("host", "host program", ERROR, "it is there and does not say how the host is", setup)
    if status is not None and status.get("program") == digest:
        return Finding("host", "host program", OK, "is the one of this checkout")
    return None


def standing(status: Mapping[str, Any], fab: Fab) -> Iterator[Finding]:
    """What the host program says of itself: what it could not find out, what runs, and what was cut off."""
    for problem in status.get("problems") or ():
        yield Finding("host", "host program", ERROR, str(problem), f"{fab('setup')}; then {fab('doctor')} again")
    if (busy := status.get("busy")) is not None:
        what = f"{busy.get('what', 'another command')} by {busy.get('who', 'somebody')}"
        yield Finding("host", "busy", WARNING, f"{what} is running: what is seen may be half of it",
                      f"wait, then {fab('doctor')} again")  # fmt: skip
    if cut_off := status.get("interrupted"):
        yield Finding("host", "interrupted", ERROR, f"the change to {cut_off} was cut off", fab("deploy"))


def condition(status: Mapping[str, Any], *, now: float) -> list[Check]:
    """The health checks from inside, of a host that may have no release yet.

    `now` is the workstation's clock. Every file system counts that holds something of ours, wherever Docker puts it.
    """
    disks = {item["mount"]: item for item in (*(status.get("disk") or ()), *(status.get("space") or ()))}
    whole = {**status, "disk": list(disks.values())}
    return health.inside(whole, now=now) if status.get("manifest") else health.machine(whole, now=now)


_FIXES = (
    (r"certificate", "fab ssl.status"),
    (r"disk ", "free some, or enlarge it; with a smaller RELEASES_KEEP, fab deploy removes images"),
    (r"memory", "lower the *_MEMORY settings, or take a larger server"),
    (r"clock", "on the host: timedatectl set-ntp true; and look at the clock here"),
    (r"unit certbot", "fab setup"),
    (r"deep health", "mend what it names, then fab health"),
    (r"drift", "fab deploy --accept drift"),  # a deploy does not undo what somebody did by hand without being told to
    (r"container |release|unit |http", "fab deploy"),
)


def checks(found: Iterable[Check], where: str, fab: Fab) -> Iterator[Finding]:
    """The health checks as findings."""
    for check in found:
        fix = next((fix for start, fix in _FIXES if re.match(start, check.name)), "fab health")
        yield Finding(
            where, check.name, OK if check.ok else ERROR, check.detail, "" if check.ok else for_host(fix, fab)
        )


def volumes(classes: Mapping[str, str], there: Iterable[str], compose_file: str, fab: Fab) -> Iterator[Finding]:
    """Whether every volume is backed up, or meant not to be.

    Args:
        classes: what backs up each volume of the Compose file, "" for nothing.
        there: the volumes of the application on the host.
        compose_file: where that is said.
        fab: makes command lines.
    """
    unsaid = sorted(name for name, word in classes.items() if not word)
    for name in unsaid:
        yield Finding("host", f"volume {name}", ERROR, "no backup holds what is in it",
                      f"in {compose_file} give it x-backup: files, or none; then {fab('deploy')}")  # fmt: skip
    for name in sorted(set(there) - set(classes)):
        yield Finding("host", f"volume {name}", WARNING, "is in no Compose file here any more, and in no backup",
                      f"look what is in it; when nothing needs it: docker volume rm {name}")  # fmt: skip
    if not unsaid:
        told = ", ".join(f"{name}: {word}" for name, word in sorted(classes.items()))
        yield Finding("host", "volumes", OK, f"each has its backup ({told})")


def exposure(faults: Iterable[str], fab: Fab) -> Iterator[Finding]:
    """What is wrong with the firewall, in the words of `fab firewall.status`.

    A port that somebody opened stays open: setup keeps rules that are not its own.
    """
    faults = list(faults)
    for fault in faults:
        by_hand = (
            f"{fab('firewall.status')} says by whom: stop that, have it listen on 127.0.0.1, or ufw delete its rule"
        )
        yield Finding("host", "firewall", ERROR, fault, by_hand if fault.startswith("open: ") else fab("setup"))
    if not faults:
        yield Finding("host", "firewall", OK, "open from outside is what is meant to be")


# --- all of it


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
