"""A repository of restic away from this host: entered without a secret on a command line, host keys verified."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from host import process
from host.backup.policy import Policy
from host.config import Config
from host.errors import Failure, Status, one_line
from host.process import Done

SHORT = 180.0  # seconds for what moves no data: restic tries a silent server again and again
LONG = 12 * 3600.0  # seconds
_ALIAS = "backup"  # what the SFTP servers are called in the file of their host keys
_PATIENCE = 60.0  # seconds of trying again
_MAKE = "make it: fab backup.init-remote"
_REACHABLE = "is it reachable and not full? the backup on the host is whole"
# "Is there a repository at the following location?" is said after every failure to read its settings
_NO_REPOSITORY = re.compile(
    r"repository does not exist|unable to open config file: [^\n]*(?:no such file|does not exist)"
)
_RETRY = re.compile(r"returned error, retrying after [^:]+: (.*)")
_DENIED = re.compile(
    r"Access ?Denied|SignatureDoesNotMatch|InvalidAccessKeyId|request signature|Access Key Id", re.IGNORECASE
)
_OPENING = "unable to open repository at {}: "
_WRONG_KEY = "wrong password or no key found"
# When nobody has used it for half an hour, or the process of this host that took it is gone, a lock is a dead one's.
_UNLOCK = ("unlock", "--quiet")


@dataclass(frozen=True)
class Repository:
    """One of BACKUP_REMOTES, entered with `password`, or with the one of the release when that is None."""

    config: Config
    policy: Policy
    url: str
    password: str | None = None

    def run(
        self,
        *words: str,
        deadline: float = SHORT,
        stdin: bytes | None = None,
        cwd: str = "/",
        on_line: Callable[[str], None] | None = None,
    ) -> Done:
        """Call restic; raises Failure that says in one line why it would not."""
        argv = ["restic", *self._options(), *words]
        retries = _Retries(self.url, _PATIENCE if deadline == SHORT else deadline, on_line)
        done = process.run(argv, deadline=deadline, check=False, env=self._environment(), stdin=stdin, cwd=cwd,
                           on_line=retries.on_line, tick=retries.tick)  # fmt: skip
        if done.status != 0:
            raise self._failure(done)
        return done

    def lines(self, *words: str) -> list[dict[str, Any]]:
        """What restic says with --json, one value a line."""
        return [
            json.loads(line)
            for line in self.run(*words, "--no-lock", "--json").text.splitlines()
            if line.startswith("{")
        ]

    def array(self, *words: str) -> list[dict[str, Any]]:
        """What restic says with --json when that is one list."""
        found = json.loads(self.run(*words, "--no-lock", "--json").text or "[]")
        return found if isinstance(found, list) else []

    def exists(self) -> bool:
        """Is there a repository, and does it open? Raises Failure when that cannot be told, or the key is wrong."""
        try:
            self.run("cat", "config")
        except Missing:
            return False
        return True

    def unlock(self) -> None:
        """Take away locks of runs that are gone."""
        self.run(*_UNLOCK)

    def _environment(self) -> dict[str, str]:
        folder = self.policy.secrets / "backup"
        values = {"RESTIC_REPOSITORY": self.url, "RESTIC_PROGRESS_FPS": "1", "HOME": "/root"}
        if self.password is None:
            values["RESTIC_PASSWORD_FILE"] = str(folder / "password")
        else:
            values["RESTIC_PASSWORD"] = self.password
        for name, file in (("AWS_ACCESS_KEY_ID", "s3_access_key"), ("AWS_SECRET_ACCESS_KEY", "s3_secret_key")):
            if self.url.startswith("s3:") and (folder / file).is_file():
                values[name] = (folder / file).read_text(encoding="utf-8")
        return values

    def _options(self) -> list[str]:
        options = ["--cache-dir", f"/var/cache/{self.config.app}-restic"]
        if self.url.startswith("sftp:"):
            # restic takes it apart as a shell would; none of its words has a blank or a quote
            options += ["-o", f"sftp.command={' '.join(self._ssh())}"]
        return options

    def _ssh(self) -> list[str]:
        parts = urlsplit(self.url)
        settings = {
            "BatchMode": "yes", "IdentitiesOnly": "yes", "IdentityFile": str(key_file(self.config)),
            "StrictHostKeyChecking": "yes", "UserKnownHostsFile": str(_known_hosts(self.config, self.policy)),
            "GlobalKnownHostsFile": "/dev/null", "HostKeyAlias": _ALIAS, "ConnectTimeout": "20",
            "ServerAliveInterval": "30", "ServerAliveCountMax": "4",
        }  # fmt: skip
        words = ["ssh", "-F", "/dev/null", *(f"-o{name}={value}" for name, value in settings.items())]
        port = ["-p", str(parts.port)] if parts.port else []
        return [*words, *port, "-l", parts.username or "", str(parts.hostname), "-s", "sftp"]

    def _failure(self, done: Done) -> Failure:
        said = f"{done.stderr}\n{done.text}"
        if "unable to start the sftp session" in said:
            # what ssh says of it is often lost on the way: ask it
            said += "\n" + process.run(self._ssh(), deadline=60, check=False, stdin=b"").stderr
        if _NO_REPOSITORY.search(said):
            return Missing(f"there is no repository at {self.url}", hint=_MAKE)
        if _WRONG_KEY in said:
            return Failure(f"the repository at {self.url} does not open with this password", status=Status.REFUSED,
                           hint="it was made with another BACKUP_PASSWORD, or by somebody else")  # fmt: skip
        if "Host key verification failed" in said:
            return Failure(f"{self.url} has a host key that BACKUP_SFTP_HOST_KEYS does not name",
                           hint="ask whoever runs it for its keys; never take them from the connection")  # fmt: skip
        if "Permission denied (" in said:
            return Failure(
                f"{self.url} refuses the login", hint="it has to accept the key that fab backup.init-remote shows"
            )
        return Failure(
            f"{self.url}: {_cause(said).replace(_OPENING.format(self.url), '')}",
            hint=_REACHABLE,
        )


class Missing(Failure):
    """There is no repository at that place."""


class _Retries:
    """What restic says while it tries again: for a quarter of an hour, also what will never go right."""

    def __init__(self, url: str, patience: float, on_line: Callable[[str], None] | None) -> None:
        self._url, self._patience, self._on_line = url, patience, on_line
        self._since: float | None = None
        self._said = ""

    def on_line(self, line: str) -> None:
        if found := _RETRY.search(line):
            self._since = self._since or time.monotonic()
            self._said = found[1]
        if self._on_line:
            self._on_line(line)

    def tick(self) -> None:
        """Give up: raises Failure when it makes no sense to go on."""
        if self._since is None:
            return
        if "bucket does not exist" in self._said:
            raise Missing(f"there is no repository at {self._url}: no such bucket", hint=_MAKE)
        if _DENIED.search(self._said):
            raise Failure(f"{self._url} refuses the key: {one_line(self._said)}",
                          hint="look at BACKUP_S3_ACCESS_KEY and BACKUP_S3_SECRET_KEY")  # fmt: skip
        if time.monotonic() - self._since > self._patience:
            raise Failure(f"{self._url} does not answer: {one_line(self._said)}", hint=_REACHABLE)


def _cause(said: str) -> str:
    """The line that says why, of all that restic says."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        if line.startswith('{"message_type":"exit_error"'):
            return one_line(str(json.loads(line).get("message")))
    fatal = [line.removeprefix("Fatal: ") for line in lines if line.startswith("Fatal: ")]
    return one_line((fatal or lines or ["restic says nothing"])[-1])


def key_file(config: Config) -> Path:
    """The private key this host shows to SFTP servers; made here, and it never leaves."""
    return config.state / "backup_ed25519"


def public_key(config: Config) -> str:
    """Its public half; the pair is made at the first call."""
    path = key_file(config)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{config.app} backups", "-f", str(path)]
        process.run(words, deadline=30)
    return path.with_name(f"{path.name}.pub").read_text(encoding="utf-8").strip()


def _known_hosts(config: Config, policy: Policy) -> Path:
    path = config.state / "backup_known_hosts"
    path.write_text("".join(f"{_ALIAS} {key}\n" for key in policy.host_keys), encoding="utf-8")
    return path


def tags(values: Sequence[tuple[str, str]]) -> str:
    """The tags of a snapshot as restic takes them."""
    return ",".join(f"{name}={value}" for name, value in values)
