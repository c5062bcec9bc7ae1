"""Settings and observations in, the exact plan out, for the files that are shipped.

`UPDATE_GOLDEN=1 pytest tests/golden/deploy` writes the expected texts anew; read the difference before committing it.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.core import project, settings
from tasks.model import bundle, manifest, plan

HERE = Path(__file__).parent
PROGRAM = "0" * 64
NOW = 1_795_000_000.0
LINES = {
    "APP_NAME": "shop",
    "SITE_DOMAIN": "shop.test",
    "GRAFANA_DOMAIN": "stats.shop.test",
    "ACME_EMAIL": "ops@shop.test",
    "BACKEND_IMAGE": "registry.test/shop/backend:1.2.3",
    "FRONTEND_IMAGE": "registry.test/shop/frontend:1.2.3",
    "POSTGRES_DB": "shop",
    "POSTGRES_USER": "shop",
    "POSTGRES_PASSWORD": "postgres-password-1",
    "REDIS_PASSWORD": "redis-password-12",
    "GRAFANA_ADMIN_PASSWORD": "grafana-password-1",
    "CLAUDE_API_KEY": "sk-secret-claude",
}


class Case:
    """One situation: settings, sources and what the host reports, starting from a host in order."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines = dict(LINES)
        self.sources = dict(project.read_tree())
        made = self.render()[1]
        self.contents: dict[str, bytes] = {}
        self.status: dict[str, Any] = {
            "program": PROGRAM,
            "release": made["release"],
            "manifest": copy.deepcopy(made),
            "drift": [],
            "containers": [
                {"service": name, "image": entry["image"], "state": "running", "health": "healthy"}
                for name, entry in made["services"].items()
            ],
            "last": {"release": made["release"], "result": "done"},
            "certificate": {"names": ["shop.test", "stats.shop.test"], "not_after": NOW + 1},
            "unit": {"shop.service": "enabled", "certbot.timer": "enabled"},
        }

    def render(self) -> tuple[bundle.Bundle, dict[str, Any]]:
        path = self.directory / ".env"
        path.write_text("".join(f"{key}='{value}'\n" for key, value in self.lines.items()))
        path.chmod(0o600)
        chosen = settings.load(path)
        made = bundle.render(self.sources, chosen)
        origin = manifest.Origin(datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC), "me@here", None)
        return made, manifest.build(made, chosen, origin)

    def change(self, name: str, old: bytes, new: bytes) -> None:
        """Edit a source file; the host still has the text of before."""
        self.contents[name] = self.sources[name]
        self.sources[name] = self.sources[name].replace(old, new)


def nothing_to_do(_case: Case) -> None:
    pass


def first_deploy(case: Case) -> None:
    case.status |= {"release": None, "manifest": None, "containers": [], "last": None, "certificate": None, "unit": {}}


def new_version(case: Case) -> None:
    case.lines["BACKEND_IMAGE"] = "registry.test/shop/backend:1.3.0"
    case.lines["FRONTEND_IMAGE"] = "registry.test/shop/frontend:1.3.0"


def changed_nginx_and_prometheus(case: Case) -> None:
    case.change("nginx/snippets/limits.conf", b"keepalive_timeout 65s", b"keepalive_timeout 30s")
    case.change("monitoring/prometheus/prometheus.yml", b"scrape_interval: 15s", b"scrape_interval: 30s")


def changed_secrets(case: Case) -> None:
    case.lines |= {"CLAUDE_API_KEY": "sk-another-claude", "REDIS_PASSWORD": "another-redis-password"}


def changed_memory_limit(case: Case) -> None:
    case.lines["BACKEND_MEMORY"] = "1g"


def another_domain(case: Case) -> None:
    case.lines["SITE_DOMAIN"] = "www.shop.test"


def stopped_and_edited_by_hand(case: Case) -> None:
    case.status["containers"][1]["state"] = "exited"
    case.status["drift"] = [{"path": "live/nginx/nginx.conf", "state": "changed"}]


CASES: list[Callable[[Case], None]] = [
    nothing_to_do,
    first_deploy,
    new_version,
    changed_nginx_and_prometheus,
    changed_secrets,
    changed_memory_limit,
    another_domain,
    stopped_and_edited_by_hand,
]


@pytest.mark.parametrize("situation", CASES, ids=lambda situation: situation.__name__)
def test_the_plan_is_exactly_as_recorded(situation: Callable[[Case], None], tmp_path: Path) -> None:
    case = Case(tmp_path)
    situation(case)
    rendered, described = case.render()
    wanted = plan.files_to_compare(described, case.status)
    contents = {path: case.contents[path] for path in wanted if path in case.contents}
    computed = plan.compute(rendered, described, case.status, program=PROGRAM, contents=contents, now=NOW)
    text = plan.describe(computed, "vps") + "\n"
    golden = HERE / f"{situation.__name__}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    for key, value in case.lines.items():
        if "PASSWORD" in key or "KEY" in key:
            assert value not in text
