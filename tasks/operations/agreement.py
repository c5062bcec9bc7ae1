"""Between the plan and the deed: the plan is the expected one, nothing speaks against it, and the user agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core.errors import Refused
from tasks.core.progress import size
from tasks.model import plan as planning
from tasks.operations import hint
from tasks.operations.prepare import Options, Prepared

if TYPE_CHECKING:
    from tasks.core.session import Session


def is_expected(s: Session, prepared: Prepared, expected: str) -> None:
    """Raise Refused when a plan was agreed to elsewhere (`expected`, "" for none) and it is not this one."""
    moved = planning.moved(expected, prepared.plan) if expected else None
    if moved:
        raise Refused(
            f"plan {expected} no longer holds: {moved} (it would be {prepared.plan.id} now)",
            host=s.name,
            hint=f"{hint.fab(s, 'plan')} shows the new one",
        )


def reach(s: Session, prepared: Prepared, options: Options) -> None:
    """Show the plan and have it agreed to.

    Raises Refused when a rule speaks against it that was not accepted, the disk is too small or the answer is no.
    """
    plan = prepared.plan
    s.out.info(planning.describe(plan, s.name))
    if refused := list(plan.refused):
        causes = "; ".join(f"{guard.rule}: {guard.message}" for guard in refused)
        flags = " ".join(f"--accept {guard.rule}" for guard in refused)
        raise Refused(causes, host=s.name, hint=f"if that is meant: {flags}")
    if unused := sorted(set(options.accept) - {guard.rule for guard in plan.guards}):
        s.out.warn(f"nothing to accept: {', '.join(unused)}")
    _fits(s, prepared)
    verb = {"deploy": "Deploy", "rollback": "Roll back to"}[prepared.kind]
    if not options.yes and not s.out.confirm(f"{verb} {prepared.release} on {s.name}?"):
        raise Refused("not confirmed, nothing was changed", host=s.name)


def _fits(s: Session, prepared: Prepared) -> None:
    disk = prepared.plan.disk
    if disk["need"] > disk["free"]:
        raise Refused(
            f"the disk is too small: need {size(disk['need'])}, have {size(disk['free'])}",
            host=s.name,
            hint="on the host: docker system df; docker image prune; df -h",
        )
