"""A change reaches exactly what it concerns, and the plan said so before."""

from __future__ import annotations

import json

from tests.e2e.world import (
    APP,
    AWKWARD,
    SITE,
    Project,
    Watch,
    accept,
    audit,
    containers,
    current,
    deep_health,
    in_container,
    inside,
    touched,
    visit,
    wait_until,
)


def planned(project: Project) -> dict[str, str]:
    return {change["service"]: change["action"] for change in project.json("plan", "-H", "lab")["services"]}


def test_a_changed_prometheus_file_is_reloaded_and_nothing_else_happens(restored: Project) -> None:
    restored.edit("files/monitoring/prometheus/prometheus.yml", "scrape_interval: 15s", "scrape_interval: 14s")
    assert planned(restored) == {"prometheus": "reload"}
    before = containers()
    done = restored.fab("deploy", "-H", "lab", "--yes")
    assert "+  scrape_interval: 14s" in done.stdout
    assert touched(before) == {}
    probe = ["wget", "-q", "-O", "-", "http://127.0.0.1:9090/api/v1/status/config"]
    wait_until("loaded", lambda: "scrape_interval: 14s" in in_container("prometheus", *probe), seconds=15)


def test_a_changed_nginx_file_is_reloaded_and_nothing_else_happens(restored: Project) -> None:
    headers = "files/nginx/snippets/headers.conf.j2"
    restored.edit(headers, '("Referrer-Policy", referrer_policy)', '("Referrer-Policy", "no-referrer")')
    assert planned(restored) == {"nginx": "reload"}
    before = containers()
    restored.fab("deploy", "-H", "lab", "--yes")
    assert touched(before) == {}

    def header() -> bool:
        return visit(f"https://{SITE}/").headers.get("referrer-policy") == "no-referrer"

    wait_until("served by the new configuration", header, seconds=15)


def test_a_changed_dashboard_restarts_grafana_alone(restored: Project) -> None:
    restored.edit(
        "files/monitoring/grafana/dashboards/maicivy_overview.json", "Visitors now", "Visitors at this moment"
    )
    assert planned(restored) == {"grafana": "restart"}
    before = containers()
    restored.fab("deploy", "-H", "lab", "--yes")
    assert touched(before) == {"grafana": "restarted"}


def test_a_changed_variable_switches_its_service_alone_and_shows_no_value(restored: Project) -> None:
    restored.set(CLAUDE_API_KEY="sk-quite-another-value-0987654321")
    assert planned(restored) == {"backend": "switch"}
    before = containers()
    done = restored.fab("deploy", "-H", "lab", "--yes")
    assert touched(before) == {"backend": "switched"}
    assert "environment: CLAUDE_API_KEY" in done.stdout
    assert "0987654321" not in done.stdout + done.stderr


def test_a_new_database_password_is_set_in_the_database_without_stopping_it(restored: Project) -> None:
    restored.set(POSTGRES_PASSWORD="another pg password: " + AWKWARD)
    assert planned(restored) == {"postgres": "reload", "backend": "switch"}
    before = containers()
    restored.fab("deploy", "-H", "lab", "--yes")
    assert touched(before) == {"backend": "switched"}
    assert wait_until("deep health", lambda: deep_health()["status"] == 200, seconds=15)


def test_no_secret_is_in_the_arguments_of_any_process_during_any_task(
    restored: Project, secret_values: list[str]
) -> None:
    another = "a-changed-secret-0123456789abcdef"
    with Watch([*secret_values, another]) as watch:
        restored.set(OPENAI_API_KEY=another, REDIS_PASSWORD=another)
        for words in (["plan"], ["deploy", "--yes"], ["health"], ["setup"]):
            restored.fab(words[0], "-H", "lab", *words[1:])
        restored.fab("secrets.check", "--path", ".lab/env")
    assert watch.sweeps > 100
    assert watch.seen == set()


def test_another_version_switches_the_application_alone_and_is_served(restored: Project) -> None:
    restored.version("1.1.0")
    assert planned(restored) == {"backend": "switch", "frontend": "switch"}
    before = containers()
    restored.fab("deploy", "-H", "lab", "--yes")
    assert touched(before) == {"backend": "switched", "frontend": "switched"}
    assert visit(f"https://{SITE}/health").headers["x-app-version"] == "1.1.0"
    assert current().endswith("-1.1.0")


def test_a_broken_nginx_file_is_found_before_anything_is_touched(restored: Project) -> None:
    restored.edit("files/nginx/snippets/limits.conf.j2", "send_timeout {{", "send_timeuot {{")
    before, release = containers(), current()
    done = restored.fab("deploy", "-H", "lab", "--yes", expect=12)
    assert "send_timeuot" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert touched(before) == {}
    assert current() == release
    assert "send_timeout" in inside("cat", f"/opt/{APP}/live/nginx/snippets/limits.conf")


def test_a_file_edited_on_the_host_is_shown_refused_and_put_right_when_that_is_accepted(
    project: Project, deployed: Watch
) -> None:
    live = f"/opt/{APP}/live/nginx/snippets/limits.conf"
    inside("sh", "-c", f"echo '# edited by hand' >> {live}")
    made = project.json("plan", "-H", "lab")
    edited = {change["path"]: change for change in made["files"]}["live/nginx/snippets/limits.conf"]
    assert "-# edited by hand" in edited["diff"]
    assert [guard["rule"] for guard in made["guards"] if not guard["accepted"]] == ["drift"]
    assert project.json("health", "-H", "lab", expect=9)["failed"] == ["drift"]
    before = containers()
    done = project.fab("deploy", "-H", "lab", "--yes", expect=11)
    assert "# edited by hand" in done.stdout + done.stderr, "it is shown before it is refused"
    assert "--accept drift" in done.stderr
    assert "edited by hand" in inside("cat", live), "nothing was overwritten"
    project.fab("deploy", "-H", "lab", "--yes", *accept("drift"))
    assert "edited by hand" not in inside("cat", live)
    assert touched(before) == {}
    assert "drift" in audit()[-1]["accepted"]
    assert project.json("plan", "-H", "lab")["empty"] is True


def test_old_releases_are_removed_and_the_current_one_is_kept(project: Project, deployed: Watch) -> None:
    kept = inside("ls", f"/opt/{APP}/releases").split()
    assert current() in kept
    assert len(kept) <= 7, "RELEASES_KEEP is 5, and what serves or served last is kept besides"
    assert json.loads(inside(f"/usr/local/bin/{APP}", "status"))["release"] == current()
