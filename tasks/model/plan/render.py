"""A plan for a person, who may be reading it at three in the morning."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.model.plan.services import short
from tasks.model.plan.types import Plan


def describe(plan: Plan, host: str) -> str:
    """Write a plan: what is pushed, what happens to which container and why, what it costs, what speaks against it."""
    if plan.is_empty:
        return f"{host}: nothing to do, release {plan.previous} is what the settings and files describe"
    verb = "Rollback" if plan.kind == "rollback" else "Plan"
    lines = [f"{verb} for {host}: {plan.previous or 'nothing deployed yet'} -> {plan.release}"]
    lines += _section("Files", _files(plan))
    lines += _section("Images", _images(plan))
    lines += _section("Containers", _containers(plan))
    lines += _section("Migration", _migration(plan))
    lines += _section("Disk", _disk(plan))
    lines += _section("Also", list(plan.other))
    lines += _section("Note", list(plan.warnings))
    lines += _section("Rules", _guards(plan))
    edge = {"none": "untouched", "reload": "reloads its configuration", "restart": "is started anew"}[plan.edge]
    lines += _section("Outage", plan.outages)
    lines.append(f"  nginx {edge}." + ("" if plan.outages else " Outage: none"))
    lines.append(f"  Plan id: {plan.id}")
    return "\n".join(lines)


def _section(title: str, lines: Iterable[str]) -> list[str]:
    shown = [f"    {line}" for line in lines]
    return [f"  {title}", *shown] if shown else []


def _files(plan: Plan) -> list[str]:
    if plan.previous is None:
        return [f"{len(plan.files)} new files, {sum(file.secret for file in plan.files)} of them secret"]
    lines = []
    for file in plan.files:
        lines.append(f"{file.action:9} {file.path}" + (" (secret, not shown)" if file.secret else ""))
        lines += [f"  {line}" for line in file.diff.splitlines()]
    return lines


def _images(plan: Plan) -> list[str]:
    lines = []
    for image in plan.images:
        was = short(image.old) if image.old else "none"
        if image.bytes is None:
            cost = "is on the host"
        elif image.bytes == 0:
            cost = "nothing to transfer"
        else:
            origin = "this machine" if image.source == "workstation" else "the registry"
            cost = f"{megabytes(image.bytes)} from {origin}"
        lines.append(f"{image.service}: {was} -> {short(image.new)}, {cost}")
    return lines


def _containers(plan: Plan) -> list[str]:
    return [f"{change.action:9} {change.service}: {'; '.join(change.reasons)}" for change in plan.services]


def _migration(plan: Plan) -> list[str]:
    if not plan.migration:
        return []
    return [f"backup of the database, then once: {' '.join(plan.migration['command'])}"]


def _disk(plan: Plan) -> list[str]:
    disk = plan.disk
    if not disk["need"]:
        return []
    if disk["need"] > disk["free"]:
        return [f"TOO SMALL: need {megabytes(disk['need'])}, have {megabytes(disk['free'])}"]
    return [f"{megabytes(disk['free'])} free, {megabytes(disk['after'])} afterwards"]


def _guards(plan: Plan) -> list[str]:
    return [
        f"accepted {guard.rule}: {guard.message}"
        if guard.accepted
        else f"REFUSED {guard.rule}: {guard.message} (if that is meant: --accept {guard.rule})"
        for guard in plan.guards
    ]


def megabytes(count: int) -> str:
    """A number of bytes for a person."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"
