"""`fab setup`: from a bare Debian or Ubuntu server, as root or a sudo user, to one that can be deployed to."""

from __future__ import annotations

from collections.abc import Collection
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core import events, project
from tasks.core.command import Command
from tasks.core.errors import HostFailed, Refused, UsageError
from tasks.core.observe import observe
from tasks.core.session import Session
from tasks.core.task import Report
from tasks.model import program
from tasks.model.facts import Facts
from tasks.model.provision.preflight import SUPPORTED
from tasks.model.setup import Step, Wanted, plan, remarks
from tasks.operations import armed, busy, hint

if TYPE_CHECKING:
    from tasks.core.settings import Settings

_DIRECT = 1800.0  # seconds for a step without the host program: python3 over a slow line, after somebody else's apt


def setup(
    s: Session, *, yes: bool, dry_run: bool, wait: float = 0, only: Collection[str] = (),
    revert_after: int = armed.SECONDS, harden: bool = False,
) -> Report:  # fmt: skip
    """Observe, plan, ask unless `yes`, perform, and observe again: nothing may be left.

    `wait` are the seconds to wait for somebody else's command; another setup is watched to its end. With `only`, the
    names of the steps that are done, the others left out. A change that could shut us out is undone by the host
    `revert_after` seconds later unless a new connection works. Raises UsageError for too short a time, Refused when
    the host cannot be made ready or the answer is no, Locked when it is busy for longer, HostFailed when a step failed.
    """
    from tasks.core.settings import load

    if not 5 <= revert_after <= 3600:
        raise UsageError(f"--revert-after takes 5 to 3600 seconds, not {revert_after}")
    settings = load(s.settings_file)
    bytes_of_program = program.build(settings.app_name)
    goal = wanted(settings, program.digest(bytes_of_program), harden=harden)
    facts, _ = busy.until_free(
        s, settings, observe(s, settings), wait=wait, again=hint.fab(s, "setup"),
        ours=lambda what: what == "setup", forgiving=True,  # what it left undone is in our plan
    )  # fmt: skip
    steps, notes = [step for step in plan(facts, goal) if not only or step.name in only], remarks(facts, goal)
    _show(s, facts, steps, notes)
    document = {
        "host": s.name,
        "system": facts.os,
        "steps": [{"name": step.name, "why": step.why} for step in steps],
        "notes": notes,
        "changed": bool(steps) and not dry_run,
    }
    if not steps:
        return Report(document, f"nothing to do: {s.name} is ready for fab deploy")
    if dry_run:
        return Report(document, f"{_count(steps)} to do, nothing was changed")
    if not yes and not s.out.confirm(f"Do {'this' if len(steps) == 1 else f'these {len(steps)} steps'} on {s.name}?"):
        raise Refused("not confirmed, nothing was changed", hint="repeat with --yes to do it unasked")
    _perform(s, settings.app_name, steps, bytes_of_program, wait=wait, revert_after=revert_after)
    _verify(s, settings, goal, only)
    return Report(document, f"done: {s.name} is ready for fab deploy ({_count(steps)})")


def _key_exchanges() -> tuple[str, ...]:
    import paramiko

    return tuple(paramiko.Transport._preferred_kex)  # type: ignore[attr-defined]


def wanted(settings: Settings, digest: str, *, harden: bool = False) -> Wanted:
    """What the settings want of a host; `digest` is the sha256 of the host program that belongs to this checkout."""
    return Wanted(
        app=settings.app_name,
        deploy_user=settings.deploy_user,
        docker_source=settings.docker_source,
        program=digest,
        public_key=_public_key(settings.deploy_public_key_file),
        http_port=settings.http_port,
        https_port=settings.https_port,
        http3=settings.http3,
        reboot_time=settings.reboot_time,
        harden=harden,
        client_kex=_key_exchanges(),
    )


def _public_key(path: Path) -> str | None:
    """The text of DEPLOY_PUBLIC_KEY_FILE; None when it is the default, and the user has no key there.

    Raises Refused for a file that was asked for and cannot be read.
    """
    from tasks.core.settings.schema import BY_NAME

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        default = BY_NAME["DEPLOY_PUBLIC_KEY_FILE"].default or ""
        if isinstance(error, FileNotFoundError) and path == Path(default).expanduser():
            return None
        raise Refused(f"DEPLOY_PUBLIC_KEY_FILE cannot be read: {path}", hint="name a file ending in .pub") from error


def _show(s: Session, facts: Facts, steps: list[Step], notes: list[str]) -> None:
    s.out.info(f"{SUPPORTED[facts.os]} on {facts.arch}, logged in as {s.user}")
    for note in notes:
        s.out.warn(note)
    width = max((len(step.name) for step in steps), default=0)
    for step in steps:
        s.out.info(f"  {step.name:{width}}  {step.why}")


def _perform(
    s: Session, app: str, steps: list[Step], bytes_of_program: bytes, *, wait: float, revert_after: int
) -> None:
    """Do the first steps ourselves, then hand the others to the host program, which needs us no more.

    But for those that could shut us out: each is made alone, and tried over a new connection.
    """
    together: list[Step] = []

    def flush() -> None:
        if together:
            scripts = [{"name": step.name, "script": step.script} for step in together]
            command = Command(_program(app), "converge", "--by", project.operator(), "--wait", f"{wait:g}")
            job = dumps({"kind": "setup", "steps": scripts}).encode()
            events.follow(s, command, stdin=job, again=hint.fab(s, "setup"))
            together.clear()

    for step in steps:
        if step.undo:
            flush()
            armed.perform(s, app, step, seconds=revert_after, wait=wait)
        elif step.via == "converge":
            together.append(step)
        else:
            flush()
            s.out.step(f"{step.name} ({step.why})")
            stdin = bytes_of_program if step.via == "push" else step.script.encode()
            command = Command.shell(step.script) if step.via == "push" else Command("sh", "-s")
            command = command.labelled(f"the step {step.name}")
            s.lines(command, lambda line: s.out.info(f"    {line}"), stdin=stdin, root=True, deadline=_DIRECT)
    flush()


def _verify(s: Session, settings: Settings, goal: Wanted, only: Collection[str]) -> None:
    left = [step for step in plan(observe(s, settings), goal) if not only or step.name in only]
    if left:
        what = "; ".join(f"{step.name} ({step.why})" for step in left)
        raise HostFailed(
            f"every step ended well, but not everything holds: {what}", hint="fab setup --dry-run shows what is left"
        )


def _program(app: str) -> str:
    return f"/usr/local/bin/{app}"


def _count(steps: list[Step]) -> str:
    return f"{len(steps)} step{'s' if len(steps) != 1 else ''}"
