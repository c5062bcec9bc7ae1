"""A deploy thought through and not begun: settings, what the host is like, images, bundle, plan."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tasks.core import project, settings
from tasks.core.errors import ExitStatus, HostFailed, InfraError, Refused, UsageError
from tasks.core.observe import observe
from tasks.model import bundle, guards, manifest, plan, program
from tasks.model.images import Pin
from tasks.operations import busy, hint, hostprogram, pins

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings
    from tasks.model.facts import Facts
    from tasks.model.images import Resolved


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        yes: do not ask.
        accept: rules whose refusals are accepted.
        expected: the id the plan must have; "" for any.
        build: make images here.
        anew: look up the tags of the current release as well.
        wait: seconds to wait for another command on the host; None says only that it is busy, and goes on.
        skip_hooks: run no hooks.
    """

    yes: bool = False
    accept: Sequence[str] = ()
    expected: str = ""
    build: bool = False
    anew: bool = False
    wait: float | None = 0
    skip_hooks: bool = False


@dataclass(frozen=True)
class Prepared:
    """A change of a host, thought through and not begun.

    Attributes:
        kind: "deploy" or "rollback".
        settings: of the host.
        manifest: of the release that is to serve.
        facts: what the host is like.
        program: the host program of this checkout.
        plan: what would be done.
        bundle: the files of the release; None when it is on the host already.
        built: the images that were made here, by reference.
        watched: whether this very change was under way when we came, and has been watched to its end.
    """

    kind: str
    settings: Settings
    manifest: Mapping[str, Any]
    facts: Facts
    program: bytes
    plan: plan.Plan
    bundle: bundle.Bundle | None = None
    built: Mapping[str, Resolved] = field(default_factory=dict)
    watched: bool = False

    @property
    def status(self) -> Mapping[str, Any]:
        """What the host program reports."""
        return self.facts.status or {}

    @property
    def release(self) -> str:
        """The release that is to serve."""
        return str(self.manifest["release"])


def check_rules(rules: Sequence[str]) -> None:
    """Raise UsageError for a rule that does not exist, with those that do."""
    if unknown := sorted(set(rules) - set(guards.RULES)):
        raise UsageError(
            f"--accept: there is no rule {', '.join(unknown)}", hint=f"rules are {', '.join(sorted(guards.RULES))}"
        )


def ready(s: Session, chosen: Settings) -> Facts:
    """The facts of a host that is set up. Raises Refused for one that is not."""
    found = observe(s, chosen)
    if found.status is None or found.docker is None:
        raise Refused("this host is not set up yet", host=s.name, hint=hint.fab(s, "setup"))
    return found


def prepare(s: Session, options: Options) -> Prepared:
    """Everything up to the plan of a deploy. Changes nothing on the host.

    Raises SettingsError, Refused for a host that is not set up, Locked, HostFailed for an image that cannot be had.
    """
    check_rules(options.accept)
    chosen = settings.load(s.settings_file)
    sources = project.read_tree()
    unpinned = _render(sources, chosen, {})
    found = ready(s, chosen)
    watched = False
    if options.wait is not None:
        found, watched = busy.until_free(
            s, chosen, found, wait=options.wait, again=hint.fab(s, "deploy"),
            ours=lambda what: _is_ours(s, chosen, sources, what),
        )  # fmt: skip
    elif (holder := busy.holder(found)) is not None:
        s.out.warn(f"{busy.told(holder)} is running here: what it changes is not in this plan")
    warn_of_problems(s, found)
    built = _build(s, chosen) if options.build else {}
    current = (found.status or {}).get("manifest")
    images = pins.choose(s, chosen, unpinned.references.values(), current, built=built, anew=options.anew)
    rendered = _render(sources, chosen, images.pins)
    origin = manifest.Origin(datetime.now(UTC), project.operator(), project.git_revision())
    described = manifest.build(rendered, chosen, origin)
    content = program.build(chosen.app_name)
    computed = compute(
        s, chosen, found, described, content, kind="deploy", accepted=options.accept, resolved=images.resolved,
        new={path: file.data for path, file in rendered.files.items() if not file.secret},
    )  # fmt: skip
    accepted = sorted(guard.rule for guard in computed.guards if guard.accepted)
    described = manifest.build(rendered, chosen, origin, plan=computed.id, accepted=accepted)
    return Prepared("deploy", chosen, described, found, content, computed, rendered, built, watched)


def compute(
    s: Session, chosen: Settings, found: Facts, described: Mapping[str, Any], content: bytes, *, kind: str,
    accepted: Sequence[str], resolved: Mapping[str, Resolved], new: Mapping[str, bytes],
) -> plan.Plan:  # fmt: skip
    """The plan, with the host asked for the files that it is to show differences of."""
    status = found.status or {}
    paths = plan.files_to_compare(described, status) if status.get("release") else []
    if status.get("program") != program.digest(content):
        paths = [path for path in paths if not path.startswith("live/")]  # an older program does not show these
    return plan.compute(
        described, status, program=program.digest(content), new=new,
        old=hostprogram.files(s, chosen.app_name, "current", paths),
        resolved=resolved, accepted=accepted, now=time.time(), kind=kind,
    )  # fmt: skip


def warn_of_problems(s: Session, found: Facts) -> None:
    """Pass on what the host could not find out about itself."""
    for problem in (found.status or {}).get("problems", ()):
        s.out.warn(problem)


def _render(sources: Mapping[str, bytes], chosen: Settings, known: Mapping[str, Pin]) -> bundle.Bundle:
    try:
        return bundle.render(sources, chosen, known)
    except bundle.BundleError as error:
        raise InfraError(str(error), hint="mend files/ or the settings", status=ExitStatus.SETTINGS) from None


def _build(s: Session, chosen: Settings) -> Mapping[str, Resolved]:
    from tasks.operations import images

    return images.offer(s, chosen, list(images.build(s, chosen)))


def _is_ours(s: Session, chosen: Settings, sources: Mapping[str, bytes], what: str) -> bool:
    """Whether the release that is being deployed is the one that would be made now, but for its name.

    Then the user has come back to it, after a lost connection for instance, and wants to see its end.
    """
    verb, _, release = what.partition(" of ")
    if verb != "deploy" or not release:
        return False
    try:
        running = hostprogram.manifest(s, chosen.app_name, release)
    except HostFailed:
        return False  # it failed and was removed in this very moment
    rendered = _render(sources, chosen, pins.kept(running))
    ours = manifest.build(rendered, chosen, manifest.Origin(datetime.now(UTC), "", None))
    told = json.loads(json.dumps(ours))
    return all(told[part] == running.get(part) for part in ("files", "services", "settings"))
