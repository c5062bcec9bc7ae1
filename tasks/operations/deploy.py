"""From the settings and files/ to a release that serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.core import events
from tasks.core.task import Report
from tasks.core.transfer import TarEntry, tar_size, tar_stream
from tasks.model import plan as planning
from tasks.operations import agreement, hint, hostprogram, transaction
from tasks.operations.prepare import Options, Prepared, prepare

if TYPE_CHECKING:
    from tasks.core.session import Session

_RECEIVE_DEADLINE = 600  # seconds: a bundle is far below a megabyte


def plan(s: Session, options: Options) -> Report:
    """Say what `deploy` would do, and why."""
    prepared = prepare(s, options)
    return Report(data=prepared.plan.to_json(), text=planning.describe(prepared.plan, s.name))


def deploy(s: Session, options: Options) -> Report:
    """Make the host what the settings and files/ describe: plan, ask, push, apply, verify.

    Raises Refused when the host is not set up, something speaks against it or the answer is no; else what became of it
    on the host.
    """
    prepared = prepare(s, options)
    if prepared.plan.is_empty and prepared.watched:  # who began it has not seen its end
        return transaction.verify(s, prepared, options, [], {"release": prepared.plan.previous})
    agreement.is_expected(s, prepared, options.expected)
    if prepared.plan.is_empty:
        data: dict[str, object] = {"release": prepared.plan.previous, "plan": prepared.plan.to_json(), "checks": []}
        return Report(data=data, text=planning.describe(prepared.plan, s.name))
    agreement.reach(s, prepared, options)
    return transaction.carry_out(s, prepared, options, lambda: push(s, prepared))


def push(s: Session, prepared: Prepared) -> None:
    """Bring to the host what it does not have: its program, images made here, files."""
    app = prepared.settings.app_name
    hostprogram.install(s, prepared.facts, app, prepared.program)
    if prepared.built:
        from tasks.operations import images

        images.push(s, prepared.settings, list(prepared.built))
    contents = list(entries(prepared))
    with s.out.progress(f"pushing {len(contents) - 1} files", tar_size(contents)) as progress:

        def stream() -> Iterator[bytes]:
            for chunk in tar_stream(contents):
                yield chunk
                progress.advance(len(chunk))

        events.follow(
            s,
            hostprogram.command(app, "receive"),
            stdin=stream(),
            deadline=_RECEIVE_DEADLINE,
            secrets=prepared.settings.secrets,
            again=hint.fab(s, "deploy"),
        )


def entries(prepared: Prepared) -> Iterator[TarEntry]:
    """The manifest first, then the files whose content the host does not have, or no longer as it was pushed."""
    assert prepared.bundle, "a release that is on the host is not pushed"
    yield TarEntry("manifest.json", json.dumps(prepared.manifest, indent=1).encode(), 0o600)
    edited = {item["path"] for item in prepared.status.get("drift", ())}
    there = (prepared.status.get("manifest") or {}).get("files", {})
    kept = {entry["sha256"] for path, entry in there.items() if path not in edited}
    for path, file in prepared.bundle.files.items():
        if file.sha256 not in kept:
            yield TarEntry(path, file.data, file.mode)
