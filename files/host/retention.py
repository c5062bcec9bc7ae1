"""What is kept: the last releases that served, and every image that a kept release of any application needs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from host import images, manifest, releases
from host.config import Config
from host.events import Step
from host.releases import Release


def expendable(all_ids: list[str], served: list[str], current: str, keep: int) -> list[str]:
    """Which releases may go: all but the last `keep` of `served` (oldest first; the current and the previous one are
    always among them) and those that came after the current one, just received. Releases that never served do not
    push out good ones."""
    newest = list(dict.fromkeys(name for name in reversed(served) if name in all_ids))
    kept = {current, *newest[: max(keep, 2)], *[name for name in newest if name != current][:1]}
    return [name for name in all_ids if name not in kept and (name < current or name in newest)]


def tidy(config: Config, release: Release, step: Step) -> list[str]:
    """Remove releases beyond RELEASES_KEEP, and images that only they needed. Never a volume. Returns the releases."""
    releases.sweep(config)
    served = [str(item.get("release")) for item in releases.history(config)]
    doomed = expendable(releases.ids(config), served, release.id, release.manifest.settings.keep)
    gone = set().union(*(wanted(config.releases / name) for name in doomed))
    for name in doomed:
        step.output(f"removing release {name}")
        releases.remove(config, name)
    images.remove(gone - needed(config.root.parent))
    return doomed


def needed(parent: Path) -> set[str]:
    """The images that the releases of every application below `parent` (/opt) are made of."""
    return set().union(*(wanted(path) for path in sorted(parent.glob("*/releases/*")) if _is_release(path)))


def _is_release(path: Path) -> bool:
    return manifest.is_release_id(path.name)


def wanted(release: Path) -> set[str]:
    """Every name an image of the release may have on this host: as Compose is given it, the tag, the local id."""
    try:
        services = json.loads((release / manifest.NAME).read_bytes())["services"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
    return set().union(*(_names(service) for service in services if isinstance(service, dict)))


def _names(service: Mapping[str, Any]) -> Collection[str]:
    pin = service.get("pin")
    found: Iterable[Any] = (service.get("image"), pin.get("id") if isinstance(pin, dict) else None)
    return {str(name) for name in found if name}
