"""Settings that are in order, to be broken in one place by each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

GOOD = {
    "SITE_DOMAIN": "cv.site.test",
    "GRAFANA_DOMAIN": "stats.site.test",
    "ACME_EMAIL": "me@site.test",
    "BACKEND_IMAGE": "registry.site.test:5001/maicivy/backend:1.2.3",
    "FRONTEND_IMAGE": "registry.site.test:5001/maicivy/frontend:1.2.3",
    "POSTGRES_PASSWORD": "postgres-Secret-1",
    "REDIS_PASSWORD": "redis-Secret-22",
    "GRAFANA_ADMIN_PASSWORD": "grafana-Secret-333",
}

WriteText = Callable[[str | bytes], Path]
WriteSettings = Callable[..., Path]


def single_quoted(value: str) -> str:
    """A value as a careful user writes it."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
