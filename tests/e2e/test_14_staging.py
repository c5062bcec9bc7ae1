"""A second environment on the same host: its own volumes, containers, releases, lock and certificate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.e2e.phases import Phases
from tests.e2e.world import (
    APP,
    SITE,
    Project,
    Watch,
    accept,
    all_containers,
    audit,
    containers,
    current,
    deep_health,
    inside,
    status,
    touched,
    visit,
)

STAGING = "maicivy-staging"
DOMAINS = ("staging.maicivy.lab.test", "analytics-staging.maicivy.lab.test")
FLAGS = ("-H", "lab", "--env", "staging")


@pytest.fixture(scope="module")
def staging(project: Project, deployed: Watch) -> Iterator[Project]:
    """The checkout with the settings of `--env staging`, set up and deployed; stopped at the end."""
    other = replace(project, environment="staging")
    other.env_file.write_text(project.env_file.read_text())
    other.env_file.chmod(0o600)
    other.set(
        APP_NAME=STAGING,
        SITE_DOMAIN=DOMAINS[0],
        GRAFANA_DOMAIN=DOMAINS[1],
        HTTP_PORT="8080",
        HTTPS_PORT="8443",
        POSTGRES_PASSWORD="another password, of staging",
        POSTGRES_MEMORY="256m",
        REDIS_MEMORY="64m",
        BACKEND_MEMORY="128m",
        FRONTEND_MEMORY="256m",
    )
    production = containers()
    try:
        other.fab("setup", *FLAGS, "--yes", timeout=900)
        refused = other.fab("deploy", *FLAGS, "--yes", expect=11)
        assert "published-port" in refused.stderr
        other.fab("deploy", *FLAGS, "--yes", *accept("published-port"), timeout=900)
        assert touched(production) == {}
        yield other
    finally:
        inside("sh", "-c", f"systemctl disable --now {STAGING}.service || true")
        inside("sh", "-c", f"docker ps -aq --filter label=com.docker.compose.project={STAGING} | xargs -r docker rm -f")


def test_both_sites_answer_with_certificates_of_their_own(staging: Project) -> None:
    for url in (
        f"https://{SITE}/health",
        f"https://{DOMAINS[0]}:8443/health",
        f"https://{DOMAINS[0]}:8443/",
        f"https://{DOMAINS[1]}:8443/health",
    ):
        answer = visit(url)
        assert answer.status == 200, f"{url}: {answer.status} {answer.error}"
    redirected = visit(f"http://{DOMAINS[0]}:8080/x")
    assert (redirected.status, redirected.headers["location"]) == (308, f"https://{DOMAINS[0]}:8443/x")
    report = staging.json("health", *FLAGS)
    assert report["ok"] is True, report["failed"]
    assert staging.json("health", "-H", "lab")["ok"] is True


def test_nothing_is_shared(staging: Project) -> None:
    assert {item.name for item in all_containers()} & {item.name for item in all_containers(STAGING)} == set()
    assert len(all_containers(STAGING)) == len(all_containers())
    mounted = {}
    for app in (APP, STAGING):
        fields = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}'
        ids = [item.id for item in all_containers(app)]
        mounted[app] = set(inside("docker", "inspect", "-f", fields, *ids).split())
    assert mounted[STAGING] >= {f"{STAGING}_postgres_data", f"{STAGING}_redis_data"}
    assert mounted[APP] & mounted[STAGING] == set()
    assert set(status()["volumes"]) & set(status(STAGING)["volumes"]) == set()
    assert current(STAGING) not in status()["releases"]
    assert {item["app"] for item in status(STAGING)["neighbours"]} == {APP}
    assert audit(STAGING)[-1]["target"] == current(STAGING)
    assert [entry for entry in audit() if entry["target"] == current(STAGING)] == []
    assert inside("cat", f"/opt/{STAGING}/live/secrets/postgres/password") == "another password, of staging"


def test_the_plan_of_each_is_empty_whatever_the_other_has(staging: Project) -> None:
    assert staging.json("plan", *FLAGS)["empty"] is True
    assert staging.json("plan", "-H", "lab")["empty"] is True


def test_one_is_deployed_while_the_other_is_busy(staging: Project, restored: Project) -> None:
    restored.set(BACKEND_ENV_ROUND="production is busy", BACKEND_ENV_LAB_START_DELAY="8")
    staging.set(BACKEND_ENV_ROUND="staging meanwhile")
    before = containers(STAGING)
    with Phases() as phases:
        production = restored.start("deploy", "-H", "lab", "--yes")
        phases.wait("beside")
        staging.fab("deploy", *FLAGS, "--yes")
        output, _ = production.communicate(timeout=180)
    assert production.returncode == 0, output
    assert containers(STAGING)["backend"] != before["backend"]
    first, second = audit()[-1], audit(STAGING)[-1]
    assert (first["result"], second["result"]) == ("done", "done")
    assert second["start"] < first["end"], "they really were at work at the same time"
    assert (deep_health(STAGING)["status"], deep_health()["status"]) == (200, 200)
