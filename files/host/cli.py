"""The command line of the host program: which commands there are, and which exit code each failure has.

Each command imports its own modules: from a zipapp they are compiled every time, and `status` has to be fast.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from host import audit, background, events
from host import config as configuration
from host.background import Errand, answer, out
from host.backup import commands as backup
from host.config import Config
from host.errors import Failure, Status, as_failure
from host.events import Journal

_QUESTION = 16 << 20  # bytes read of a question on stdin
_BOOT_WAIT = 500.0  # seconds `up` waits for a deploy to end; systemd gives the unit 600


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Runs one web application on this host. Prints JSON lines.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, *, hidden: bool = False) -> argparse.ArgumentParser:
        # Without `help` a command is not listed: these are called by this program, certbot and systemd.
        return (
            commands.add_parser(name, description=text)
            if hidden
            else commands.add_parser(name, help=text, description=text)
        )

    command("status", "everything about the application on this host, as one JSON line")
    command("receive", "take in a release: a tar on stdin, manifest.json first")
    shown = command("show", "write files of a release to stdout as a tar; secret ones are refused")
    shown.add_argument("release", help='a release id, or "current"')
    shown.add_argument("paths", nargs="+", help="paths in the release")
    applied = command("apply", "apply a release and follow that to its end; goes on when the connection drops")
    applied.add_argument("release")
    command("attach", "follow the command that is running, or tell again how the last one went")
    converged = command("converge", "run the setup scripts on stdin (JSON)")
    for each in (applied, converged):
        each.add_argument("--by", default=_who(), help="who asks for it")
        each.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait that long for another command")
    audited = command("audit", "what was done to this host, by whom and with what result, as one JSON line")
    audited.add_argument("--lines", type=int, default=50, help="at most so many, the newest")
    command("resolve", "what image tags stand for now, and what is still to be transferred (JSON on stdin)")
    command("missing-layers", "which layers of images the engine here lacks (JSON on stdin)")
    loading = command("load", "take in images: a tar of `docker save` on stdin, without the layers that are here")
    loading.add_argument("expected", nargs="+", metavar="REFERENCE=ID", help="what has to be there afterwards")
    loading.add_argument("--by", default=_who(), help="who asks for it")
    loading.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait that long for another command")
    command("exposure", "who listens and which rules are loaded, as one JSON line")
    command("confirm", "keep the change to the firewall or sshd that was made last: the way in still works")
    command("revert", "undo that change now")
    closing = command("maintenance", "close the site for visitors (message on stdin), or open it again")
    closing.add_argument("state", choices=("on", "off"))
    closing.add_argument("--by", default=_who(), help="who asks for it")
    command("up", "start the current release (at boot)")
    command("stop", "stop the containers (at shutdown)")
    inside = [command("run-apply", "be the unit", hidden=True), command("run-converge", "be the unit", hidden=True)]
    for each in (applied, inside[0]):
        each.add_argument("--kind", choices=("deploy", "rollback"), default="deploy")
        each.add_argument("--plan", default="", help="the id of the plan that was agreed to")
        each.add_argument("--after", default="", help='only when this release serves now ("none": when none does)')
    inside[0].add_argument("release")
    inside[1].add_argument("job", type=Path)
    inside += [_certificate_parsers(command), *backup.parsers(command, _who())]
    for each in inside:
        each.add_argument("--by", default="")
        each.add_argument("--from", default="", dest="origin")
        each.add_argument("--events", type=Path, required=True)
        each.add_argument("--unit", required=True)
    ended = command("ended", "write the last event of a unit that was killed", hidden=True)
    ended.add_argument("events", type=Path)
    command("install-certificate", "what certbot calls after issuing", hidden=True)
    return parser


def _certificate_parsers(command: Callable[..., argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Make the parsers of `certificate` and of its unit; returns the latter."""
    kept = command("certificate", "what is stored, served and to come; or get it; or renew it")
    unit = command("run-certificate", "be the unit", hidden=True)
    for each in (kept, unit):
        each.add_argument("action", choices=("status", "issue", "renew"))
        each.add_argument("--force", action="store_true", help="also when there is a good one")
        each.add_argument("--dry-run", action="store_true", help="renew: only try")
        each.add_argument("--skip-check", action="store_true", help="issue: do not look first whether names lead here")
        each.add_argument("--name", action="append", default=[], type=_domain, metavar="DOMAIN",
                          help="issue: a name besides those of the release")  # fmt: skip
    kept.add_argument("--by", default=_who(), help="who asks for it")
    kept.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait that long for another command")
    return unit


