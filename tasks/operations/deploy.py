"""From the settings and files/ to a release that serves."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tasks.core import events, project, settings
from tasks.core.command import Command
from tasks.core.errors import ExitStatus, InfraError, Refused
from tasks.core.observe import observe
from tasks.core.task import Report
from tasks.core.transfer import TarEntry, tar_size, tar_stream
from tasks.model import bundle, manifest, program, setup
from tasks.model import plan as planning
from tasks.operations import health

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.model.facts import Facts

_RECEIVE_DEADLINE = 600  # seconds: a bundle is far below a megabyte
_SETTLE = 20.0  # seconds the site may take to show the new containers: nginx looks their addresses up anew each second


@dataclass(frozen=True)
class _Prepared:
    """A deploy that has been thought through and not begun."""

    settings: settings.Settings
    bundle: bundle.Bundle
    manifest: dict[str, Any]
    facts: Facts
    status: Mapping[str, Any]
    program: bytes
    plan: planning.Plan


def plan(s: Session) -> Report:
    """Say what `deploy` would do, and why."""
    prepared = _prepare(s)
    return Report(data=prepared.plan.to_json(), text=planning.describe(prepared.plan, s.name))


def deploy(s: Session, *, yes: bool) -> Report:
    """Make the host what the settings and files/ describe: plan, ask unless `yes`, push, apply, verify.

    Raises Refused when the host is not set up or the answer is no; else what became of it on the host.
    """
    prepared = _prepare(s)
    if prepared.plan.is_empty:
        data: dict[str, object] = {"release": prepared.plan.previous, "plan": prepared.plan.to_json(), "checks": []}
        return Report(data=data, text=planning.describe(prepared.plan, s.name))
    s.out.info(planning.describe(prepared.plan, s.name))
    if not yes and not s.out.confirm(f"Deploy {prepared.plan.release} to {s.name}?"):
        raise Refused("not confirmed, nothing was changed", host=s.name)
    _push(s, prepared)
    _apply(s, prepared)
    return _verify(s, prepared)


def _prepare(s: Session) -> _Prepared:
    """Everything up to the plan: settings, bundle, what the host is like, what differs."""
    chosen = settings.load(s.settings_file)
    try:
        rendered = bundle.render(project.read_tree(), chosen)
    except bundle.BundleError as error:
        raise InfraError(str(error), hint="mend files/ or the settings", status=ExitStatus.SETTINGS) from None
    origin = manifest.Origin(datetime.now(UTC), project.operator(), project.git_revision())
    described = manifest.build(rendered, chosen, origin)
    found = observe(s, chosen)
    if found.status is None or found.docker is None:
        raise Refused("this host is not set up yet", host=s.name, hint=f"fab setup -H {s.name}")
    status = found.status
    if status.get("busy"):
        s.out.warn(f"{status['busy'].get('what', 'another change')} is running here, by {status['busy'].get('who')}")
    for problem in status.get("problems", ()):
        s.out.warn(problem)
    built = program.build(chosen.app_name)
    computed = planning.compute(
        rendered,
        described,
        status,
        program=program.digest(built),
        contents=_contents(s, chosen.app_name, planning.files_to_compare(described, status)),
        now=time.time(),
    )
    return _Prepared(chosen, rendered, described, found, status, built, computed)


def _contents(s: Session, app: str, paths: list[str]) -> dict[str, bytes]:
    """Fetch files of the current release, for the differences; nothing is asked when there are none."""
    if not paths:
        return {}
    answer = s.run(host_program(app, "show", "current", *paths), root=True)
    with tarfile.open(fileobj=io.BytesIO(answer.stdout)) as tar:
        members = [(member.name, tar.extractfile(member)) for member in tar]
        return {name: content.read() for name, content in members if content is not None}


def host_program(app: str, *words: str) -> Command:
    """A command of the host program."""
    return Command(f"/usr/local/bin/{app}", *words, label=f"{app} {words[0]}")


def _push(s: Session, prepared: _Prepared) -> None:
    app = prepared.settings.app_name
    for step in setup.program_step(prepared.facts, app, program.digest(prepared.program)):
        s.out.step(f"{step.name}: {step.why}")
        s.run(Command.shell(step.script).labelled(f"the step {step.name}"), stdin=prepared.program, root=True)
    entries = list(_entries(prepared))
    with s.out.progress(f"pushing {len(entries) - 1} files", tar_size(entries)) as progress:

        def stream() -> Iterator[bytes]:
            for chunk in tar_stream(entries):
                yield chunk
                progress.advance(len(chunk))

        events.follow(
            s,
            host_program(app, "receive"),
            stdin=stream(),
            deadline=_RECEIVE_DEADLINE,
            secrets=prepared.settings.secrets,
            again=f"fab deploy -H {s.name}",
        )


def _entries(prepared: _Prepared) -> Iterator[TarEntry]:
    """The manifest first, then the files whose content the host does not have, or no longer as it was pushed."""
    yield TarEntry("manifest.json", json.dumps(prepared.manifest, indent=1).encode(), 0o600)
    edited = {item["path"] for item in prepared.status.get("drift", ())}
    there = (prepared.status.get("manifest") or {}).get("files", {})
    kept = {entry["sha256"] for path, entry in there.items() if path not in edited}
    for path, file in prepared.bundle.files.items():
        if file.sha256 not in kept:
            yield TarEntry(path, file.data, file.mode)


def _apply(s: Session, prepared: _Prepared) -> None:
    words = ["apply", prepared.plan.release, "--by", project.operator()]
    events.follow(
        s,
        host_program(prepared.settings.app_name, *words),
        secrets=prepared.settings.secrets,
        again=f"fab deploy -H {s.name}, which shows what is left to do",
    )


def _verify(s: Session, prepared: _Prepared) -> Report:
    """Look at the site as a visitor does. That every container is well, the host has seen to itself."""
    s.out.step("verify: looking at the site from outside")
    end = time.monotonic() + _SETTLE
    while True:
        checks = health.outside(s, prepared.settings)
        failed = [check for check in checks if not check.ok]
        if not failed or time.monotonic() > end:
            break
        time.sleep(1)
    data = {
        "release": prepared.plan.release,
        "plan": prepared.plan.to_json(),
        "checks": [check.to_json() for check in checks],
    }
    if failed:
        text = "\n".join(f"  {check.name}: {check.detail}" for check in failed)
        s.out.error(f"release {prepared.plan.release} runs, but from outside not all is well:\n{text}")
        return Report(data=data, text="", status=ExitStatus.UNHEALTHY)
    text = f"{s.name}: release {prepared.plan.release} serves https://{prepared.settings.site_domain}"
    return Report(data=data, text=text)
