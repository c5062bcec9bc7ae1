"""The commands of backups and restores: their words, and what each does. Its modules are imported when it runs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from host import audit, background
from host.background import Errand, answer
from host.backup import ALL, KINDS
from host.backup.policy import Policy
from host.config import Config
from host.errors import Failure, Status
from host.events import Journal

Parsers = Callable[..., argparse.ArgumentParser]


def parsers(command: Parsers, who: str) -> list[argparse.ArgumentParser]:
    """Make the parsers; returns those of the units, which get what every unit has."""
    making = command("backup", "make a backup, prove it, and drop those whose time is up")
    trying = command("drill", "restore the newest backups into throwaway servers and compare")
    putting = command("restore", "replace live data by those of a backup; or undo that")
    bringing = command("retrieve", "fetch a copy from a remote into the backups of this host")
    units = [command(f"run-{name}", "be the unit", hidden=True) for name in ("backup", "drill", "restore", "retrieve")]
    for each in (making, trying, units[0], units[1]):
        each.add_argument("kind", choices=("all", *ALL))
    for each in (making, units[0]):
        each.add_argument("--reason", default="by hand")
    for each in (putting, units[2]):
        each.add_argument("kind", choices=("postgres", "redis"))
        each.add_argument("source", help='"latest", an id, an absolute path, "at:<Unix time>", or "undo"')
        each.add_argument("--other-database", action="store_true", help="also a dump of a database of another name")
        each.add_argument("--anew", action="store_true", help="settings and grants of databases from the backup too")
    for each in (bringing, units[3]):
        each.add_argument("kind", choices=KINDS)
        each.add_argument("id", help='"latest" or an id')
        each.add_argument("--remote", default="", help="one of BACKUP_REMOTES; the first without it")
    taking = command(
        "adopt", "take over from a remote: release, certificates and backups; the question on stdin (JSON)"
    )
    units.append(command("run-adopt", "be the unit", hidden=True))
    units[4].add_argument("job")
    for each in (making, trying, putting, bringing, taking):
        each.add_argument("--by", default=who, help="who asks for it")
        each.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait that long for another command")
    command("backups", "the backups on this host, as one JSON line")
    pruning = command("prune", "drop the backups whose time is up")
    pruning.add_argument("--dry-run", action="store_true", help="only say which")
    pruning.add_argument("--by", default=who, help="who asks for it")
    looking = command("inspect", "what a restore would replace by what, as one JSON line")
    looking.add_argument("kind", choices=("postgres", "redis"))
    looking.add_argument("source")
    looking.add_argument("--other-database", action="store_true")
    looking.add_argument("--wait", type=float, default=10, metavar="SECONDS", help="wait that long for another command")
    fetching = command("fetch", "write files of a backup to stdout, one behind the other")
    fetching.add_argument("kind", choices=ALL)
    fetching.add_argument("id")
    fetching.add_argument("path", nargs="+")
    fetching.add_argument("--offset", type=int, default=0, metavar="BYTES", help="of the first to leave out")
    command("receive-wal", "receive PostgreSQL's log of changes (what systemd runs)", hidden=True)
    command("copies", "the backups that the remotes have, as one JSON line")
    command("backup-key", "the public key this host shows to SFTP servers")
    command("init-remote", "make the repositories on the remotes; the recovery password on stdin, as JSON")
    command("rehearse-keys", "open the newest copies with the recovery password, on stdin as JSON")
    taking_in = command("upload", "take in a file on stdin to restore from; says where it lies")
    taking_in.add_argument(
        "--size", type=int, default=0, metavar="BYTES", help="how big it is: refused if it cannot fit"
    )
    return units


def _launched(config: Config, args: argparse.Namespace, words: list[str]) -> int:
    name = f"{config.app}-{words[0].removeprefix('run-')}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    words = [*words, "--by", args.by, "--from", audit.client() or ""]
    return background.launch(config, words[0].removeprefix("run-"), name, words, args.wait)


def _worked(config: Config, args: argparse.Namespace, what: str, body: Callable[[Journal], dict[str, object]]) -> int:
    record: dict[str, Any] = {"what": what, "target": None, "by": args.by, "from": args.origin or None}
    errand = Errand(args.by, what, record, args.unit)
    return background.work(config, errand, args.events, background.UNIT_WAIT, body)


def _kinds(config: Config, args: argparse.Namespace) -> tuple[str, ...]:
    from host.backup import policy, run

    return run.wanted(policy.load(config), args.kind)


def _backup(config: Config, args: argparse.Namespace) -> int:
    return _launched(config, args, ["run-backup", args.kind, "--reason", args.reason])


def _run_backup(config: Config, args: argparse.Namespace) -> int:
    from host.backup import run

    what = f"backup of {'everything' if args.kind == 'all' else args.kind}"
    return _worked(
        config, args, what, lambda journal: run.backup(config, _kinds(config, args), journal, args.reason).told()
    )


def _drill(config: Config, args: argparse.Namespace) -> int:
    return _launched(config, args, ["run-drill", args.kind])


def _run_drill(config: Config, args: argparse.Namespace) -> int:
    from host.backup import drill

    return _worked(config, args, "drill", lambda journal: drill.drill(config, _kinds(config, args), journal))


def _restore(config: Config, args: argparse.Namespace) -> int:
    flags = [f"--{name.replace('_', '-')}" for name in ("other_database", "anew") if getattr(args, name)]
    return _launched(config, args, ["run-restore", args.kind, args.source, *flags])


def _run_restore(config: Config, args: argparse.Namespace) -> int:
    from host.backup import policy, refill, restore

    def body(journal: Journal) -> dict[str, object]:
        found = policy.load(config)
        if args.kind == "redis":
            if args.source == "undo":
                return refill.undo(config, found, journal, by=args.by)
            return refill.restore(config, found, args.source, journal, by=args.by)
        if args.source == "undo":
            return restore.undo(config, found, journal, by=args.by)
        return restore.restore(
            config, found, args.source, journal, other=args.other_database, anew=args.anew, by=args.by
        )

    return _worked(config, args, f"restore of {args.kind} from {args.source}", body)


def _backups(config: Config, _args: argparse.Namespace) -> int:
    from host.backup import refill, restore, run

    undo = {"postgres": restore.kept_now(config), "redis": refill.kept_now(config)}
    return answer({**run.listing(config), "undo": undo})


def _prune(config: Config, args: argparse.Namespace) -> int:
    from host.backup import policy, run

    keep = policy.load(config)
    if args.dry_run:
        return answer(run.prune(config, ALL, Journal(None, None), keep, rehearsal=True))
    record = {"what": "prune", "target": None, "by": args.by, "from": audit.client()}
    return background.work(
        config, Errand(args.by, "pruning of backups", record), None, 0,
        lambda journal: run.prune(config, ALL, journal, keep, rehearsal=False),
    )  # fmt: skip


def _inspect(config: Config, args: argparse.Namespace) -> int:
    from host import lock, stopping
    from host.backup import policy, refill, restore

    stopping.when_deserted()
    info = {"who": "inspect", "what": "a look at a backup", "unit": None}
    with lock.held(config.lock, config.app, info, args.wait):
        if args.kind == "redis":
            return answer(refill.inspect(config, args.source))
        return answer(restore.inspect(config, policy.load(config), args.source, other=args.other_database))


def _fetch(config: Config, args: argparse.Namespace) -> int:
    from host.backup import catalog

    backup = catalog.find(config, args.kind, args.id)
    names = {str(each["path"]) for each in backup.manifest["files"]} | {catalog.MANIFEST}
    for path in args.path:
        if path not in names:
            raise Failure(f"backup {backup.id} has no file {path}", status=Status.REFUSED)
    offset = args.offset
    for path in args.path:
        with (backup.path / path).open("rb") as stream:
            stream.seek(offset)
            while chunk := stream.read(1 << 20):
                sys.stdout.buffer.write(chunk)
        offset = 0
    sys.stdout.buffer.flush()
    return Status.OK


def _upload(config: Config, args: argparse.Namespace) -> int:
    from host.backup import incoming

    return answer(incoming.take(config, sys.stdin.buffer, args.size))


def _retrieve(config: Config, args: argparse.Namespace) -> int:
    remote = ["--remote", args.remote] if args.remote else []
    return _launched(config, args, ["run-retrieve", args.kind, args.id, *remote])


def _run_retrieve(config: Config, args: argparse.Namespace) -> int:
    from host.backup import copies, policy

    def body(journal: Journal) -> dict[str, object]:
        found = policy.load(config)
        remotes = copies.require(found)
        url = args.remote or remotes[0]
        if url not in remotes:
            raise Failure(f"{url} is none of BACKUP_REMOTES", status=Status.REFUSED)
        return copies.retrieve(config, found, url, args.kind, args.id, journal=journal)

    return _worked(config, args, f"fetching of {args.kind} {args.id}", body)


def _adopt(config: Config, args: argparse.Namespace) -> int:
    from host.backup import adopt

    job = adopt.save(config, sys.stdin.buffer.read(1 << 17))
    try:
        return _launched(config, args, ["run-adopt", str(job)])
    except Failure:
        job.unlink(missing_ok=True)
        raise


def _run_adopt(config: Config, args: argparse.Namespace) -> int:
    from host.backup import adopt

    question = adopt.take(Path(args.job))
    what = f"rebuild from {question.remote}"
    return _worked(config, args, what, lambda journal: adopt.adopt(config, question, journal))


def _receive_wal(config: Config, _args: argparse.Namespace) -> int:
    from host.backup import base, policy, wal

    found = policy.load(config)
    base.require(found)
    wal.receive(config, found)
    return Status.FAILED  # not reached: the receiver has taken this process's place


def _copies(config: Config, _args: argparse.Namespace) -> int:
    from host.backup import copies, policy

    return answer({"remotes": copies.listing(config, policy.load(config))})


def _with_recovery(config: Config, what: str, does: Callable[[Config, Policy, str], list[dict[str, Any]]]) -> int:
    """Run what needs the password that this host does not keep, while nothing else is at the repositories."""
    from host import lock
    from host.backup import policy

    question = json.loads(sys.stdin.buffer.read(1 << 16))
    with lock.held(config.lock, config.app, {"who": what, "what": what, "unit": None}, 10):
        return answer({"remotes": does(config, policy.load(config), str(question["recovery"]))})


def _init_remote(config: Config, _args: argparse.Namespace) -> int:
    from host.backup import copies, restic

    restic.public_key(config)
    return _with_recovery(config, "init-remote", copies.initialise)


def _backup_key(config: Config, _args: argparse.Namespace) -> int:
    from host.backup import restic

    return answer({"public_key": restic.public_key(config)})


def _rehearse_keys(config: Config, _args: argparse.Namespace) -> int:
    from host.backup import copies

    return _with_recovery(config, "rehearse-keys", copies.rehearse)


COMMANDS: dict[str, Callable[[Config, argparse.Namespace], int]] = {
    "backup": _backup,
    "run-backup": _run_backup,
    "drill": _drill,
    "run-drill": _run_drill,
    "restore": _restore,
    "run-restore": _run_restore,
    "backups": _backups,
    "prune": _prune,
    "inspect": _inspect,
    "fetch": _fetch,
    "upload": _upload,
    "receive-wal": _receive_wal,
    "copies": _copies,
    "init-remote": _init_remote,
    "backup-key": _backup_key,
    "rehearse-keys": _rehearse_keys,
    "retrieve": _retrieve,
    "run-retrieve": _run_retrieve,
    "adopt": _adopt,
    "run-adopt": _run_adopt,
}