def _domain(text: str) -> str:
    """Words of a command line that go on to certbot's: nothing there may pass for an option."""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", text):
        raise argparse.ArgumentTypeError("not a domain name")
    return text


def _who() -> str:
    return f"{os.environ.get('SUDO_USER') or 'root'}@{os.uname().nodename}"


def _status(config: Config, _args: argparse.Namespace) -> int:
    from host import status

    out(json.dumps(status.status(config), ensure_ascii=False).encode() + b"\n")
    return Status.OK


def _receive(config: Config, _args: argparse.Namespace) -> int:
    from host import receive

    data = receive.receive(config, sys.stdin.buffer, Journal(None, sys.stdout.buffer))
    return _done(data, f"release {data['release']} received")


def _show(config: Config, args: argparse.Namespace) -> int:
    from host import show

    show.show(config, args.release, args.paths, sys.stdout.buffer)
    return Status.OK


def _apply(config: Config, args: argparse.Namespace) -> int:
    words = ["run-apply", args.release, "--kind", args.kind, "--plan", args.plan]
    words += ["--after", args.after, *_asked(args)]
    return background.launch(config, "apply", f"{config.app}-apply-{args.release}", words, args.wait)


def _asked(args: argparse.Namespace) -> list[str]:
    """Who asks and from where, for the unit: it has no SSH connection to tell."""
    return ["--by", args.by, "--from", audit.client() or ""]


def _run_apply(config: Config, args: argparse.Namespace) -> int:
    from host import apply, state

    def body(journal: Journal) -> dict[str, object]:
        apply.still_after(config, args.after)
        state.begin(config, args.release, args.by)
        done = apply.apply(config, args.release, journal, kind=args.kind, by=args.by)
        return {"message": f"release {args.release} serves", **done}

    record = _record(args, args.kind, args.release)
    record |= {"plan": args.plan or None, "accepted": apply.accepted(config, args.release)}
    errand = Errand(args.by, f"{args.kind} of {args.release}", record, args.unit)
    return background.work(config, errand, args.events, background.UNIT_WAIT, body)


def _record(args: argparse.Namespace, what: str, target: str | None) -> dict[str, Any]:
    return {"what": what, "target": target, "by": args.by, "from": args.origin or None}


def _audit(config: Config, args: argparse.Namespace) -> int:
    return answer({"entries": audit.tail(config, args.lines)})


def _resolve(config: Config, _args: argparse.Namespace) -> int:
    from host import resolve

    return answer(resolve.resolve(config, sys.stdin.buffer.read(_QUESTION)))


def _missing_layers(config: Config, _args: argparse.Namespace) -> int:
    from host import load

    return answer(load.missing(config, sys.stdin.buffer.read(_QUESTION)))


def _load(config: Config, args: argparse.Namespace) -> int:
    from host import load

    pairs = [word.rpartition("=") for word in args.expected]
    expected = {reference: image for reference, _, image in pairs}
    record = {"what": "images", "target": ", ".join(expected), "by": args.by, "from": audit.client()}
    config.prepare()
    # Not a unit: when the sender is gone there is nothing to go on with.
    return background.work(
        config, Errand(args.by, "sending of images", record), None, args.wait,
        lambda journal: load.load(config, sys.stdin.buffer, journal, expected),
    )  # fmt: skip


def _converge(config: Config, args: argparse.Namespace) -> int:
    from host import converge

    job = converge.save(config, sys.stdin.buffer.read(converge.SIZE_LIMIT + 1))
    name = f"{config.app}-converge-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    try:
        return background.launch(config, "converge", name, ["run-converge", str(job), *_asked(args)], args.wait)
    except Failure:
        job.unlink(missing_ok=True)
        raise


def _run_converge(config: Config, args: argparse.Namespace) -> int:
    from host import converge

    job = converge.take(args.job)
    errand = Errand(args.by, job.kind, _record(args, job.kind, None), args.unit)
    return background.work(
        config, errand, args.events, background.UNIT_WAIT, lambda journal: converge.converge(config, job, journal)
    )


