"""Which image exactly a tag stands for: kept from the current release, just built here, or looked up by the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.core.command import redact
from tasks.core.errors import HostFailed
from tasks.model.images import Pin, Resolved
from tasks.operations import hostprogram

if TYPE_CHECKING:
    from tasks.core.session import Session
    from tasks.core.settings import Settings


@dataclass(frozen=True)
class Pins:
    """What the references of a release stand for.

    Attributes:
        pins: by reference.
        resolved: what was found out about those that were not kept.
    """

    pins: Mapping[str, Pin]
    resolved: Mapping[str, Resolved]


def kept(manifest: Mapping[str, Any] | None) -> dict[str, Pin]:
    """The pins of a release by reference, as its manifest has them; none of one that has no pins yet."""
    found = {}
    for service in ((manifest or {}).get("services") or {}).values():
        pin = service.get("pin") or {}
        if service.get("reference") and (pin.get("digest") or pin.get("id")):
            found[str(service["reference"])] = Pin(pin.get("digest"), pin.get("id"))
    return found


def choose(
    s: Session,
    chosen: Settings,
    references: Iterable[str],
    current: Mapping[str, Any] | None,
    *,
    built: Mapping[str, Resolved],
    anew: bool,
) -> Pins:
    """Pin every reference, with at most one question to the host.

    Args:
        s: the host.
        chosen: the settings, for the registry's password.
        references: what the release names.
        current: the manifest of the current release, whose references keep their pins.
        built: the images that were made here.
        anew: look up those of the current release as well.
    Raises:
        HostFailed: a reference stands for nothing the host can have; names each with the reason. Else as
            `hostprogram.ask`.
    """
    wanted = dict.fromkeys(references)
    before = {} if anew else kept(current)
    pins = {name: before[name] for name in wanted if name in before and name not in built}
    resolved = {name: built[name] for name in wanted if name in built}
    unknown = [name for name in wanted if name not in pins and name not in resolved]
    if unknown:
        resolved |= _resolve(s, chosen, unknown)
    return Pins({**pins, **{name: Pin(found.digest, found.id) for name, found in resolved.items()}}, resolved)


def _resolve(s: Session, chosen: Settings, references: list[str]) -> dict[str, Resolved]:
    password = chosen.registry_password
    question = {
        "images": references,
        "registry": chosen.registry or "",
        "user": chosen.registry_user or "",
        "password": password.reveal() if password else "",
    }
    answer = hostprogram.ask(s, chosen.app_name, "resolve", question=question, secrets=chosen.secrets)["images"]
    wrong = {name: answer[name] for name in references if answer[name].get("error")}
    if wrong:
        causes = "; ".join(f"{name}: {item['error']}" for name, item in wrong.items())
        hint = next((str(item["hint"]) for item in wrong.values() if item.get("hint")), None)
        raise HostFailed(redact(causes, chosen.secrets), host=s.name, hint=hint)
    return {
        name: Resolved(
            digest=answer[name].get("digest"),
            id=answer[name].get("id"),
            present=bool(answer[name].get("present")),
            bytes=int(answer[name].get("bytes") or 0),
            source=answer[name].get("source"),
            volumes=tuple(answer[name].get("volumes") or ()),
        )
        for name in references
    }
