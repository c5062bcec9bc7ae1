"""Back to a release that is on the host already and has served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core import settings
from tasks.core.task import Report
from tasks.model import plan as planning
from tasks.model import program
from tasks.operations import agreement, busy, hint, hostprogram, releases, transaction
from tasks.operations.prepare import Options, Prepared, check_rules, compute, ready, warn_of_problems

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings
    from tasks.model.facts import Facts


def rollback(s: Session, wanted: str, options: Options) -> Report:
    """Make a release serve again that has served before: plan, ask, apply, verify.

    `wanted` is as `releases.choose` takes it. Raises Refused for a release that is none to go back to, when something
    speaks against it, or when the answer is no; else what became of it on the host.
    """
    check_rules(options.accept)
    chosen = settings.load(s.settings_file)
    found = ready(s, chosen)
    target = releases.choose(found.status or {}, wanted, s.name)
    found, watched = busy.until_free(
        s, chosen, found, wait=options.wait or 0, again=hint.fab(s, f"rollback --to {target}"),
        ours=lambda what: what == f"rollback of {target}",
    )  # fmt: skip
    status = found.status or {}
    current = status.get("release")
    # once more: what was waited for may have changed which one it is
    target = releases.choose(status, target if wanted or watched else "", s.name)
    if target == current:
        data = {"release": current, "plan": None, "checks": []}
        return Report(data, f"{s.name}: nothing to do, release {current} serves")
    warn_of_problems(s, found)
    prepared = _prepare(s, chosen, found, target, options)
    agreement.reach(s, prepared, options)
    return transaction.carry_out(
        s, prepared, options, lambda: hostprogram.install(s, found, chosen.app_name, prepared.program)
    )


def _prepare(s: Session, chosen: Settings, found: Facts, target: str, options: Options) -> Prepared:
    described = hostprogram.manifest(s, chosen.app_name, target)
    public = [
        path
        for path in planning.files_to_compare(described, found.status or {})
        if not (described["files"].get(path) or {"secret": True})["secret"]
    ]
    content = program.build(chosen.app_name)
    computed = compute(
        s, chosen, found, described, content, kind="rollback", accepted=options.accept, resolved={},
        new=hostprogram.files(s, chosen.app_name, target, public),
    )  # fmt: skip
    return Prepared("rollback", chosen, described, found, content, computed)
