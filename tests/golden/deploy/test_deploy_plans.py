"""Settings and observations in, the exact plan out, for the files that are shipped.

`UPDATE_GOLDEN=1 pytest tests/golden/deploy` writes the expected texts anew; read the difference before committing it.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.core import project, settings
from tasks.model import bundle, manifest, plan
from tasks.model.images import Pin, Resolved

HERE = Path(__file__).parent
PROGRAM = "0" * 64
NOW = 1_795_000_000.0
GB = 1_000_000_000
REFERENCES = [
    "registry.test/shop/backend:1.2.3", "registry.test/shop/frontend:1.2.3", "postgres:17.12", "redis:8.0.5",
    "nginx:1.30.6", "prom/prometheus:v3.5.3", "grafana/grafana:13.2.3", "prom/node-exporter:v1.11.1",
]  # fmt: skip
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


def digest(reference: str) -> str:
    """What a tag stands for in these tests."""
    return f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}"


class Case:
    """One situation: settings, sources and what the host reports, starting from a host in order."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines = dict(LINES)
        self.sources = dict(project.read_tree())
        self.pins = {reference: Pin(digest(reference), None) for reference in REFERENCES}
        self.resolved: dict[str, Resolved] = {}
        self.accepted: list[str] = []
        self.kind = "deploy"
        made = self.render()[1]
        self.contents: dict[str, bytes] = {}
        self.status: dict[str, Any] = {
            "program": PROGRAM,
            "release": made["release"],
            "manifest": copy.deepcopy(made),
            "drift": [],
            "containers": [
                {"service": name, "name": f"shop-{name}-1", "id": f"id of {name}", "image": entry["image"],
                 "image_id": f"sha256:{name}", "state": "running", "health": "healthy"}
                for name, entry in made["services"].items()
            ],
            "last": {"release": made["release"], "result": "done"},
            "certificate": {"names": ["shop.test", "stats.shop.test"], "not_after": NOW + 1},
            "unit": {"shop.service": "enabled", "certbot.timer": "enabled"},
            "upstreams": {"backend": "shop-backend-1", "frontend": "shop-frontend-1"},
            "volumes": [volume for entry in made["services"].values() for volume in entry["volumes"]],
            "space": [{"purpose": name, "path": f"/{name}", "mount": "/", "free": 50 * GB, "total": 80 * GB}
                      for name in ("releases", "images", "backups")],
            "memory": {"total": 8 * GB},
            "results": {made["release"]: {"result": "healthy"}},
            "neighbours": [],
        }  # fmt: skip

    def render(self) -> tuple[bundle.Bundle, dict[str, Any]]:
        path = self.directory / ".env"
        path.write_text("".join(f"{key}='{value}'\n" for key, value in self.lines.items()))
        path.chmod(0o600)
        chosen = settings.load(path)
        made = bundle.render(self.sources, chosen, self.pins)
        origin = manifest.Origin(datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC), "me@here", None)
        return made, manifest.build(made, chosen, origin)

    def found(self, reference: str, size: int, volumes: tuple[str, ...] = ()) -> None:
        """The host looked up a reference that is new: so many bytes are to be transferred."""
        self.pins[reference] = Pin(digest(reference), None)
        self.resolved[reference] = Resolved(digest(reference), None, not size, size, "registry", volumes)

    def change(self, name: str, old: bytes, new: bytes) -> None:
        """Edit a source file; the host still has the text of before."""
        self.contents[name] = self.sources[name]
        self.sources[name] = self.sources[name].replace(old, new)


def nothing_to_do(_case: Case) -> None:
    pass


def first_deploy(case: Case) -> None:
    for reference in REFERENCES:
        case.found(reference, 25_000_000, ())
    case.status |= {"release": None, "manifest": None, "containers": [], "last": None, "certificate": None, "unit": {}}


def new_version(case: Case) -> None:
    for name, size in (("backend", 12_300_000), ("frontend", 0)):
        case.lines[f"{name.upper()}_IMAGE"] = f"registry.test/shop/{name}:1.3.0"
        case.found(f"registry.test/shop/{name}:1.3.0", size)


def new_version_with_a_migration(case: Case) -> None:
    case.lines["MIGRATION_COMMAND"] = "/app/server -migrate"
    new_version(case)


def another_nginx_image(case: Case) -> None:
    case.lines["NGINX_IMAGE"] = "nginx:1.30.7"
    case.found("nginx:1.30.7", 60_000_000)


def changed_redis_definition(case: Case) -> None:
    case.change("docker-compose.prod.yml", b"- noeviction", b"- allkeys-lru")


