"""`fab health` finds what is wrong, names it, and its exit code says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.world import Project, Watch, container_of, inside, wait_until


@pytest.fixture
def stopped(request: pytest.FixtureRequest, deployed: Watch) -> Iterator[str]:
    """A service that was stopped by hand; started again afterwards."""
    service = request.param
    name = container_of(service)
    inside("docker", "stop", name)
    yield service
    inside("docker", "start", name)
    healthy = ["docker", "inspect", "-f", "{{.State.Health.Status}}"]
    for each in {name, *(container_of(other) for other in ("backend", "frontend", "nginx"))}:
        wait_until("healthy", lambda each=each: inside(*healthy, each).strip() == "healthy", 90)


@pytest.mark.parametrize("stopped", ["redis", "postgres"], indirect=True)
def test_a_stopped_database_is_named_with_what_the_application_says_of_it(project: Project, stopped: str) -> None:
    report = project.json("health", "-H", "lab", expect=9)
    assert f"container {stopped}" in report["failed"]
    assert "deep health" in report["failed"]
    deep = next(check for check in report["checks"] if check["name"] == "deep health")
    assert stopped in deep["detail"]


@pytest.mark.parametrize("stopped", ["redis"], indirect=True)
def test_the_table_names_it_too(project: Project, stopped: str) -> None:
    done = project.fab("health", "-H", "lab", expect=9)
    assert "FAIL  container redis" in done.stdout
    assert "NOT healthy" in done.stdout


@pytest.mark.parametrize("stopped", ["nginx"], indirect=True)
def test_a_site_that_does_not_answer_is_told_with_its_reason(project: Project, stopped: str) -> None:
    report = project.json("health", "-H", "lab", expect=9)
    details = {check["name"]: check["detail"] for check in report["checks"] if not check["ok"]}
    assert "refused" in details["https /"]
    assert "container nginx" in details


@pytest.mark.parametrize("stopped", ["grafana"], indirect=True)
def test_a_stopped_service_is_started_by_the_next_deploy(project: Project, stopped: str) -> None:
    plan = project.json("plan", "-H", "lab")
    assert {change["service"]: change["action"] for change in plan["services"]} == {"grafana": "start"}
    project.fab("deploy", "-H", "lab", "--yes")
    assert project.json("health", "-H", "lab")["ok"] is True


def test_an_untrusted_certificate_is_refused(project: Project, deployed: Watch) -> None:
    kept = project.env_file.read_text()
    other = project.root / ".lab" / "other-ca.pem"
    other.write_text((project.root / ".lab" / "ca.pem").read_text())
    try:
        project.set(TRUSTED_CA_FILE="")
        report = project.json("health", "-H", "lab", expect=9)
    finally:
        project.env_file.write_text(kept)
    details = {check["name"]: check["detail"] for check in report["checks"] if not check["ok"]}
    assert "certificate" in details["https /"]
    assert "certificate" in details
