"""The deploy user: who may log in as it, and what it may do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from tasks.core.errors import Refused
from tasks.model.facts import Account, Entry, Facts
from tasks.model.provision.step import Step, body

_KEY = re.compile(r"(?:^|\s)((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+\s+[A-Za-z0-9+/]+=*)(?:\s|$)")
_NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")


def sudoers(user: str) -> str:
    """The rule for the deploy user."""
    return (
        "# Written by `fab setup`. A member of the group docker can become root in one command anyway,\n"
        "# so a shorter list here would only look safer: the key of this user is worth as much as root's.\n"
        f"{user} ALL=(ALL:ALL) NOPASSWD: ALL\n"
    )


def wanted_keys(facts: Facts, public_key: str | None) -> tuple[str, ...]:
    """The lines that the deploy user's authorized_keys must have.

    `public_key` is the text of the user's public key file; without one they are the keys by which the present login
    gets in, save those that only run a fixed command. Raises Refused when that leaves none.
    """
    if public_key is not None:
        lines: Iterable[str] = public_key.splitlines()
    else:
        lines = facts.login.keys if facts.login else ()
    keys = tuple(line.strip() for line in lines if _KEY.search(line) and not re.search(r'(^|,)command="', line))
    if not keys:
        where = "the login in use has none in ~/.ssh/authorized_keys" if public_key is None else "the file holds none"
        raise Refused(f"no public key for the deploy user: {where}", hint="set DEPLOY_PUBLIC_KEY_FILE to one")
    return keys


def steps(facts: Facts, app: str, user: str, public_key: str | None) -> Iterator[Step]:
    """The user with its key and groups, then its right to become root."""
    keys = wanted_keys(facts, public_key)
    lacks = list(_lacks(facts.deploy_user, keys))
    if lacks:
        variables = {"DEPLOY_USER": user, "KEYS": "\n".join(keys)}
        yield Step("deploy-user", f"{user}: {', '.join(lacks)}", body("deploy-user.sh", variables=variables))
    path = f"/etc/sudoers.d/{app}-deploy"
    content = sudoers(user)
    right = facts.files.get(path) == hashlib.sha256(content.encode()).hexdigest()
    if not right or facts.entries.get(path) != Entry("regular file", "440", "root", "root"):
        variables = {"RULES": path, "CONTENT": content}
        yield Step("sudo", f"{user} cannot become root without a password", body("sudo.sh", variables=variables))


def _lacks(account: Account | None, keys: Iterable[str]) -> Iterator[str]:
    if account is None:
        yield "no such user"
        return
    if account.shell in _NO_LOGIN:
        yield "no login shell"
    if "docker" not in account.groups:
        yield "not in the group docker"
    present = {_identity(key) for key in account.keys}
    if any(_identity(key) not in present for key in keys):
        yield "key missing"
    for path, mode in ((f"{account.home}/.ssh", "700"), (f"{account.home}/.ssh/authorized_keys", "600")):
        entry = account.entries.get(path)
        if entry is None or (entry.mode, entry.owner) != (mode, account.name):
            yield f"{path} is not {mode}"


def _identity(line: str) -> str:
    """The key itself, without options and comment."""
    match = _KEY.search(line)
    return " ".join(match[1].split()) if match else line