def too_small_a_disk(case: Case) -> None:
    new_version(case)
    for place in case.status["space"]:
        place["free"] = 90_000_000


def left_over_from_a_deploy_that_was_cut_off(case: Case) -> None:
    [backend] = [item for item in case.status["containers"] if item["service"] == "backend"]
    case.status["containers"].append(backend | {"name": "shop-backend-2", "id": "another"})


def rules_that_refuse(case: Case) -> None:
    case.lines |= {
        "POSTGRES_IMAGE": "postgres:18.1",
        "HTTPS_PORT": "8443",
        "BACKEND_ENV_MAIL_PASSWORD": "your-key-here",
    }
    case.found("postgres:18.1", 150_000_000, ("/var/lib/postgresql",))
    case.change("docker-compose.prod.yml", b"name: ${APP_NAME}_redis_data", b"name: ${APP_NAME}_cache")


def rules_that_were_accepted(case: Case) -> None:
    rules_that_refuse(case)
    case.accepted = ["postgres-major", "published-port", "placeholder-secret", "new-empty-volume"]


def rollback_past_a_migration(case: Case) -> None:
    back = dict(case.lines)
    new_version_with_a_migration(case)
    case.kind, case.lines, later = "rollback", back, case.render()[1] | {"release": "20261123T100000Z-1.3.0"}
    case.resolved.clear()
    case.status |= {"release": later["release"], "manifest": copy.deepcopy(later)}
    for item in case.status["containers"]:
        item["image"] = later["services"][item["service"]]["image"]
    case.status["results"][later["release"]] = {
        "result": "healthy", "migrated": True, "backup": "20261121T100000Z-1a2b",
    }  # fmt: skip


def nginx_pointed_at_what_is_gone(case: Case) -> None:
    case.status["upstreams"]["backend"] = "shop-backend-9"


def changed_nginx_and_prometheus(case: Case) -> None:
    case.change("nginx/snippets/upstream.conf", b"proxy_connect_timeout 2s", b"proxy_connect_timeout 3s")
    case.change("monitoring/prometheus/prometheus.yml", b"scrape_interval: 15s", b"scrape_interval: 30s")


def changed_secrets(case: Case) -> None:
    case.lines |= {"CLAUDE_API_KEY": "sk-another-claude", "REDIS_PASSWORD": "another-redis-password"}


def changed_memory_limit(case: Case) -> None:
    case.lines["BACKEND_MEMORY"] = "1g"


def another_domain(case: Case) -> None:
    case.lines["SITE_DOMAIN"] = "www.shop.test"


def stopped_and_edited_by_hand(case: Case) -> None:
    case.status["containers"][1]["state"] = "exited"
    path = "nginx/snippets/upstream.conf"
    case.status["drift"] = [{"path": f"live/{path}", "state": "changed"}]
    case.contents |= {path: case.sources[path], f"live/{path}": case.sources[path] + b"# edited by hand\n"}


CASES: list[Callable[[Case], None]] = [
    nothing_to_do,
    first_deploy,
    new_version,
    changed_nginx_and_prometheus,
    changed_secrets,
    changed_memory_limit,
    another_domain,
    stopped_and_edited_by_hand,
    new_version_with_a_migration,
    another_nginx_image,
    changed_redis_definition,
    too_small_a_disk,
    left_over_from_a_deploy_that_was_cut_off,
    rules_that_refuse,
    rules_that_were_accepted,
    rollback_past_a_migration,
    nginx_pointed_at_what_is_gone,
]


@pytest.mark.parametrize("situation", CASES, ids=lambda situation: situation.__name__)
def test_the_plan_is_exactly_as_recorded(situation: Callable[[Case], None], tmp_path: Path) -> None:
    case = Case(tmp_path)
    situation(case)
    rendered, described = case.render()
    wanted = plan.files_to_compare(described, case.status)
    computed = plan.compute(
        described, case.status, program=PROGRAM, now=NOW, kind=case.kind, accepted=case.accepted,
        new={path: file.data for path, file in rendered.files.items() if not file.secret}, resolved=case.resolved,
        old={path: case.contents[path] for path in wanted if path in case.contents},
    )  # fmt: skip
    # the id is a digest of every file: what it tells apart is in tests/unit/model/test_plan_identity.py
    text = re.sub(r"(?<=Plan id: )[0-9a-f]{6}-[0-9a-f]{6}$", "(two halves)", plan.describe(computed, "vps")) + "\n"
    golden = HERE / f"{situation.__name__}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    for key, value in case.lines.items():
        if "PASSWORD" in key or "KEY" in key:
            assert value not in text
