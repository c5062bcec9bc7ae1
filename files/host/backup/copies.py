"""Copies of backups away from this host: sent, proven to be there, brought back, dropped when their time is up."""

from __future__ import annotations

import calendar
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host import durable
from host.backup import KINDS, catalog, restic, retention
from host.backup.catalog import Backup
from host.backup.policy import Policy
from host.backup.progress import Progress
from host.backup.restic import Repository
from host.config import Config
from host.errors import Failure, Status, as_failure
from host.events import Journal


@dataclass(frozen=True)
class Snapshot:
    """A copy as the remote lists it: `name` is restic's own id of it."""

    kind: str
    id: str
    name: str

    @property
    def taken(self) -> float:
        """Unix time of the state it holds."""
        return float(calendar.timegm(time.strptime(self.id[:16], "%Y%m%dT%H%M%SZ")))


def require(policy: Policy) -> tuple[str, ...]:
    """The remotes there are. Raises Failure (REFUSED) when there is none."""
    if not policy.remotes:
        raise Failure("no backup leaves this host: BACKUP_REMOTES is empty",
                      hint="set it and BACKUP_PASSWORD, then: fab deploy; fab backup.init-remote",
                      status=Status.REFUSED)  # fmt: skip
    return policy.remotes


def initialise(config: Config, policy: Policy, recovery: str) -> list[dict[str, str]]:
    """Make the repositories that are not there, and let the recovery password open every one.

    Returns {"remote", "state": "made" or "there"} of each. `recovery` is never kept on this host.
    """
    rows = []
    for url in require(policy):
        own = Repository(config, policy, url)
        there = own.exists()
        if not there:
            own.run("init")
        try:
            Repository(config, policy, url, recovery).exists()
        except Failure as failure:
            if failure.status != Status.REFUSED:
                raise
            own.run("key", "add", "--new-password-file", "/dev/stdin", stdin=recovery.encode())
            Repository(config, policy, url, recovery).run("cat", "config")
        rows.append({"remote": url, "state": "there" if there else "made"})
    return rows


def rehearse(config: Config, policy: Policy, recovery: str) -> list[dict[str, Any]]:
    """Open the newest copy on each remote with the recovery password alone, and read its manifest.

    Returns {"remote", "kind", "id", "ok", "cause", "seconds"} of each.
    """
    rows = []
    for url in require(policy):
        began = time.monotonic()
        row: dict[str, Any] = {"remote": url, "kind": "", "id": ""}
        try:
            repository = Repository(config, policy, url, recovery)
            found = _listed(config, repository)
            if not found:
                raise Failure("there is no copy yet")
            newest = max(found, key=lambda item: item.id)
            manifest = json.loads(repository.run("dump", "--no-lock", newest.name, f"/{catalog.MANIFEST}").text)
            if (manifest.get("kind"), manifest.get("id")) != (newest.kind, newest.id):
                raise Failure(f"the manifest in copy {newest.id} is another one's")
            row |= {"kind": newest.kind, "id": newest.id, "ok": True, "cause": ""}
        except Exception as error:
            row |= {"ok": False, "cause": as_failure(error, "opening the copy").cause}
        rows.append({**row, "seconds": round(time.monotonic() - began, 1)})
    return rows


def snapshots(config: Config, policy: Policy, url: str) -> list[Snapshot]:
    """The copies of this application's backups that a remote has, oldest first."""
    return _listed(config, Repository(config, policy, url))


def _listed(config: Config, repository: Repository) -> list[Snapshot]:
    found = []
    for raw in repository.array("snapshots", "--tag", restic.tags([("app", config.app)])):
        labels = dict(str(tag).partition("=")[::2] for tag in raw.get("tags") or [])
        if labels.get("kind") in KINDS and catalog.is_id(labels.get("id", "")):
            found.append(Snapshot(labels["kind"], labels["id"], str(raw["id"])))
    return sorted(found, key=lambda item: (item.id, item.kind))


