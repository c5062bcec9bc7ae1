"""gixy-ng and gixy-next: the configuration of nginx, as rendered, for the plain settings and with everything on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from host.edge import Target, render
from tasks.core import project, settings
from tasks.model import bundle
from tests.audit import tools
from tests.audit.scores import Scores

LINES = {
    "SITE_DOMAIN": "shop.test",
    "GRAFANA_DOMAIN": "stats.shop.test",
    "ACME_EMAIL": "ops@shop.test",
    "HSTS": "full",  # the default is the five minutes of a trial, which gixy-ng marks until the trial is over
    "BACKEND_IMAGE": "registry.test/shop/backend:1.2.3",
    "FRONTEND_IMAGE": "registry.test/shop/frontend:1.2.3",
    "POSTGRES_PASSWORD": "postgres-password-1",
    "REDIS_PASSWORD": "redis-password-12",
    "GRAFANA_ADMIN_PASSWORD": "grafana-password-1",
}
VARIANTS = {
    "with the plain settings": {},
    "with every option": {
        "SITE_ALIASES": "www.shop.test old.shop.test",
        "HTTP3": "yes",
        "HSTS": "preload",
        "BROTLI": "yes",
        "TRUSTED_PROXIES": "192.0.2.0/24 2001:db8::/48",
        "MAINTENANCE_ALLOW": "192.0.2.9/32",
        "DEEP_HEALTH_PUBLIC": "yes",
    },
    "with the dashboards closed": {"GRAFANA_PUBLIC": "no"},
}
FLAGS = {"gixy-ng": ["--nginx-version", "1.30.6"], "gixy-next": []}
# Every one of these is a mistake that both know: a scanner that finds nothing here looks at nothing.
BAD = """
events {}
http {
    server {
        server_name bad.test;
        location / { return 301 http://bad.test$uri; }
        location /i { alias /data/; }
    }
}
"""


def edge(at: Path, **changes: str) -> dict[Path, str]:
    """The directories that nginx reads, made below `at`, and where its container has them."""
    env = at / "env"
    env.write_text("".join(f"{key}='{value}'\n" for key, value in (LINES | changes).items()))
    env.chmod(0o600)
    for path, file in bundle.render(project.read_tree(), settings.load(env), {}).files.items():
        if path.startswith("nginx/"):
            (at / path).parent.mkdir(parents=True, exist_ok=True)
            (at / path).write_bytes(file.data)
    for name in ("upstreams", "modules"):
        (at / name).mkdir()
    containers = {name: Target(f"maicivy-{name}-1", port) for name, port in (("backend", 8080), ("frontend", 3000))}
    (at / "upstreams" / "services.conf").write_bytes(render(containers, "0" * 64))
    (at / "modules" / "mime.types").write_text("types {\n    text/html html;\n}\n")
    return {at / "nginx": "/etc/edge", at / "upstreams": "/etc/upstreams", at / "modules": "/etc/nginx"}


def findings(tool: str, mounts: dict[Path, str], name: str = "/etc/edge/nginx.conf") -> list[dict[str, Any]]:
    """What `tool` has to say about a configuration, all of it."""
    words = [f"/opt/{tool}/bin/gixy", *FLAGS[tool], "-f", "json", "-o", "/out/findings", name]
    (where := next(iter(mounts)).parent / "out").mkdir(exist_ok=True)
    done = tools.run(*words, seconds=60, mounts={**mounts, where: "/out"}, network="none")
    assert "not found" not in done.output, done.output  # an include that it did not see
    found: list[dict[str, Any]] = json.loads((where / "findings").read_text())
    return found


@pytest.mark.parametrize("tool", FLAGS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_finding_of_any_severity(scanners: None, scores: Scores, tmp_path: Path, tool: str, variant: str) -> None:
    found = findings(tool, edge(tmp_path, **VARIANTS[variant]))
    count = Counter(item["severity"] for item in found)
    scores.add(
        tool, tools.version(tool), f"the configuration of nginx {variant}",
        result=f"{count['HIGH']} high, {count['MEDIUM']} medium, {len(found) - count['HIGH'] - count['MEDIUM']} low",
        target="0 high, 0 medium, 0 low",
    )  # fmt: skip
    assert [(item["plugin"], item["severity"], item.get("file"), item["reason"]) for item in found] == []


@pytest.mark.parametrize("tool", FLAGS)
def test_it_does_find_mistakes(scanners: None, tmp_path: Path, tool: str) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "nginx.conf").write_text(BAD)
    found = findings(tool, {tmp_path / "bad": "/etc/bad"}, "/etc/bad/nginx.conf")
    assert {"http_splitting", "alias_traversal"} <= {item["plugin"] for item in found}
