"""GF_<SECTION>_<KEY> and GF_<SECTION>_<KEY>__FILE, as Grafana reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class SettingsError(Exception):
    """A setting that Grafana would refuse to start with."""


def read(environment: Mapping[str, str]) -> dict[str, str]:
    """The GF_* settings with every __FILE replaced by the content of the file, stripped as Grafana strips it."""
    found = {}
    for name, value in environment.items():
        if not name.startswith("GF_"):
            continue
        if not name.endswith("__FILE"):
            found.setdefault(name, value)
            continue
        plain = name.removesuffix("__FILE")
        if environment.get(plain):
            raise SettingsError(f"Both {plain} and {name} are set (but are exclusive)")
        try:
            found[plain] = Path(value).read_text("utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{name}: {value}: {error.strerror}") from error
    return found