def send(config: Config, policy: Policy, kinds: Iterable[str], journal: Journal) -> list[Failure]:
    """Copy what each remote lacks: the newest backup of each kind, and what was made since the last good copy.

    What came of each is noted in the backup's manifest. Returns the failures: one remote's does not stop another.
    """
    failures = []
    for url in policy.remotes:
        lacking = [item for kind in kinds for item in waiting(catalog.backups(config, kind), url)]
        lacking.sort(key=lambda item: item.id, reverse=True)  # an old one that cannot be read stops no newer one
        try:
            _to_remote(Repository(config, policy, url), lacking, kinds, journal)
        except Exception as error:
            failures.append(as_failure(error, f"copying to {url}"))
            journal.warn(f"no copy: {failures[-1].cause}")
            for item in lacking:
                if not status(item, url).get("ok"):
                    _note(item, url, {"ok": False, "cause": failures[-1].cause})
    return failures


def _to_remote(repository: Repository, lacking: Sequence[Backup], kinds: Iterable[str], journal: Journal) -> None:
    """Send, look whether all of it is there, and only then call it copied; at last drop what is too old."""
    there = _listed(repository.config, repository)  # says at once when nobody answers, or there is no repository
    sent: list[tuple[Backup, str, float]] = []
    failed: Exception | None = None
    for backup in lacking:
        try:
            sent.append((backup, *_sent(repository, backup, journal)))
        except Exception as error:
            failed = error
            break
    if sent:
        with journal.step("copy", f"comparing every pack at {repository.url}") as step:
            repository.run("check", "--no-lock", "--quiet", deadline=restic.LONG)
            step.done("every pack is there in its full length")
    for backup, name, seconds in sent:
        _note(backup, repository.url, {"ok": True, "cause": "", "snapshot": name, "seconds": seconds})
        there.append(Snapshot(backup.kind, backup.id, name))
    _forget(repository, there, kinds)
    if failed is not None:
        raise failed


def _sent(repository: Repository, backup: Backup, journal: Journal) -> tuple[str, float]:
    """Send one; returns restic's id of the snapshot, and the seconds it took."""
    began = time.monotonic()
    with journal.step("copy", f"copying {backup.kind} {backup.id} to {repository.url}") as step:
        name = _put(repository, backup, Progress(step, "sent", backup.bytes))
        _proven(repository, backup, name)
        seconds = round(time.monotonic() - began, 1)
        step.done(f"{backup.kind} {backup.id} is at {repository.url}: {seconds} s")
    return name, seconds


def waiting(backups: Sequence[Backup], url: str) -> list[Backup]:
    """Which of a kind's backups (oldest first) have still to be copied to `url`."""
    last = max((number for number, item in enumerate(backups) if status(item, url).get("ok")), default=None)
    return list(backups[-1:]) if last is None else list(backups[last + 1 :])


def status(backup: Backup, url: str) -> dict[str, Any]:
    """What is known of a backup's copy on a remote: {"ok", "at", "cause", "seconds", "snapshot"}; {} for nothing."""
    copies = backup.manifest.get("copies") or []
    return next((each for each in copies if each.get("remote") == url), {})


def _note(backup: Backup, url: str, said: dict[str, Any]) -> None:
    others = [each for each in backup.manifest.get("copies") or [] if each.get("remote") != url]
    backup.manifest["copies"] = [*others, {"remote": url, "at": time.time(), **said}]
    catalog.note(backup, copies=backup.manifest["copies"])


def _put(repository: Repository, backup: Backup, progress: Progress) -> str:
    """Send it; returns restic's id of the snapshot."""
    labels = restic.tags([("app", repository.config.app), ("kind", backup.kind), ("id", backup.id)])
    summary: dict[str, Any] = {}

    def on_line(line: str) -> None:
        if line.startswith("{"):
            said = json.loads(line)
            if said.get("message_type") == "status":
                progress.at(int(said.get("bytes_done") or 0))
            elif said.get("message_type") == "summary":
                summary.update(said)

    words = ("backup", "--json", "--host", repository.config.app, "--tag", labels, ".")
    repository.run(*words, deadline=restic.LONG, cwd=str(backup.path), on_line=on_line)
    if not summary.get("snapshot_id"):
        raise Failure(f"{repository.url}: restic ended without a snapshot")
    return str(summary["snapshot_id"])