def _certificate(config: Config, args: argparse.Namespace) -> int:
    if args.action == "status":
        from host import tls

        return answer(tls.status(config))
    flags = [f"--{name.replace('_', '-')}" for name in ("force", "dry_run", "skip_check") if getattr(args, name)]
    unit = f"{config.app}-certificate-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    names = [word for name in args.name for word in ("--name", name)]
    words = ["run-certificate", args.action, *flags, *names, *_asked(args)]
    return background.launch(config, "certificate", unit, words, args.wait)


def _run_certificate(config: Config, args: argparse.Namespace) -> int:
    from host import tls

    def body(journal: Journal) -> dict[str, object]:
        if args.action == "issue":
            return tls.issue(config, journal, check=not args.skip_check, force=args.force, names=tuple(args.name))
        return tls.renew(config, journal, force=args.force, dry_run=args.dry_run)

    what = f"certificate {args.action}" + (" (dry run)" if args.dry_run else "")
    errand = Errand(args.by, what, _record(args, what, None), args.unit)
    return background.work(config, errand, args.events, background.UNIT_WAIT, body)


def _exposure(_config: Config, _args: argparse.Namespace) -> int:
    from host import exposure

    return answer(exposure.exposure())


def _armed(config: Config, args: argparse.Namespace) -> int:
    from host import armed

    out(armed.answer(config, args.command).encode() + b"\n")
    return Status.OK


def _maintenance(config: Config, args: argparse.Namespace) -> int:
    from host import maintenance

    # Not under the lock: a deploy that hangs is a reason to close the site.
    record = {"what": f"maintenance {args.state}", "target": None, "by": args.by, "from": audit.client()}
    if args.state == "on":
        message = sys.stdin.buffer.read(_QUESTION).decode("utf-8", "replace")
        told = maintenance.close(config, message, args.by)
        audit.note(config, record)
        return answer({"closed": told, "changed": True})
    changed = maintenance.open_again(config)
    if changed:
        audit.note(config, record)
    return answer({"closed": None, "changed": changed})


def _up(config: Config, _args: argparse.Namespace) -> int:
    from host import boot

    data = boot.up(config, Journal(None, sys.stdout.buffer), _BOOT_WAIT)
    return _done(data, "")


def _stop(config: Config, _args: argparse.Namespace) -> int:
    from host import boot

    return _done(boot.stop(config), "")


def _install_certificate(config: Config, _args: argparse.Namespace) -> int:
    from host import certificate

    return _done({}, certificate.deploy_hook(config, dict(os.environ)))


def _done(data: dict[str, object], message: str) -> int:
    message = str(data.pop("message", message))
    out(json.dumps(events.final(Status.OK, data=data, message=message)).encode() + b"\n")
    return Status.OK


_COMMANDS: dict[str, Callable[[Config, argparse.Namespace], int]] = {
    "status": _status,
    "receive": _receive,
    "show": _show,
    "apply": _apply,
    "attach": lambda config, _args: background.attach(config),
    "converge": _converge,
    "audit": _audit,
    "resolve": _resolve,
    "missing-layers": _missing_layers,
    "load": _load,
    "exposure": _exposure,
    "certificate": _certificate,
    "run-certificate": _run_certificate,
    "confirm": _armed,
    "revert": _armed,
    "maintenance": _maintenance,
    "up": _up,
    "stop": _stop,
    "run-apply": _run_apply,
    "run-converge": _run_converge,
    "ended": lambda config, args: background.ended(config, args.events, dict(os.environ)),
    "install-certificate": _install_certificate,
    **backup.COMMANDS,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. Whatever goes wrong becomes a `failed` event, never a traceback."""
    os.umask(0o077)
    args = _parser().parse_args(arguments)
    try:
        return int(_COMMANDS[args.command](configuration.load(), args))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody listens: the interpreter must not complain at exit
        return Status.FAILED
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except Exception as error:
        failure = as_failure(error, args.command)
        line = json.dumps(events.final(failure.status, failure.cause, failure.hint, failure.data)).encode() + b"\n"
        if args.command in ("show", "fetch"):  # their stdout is a file
            sys.stderr.buffer.write(line)
        else:
            out(line)
        return int(failure.status)