def _proven(repository: Repository, backup: Backup, name: str) -> None:
    """The remote lists every file with its size and gives the manifest back.

    The content cannot differ from its name unseen: restic names what it stores by the SHA-256 of it, and a drill reads
    all of it back.
    """
    there = {
        str(each["path"]).lstrip("/"): int(each.get("size") or 0)
        for each in repository.lines("ls", name)
        if each.get("type") == "file"
    }
    wanted = {str(each["path"]): int(each["size"]) for each in backup.manifest["files"]}
    if different := sorted(path for path, size in wanted.items() if there.get(path) != size):
        raise Failure(f"{repository.url} does not list {different[0]} as it was sent")
    told = json.loads(repository.run("dump", "--no-lock", name, f"/{catalog.MANIFEST}").text)
    if told.get("files") != backup.manifest["files"]:
        raise Failure(f"{repository.url} gives back another manifest")


def _forget(repository: Repository, there: Sequence[Snapshot], kinds: Iterable[str]) -> None:
    """Drop the copies whose time is up, by the rules for those on the host."""
    doomed = []
    for kind in kinds:
        of_kind = [item for item in there if item.kind == kind]
        kept = retention.decide(
            [retention.Item(item.id, item.taken, good=True) for item in of_kind],
            repository.policy.keep[kind], time.time(),
        )  # fmt: skip
        doomed += [item.name for item in of_kind if kept[item.id] is None]
    if doomed:
        repository.unlock()
        repository.run("forget", "--quiet", "--prune", *doomed, deadline=restic.LONG)


@contextmanager
def fetched(config: Config, policy: Policy, url: str, kind: str, name: str) -> Iterator[Backup]:
    """A copy ("latest" or an id) brought here, every byte compared with its manifest; gone at the end."""
    found = [item for item in snapshots(config, policy, url) if item.kind == kind and name in (item.id, "latest")]
    if not found:
        raise Failure(f"{url} has no backup of {kind} called {name}", hint="see: fab backup.copies",
                      status=Status.REFUSED)  # fmt: skip
    newest = found[-1]
    repository = Repository(config, policy, url)
    with catalog.staging(config, kind) as (_, partial):
        [size] = [int(each["total_size"]) for each in repository.lines("stats", newest.name)]
        catalog.room(config, kind, size)
        repository.run("restore", "--no-lock", newest.name, "--quiet", "--target", str(partial), deadline=restic.LONG)
        manifest = catalog.read(partial)
        whose = ((manifest or {}).get("app"), (manifest or {}).get("kind"), (manifest or {}).get("id"))
        if manifest is None or whose != (config.app, kind, newest.id):
            raise Failure(f"copy {newest.id} on {url} is not what it says", status=Status.REFUSED)
        catalog.check(partial, manifest)
        yield Backup(kind, newest.id, partial, manifest)


def retrieve(config: Config, policy: Policy, url: str, kind: str, name: str, *, journal: Journal) -> dict[str, object]:
    """Bring a copy back into the backups of this host. Returns {"kind", "id", "path", "message"}."""
    with journal.step("retrieve", f"fetching {kind} {name} from {url}") as step:
        with fetched(config, policy, url, kind, name) as backup:
            final = catalog.folder(config, kind) / backup.id
            if final.exists():
                raise Failure(f"backup {backup.id} is on this host already", hint="see: fab backup.list",
                              status=Status.REFUSED)  # fmt: skip
            _note(backup, url, {"ok": True, "cause": "", "snapshot": ""})
            _settle(backup.path)
            backup.path.rename(final)
            durable.sync_directory(final.parent)
        step.done(f"{kind} {backup.id} is here, every checksum right")
    return {"kind": kind, "id": backup.id, "path": str(final), "message": f"{kind} {backup.id}"}


def _settle(path: Path) -> None:
    """Everything below is on the disk, and for root alone."""
    for base, _, names in os.walk(path):
        Path(base).chmod(0o700)
        for name in names:
            (Path(base) / name).chmod(0o600)
            handle = os.open(Path(base) / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        durable.sync_directory(Path(base))


def listing(config: Config, policy: Policy) -> list[dict[str, Any]]:
    """What each remote has itself, not what was noted here: {"remote", "cause", "copies": [{"kind", "id"}]}."""
    rows = []
    for url in require(policy):
        try:
            found = [{"kind": item.kind, "id": item.id} for item in snapshots(config, policy, url)]
            rows.append({"remote": url, "cause": "", "copies": found})
        except Exception as error:
            rows.append({"remote": url, "cause": as_failure(error, "asking the remote").cause, "copies": []})
    return rows
