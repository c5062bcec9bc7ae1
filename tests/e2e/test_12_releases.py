"""Releases: what they pin, what is kept, how one goes back to them, and what is refused, asked and written down.

The tests go on from one another: first -> migrated -> (a failed one) -> back and forth -> pinned -> kept.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e import registry
from tests.e2e.http11 import Site
from tests.e2e.load import undisturbed
from tests.e2e.world import (
    APP,
    SITE,
    Project,
    accept,
    all_containers,
    audit,
    containers,
    current,
    images,
    inside,
    manifest,
    snapshot,
    sql,
    status,
    visit,
)

BACKEND = "lab-registry:5001/maicivy/backend"
HEADERS = "files/nginx/snippets/headers.conf.j2"
HOOK = """#!/bin/sh
env -0 > "$(dirname "$0")/../hook-{name}.env"
test ! -e "$(dirname "$0")/refuse-{name}"
"""


@dataclass
class Story:
    """What has happened so far."""

    project: Project
    first: str
    migrated: str = ""
    failed: str = ""
    plan: str = ""
    backup: str = ""
    volumes: list[str] = field(default_factory=list)

    def hook(self, name: str) -> dict[str, str]:
        """The environment in which a hook ran last; {} when it has not."""
        path = self.project.root / f"hook-{name}.env"
        if not path.exists():
            return {}
        text = path.read_bytes().decode()
        path.unlink()
        return dict(item.split("=", 1) for item in text.split("\0") if "=" in item)


@pytest.fixture(scope="module")
def story(ground: Project) -> Story:
    ground.fab("deploy", "-H", "lab", "--yes")  # whatever the module before has left
    hooks = ground.root / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-deploy", "post-deploy", "failed"):
        (hooks / name).write_text(HOOK.format(name=name))
        (hooks / name).chmod(0o755)
    return Story(ground, current(), volumes=volumes())


def volumes() -> list[str]:
    """The volumes on the host, with the moment each was made."""
    names = inside("docker", "volume", "ls", "-q").split()
    return sorted(inside("docker", "volume", "inspect", "-f", "{{.Name}} {{.CreatedAt}}", *names).splitlines())


def migrations() -> list[str]:
    """The versions that migrations were run for, oldest first."""
    if sql("SELECT to_regclass('migrations')") == "":
        return []
    return sql("SELECT version FROM migrations ORDER BY id").split()


def running(service: str) -> str:
    """The id of the image that the service's container was made from."""
    (found,) = [item.image for item in all_containers() if item.service == service]
    return found


def exactly(service: dict[str, Any]) -> str:
    """The image of a service as Docker lists it: repository and digest."""
    return f"{service['reference'].rpartition(':')[0]}@{service['pin']['digest']}"


def referrer() -> str:
    return str(visit(f"https://{SITE}/").headers["referrer-policy"])


def version() -> str:
    return str(visit(f"https://{SITE}/health").headers["x-app-version"])


def test_a_release_pins_what_its_tags_meant(story: Story) -> None:
    there = images()
    for name, service in manifest(story.first)["services"].items():
        assert "@sha256:" in service["image"], name
        assert service["image"].endswith(service["pin"]["digest"]), name
        assert exactly(service) in there[running(name)], "and that is what runs"


def test_a_hook_before_the_deploy_can_refuse_it(story: Story) -> None:
    story.project.set(BACKEND_ENV_ROUND="not to be")
    refusal = story.project.root / "hooks" / "refuse-pre-deploy"
    refusal.touch()
    before, entries = snapshot(), len(audit())
    try:
        done = story.project.fab("deploy", "-H", "lab", "--yes", expect=None)
    finally:
        refusal.unlink()
    assert done.returncode not in (0, 1), done.stdout
    assert "pre-deploy" in done.stderr
    assert "Traceback" not in done.stderr
    assert snapshot() == before
    assert len(audit()) == entries
    assert story.hook("pre-deploy")
    assert not story.hook("post-deploy")


def test_a_migration_runs_once_before_the_switch_with_a_verified_dump(story: Story) -> None:
    project, before = story.project, migrations()
    project.version("1.1.0")
    project.set(MIGRATION_COMMAND="/app/server -migrate", BACKEND_ENV_ROUND="two")
    project.edit(HEADERS, '("Referrer-Policy", referrer_policy)', '("Referrer-Policy", "no-referrer")')
    made = project.json("plan", "-H", "lab")
    assert made["migration"] == {"command": ["/app/server", "-migrate"], "backup": True}
    assert {change["service"]: change["action"] for change in made["services"]}["backend"] == "switch"
    assert [item["service"] for item in made["images"]] == ["backend", "frontend"]
    assert made["guards"] == []
    story.plan = made["id"]

    done = project.fab("deploy", "-H", "lab", "--yes", "--plan", story.plan)
    story.migrated = current()
    assert "migrated to version 1.1.0" in done.stdout, "what the migration said is shown"
    assert migrations() == [*before, "1.1.0"]
    result = status()["results"][story.migrated]
    assert (result["result"], result["migrated"], result["plan"]) == ("healthy", True, story.plan)
    story.backup = result["backup"]
    [kept] = [each for each in project.json("backup.list", "-H", "lab")["backups"] if each["id"] == story.backup]
    assert (kept["kind"], kept["reason"]) == ("postgres", f"before the migration of {story.migrated}")
    [database] = json.loads(inside("cat", f"{kept['path']}/manifest.json"))["databases"]
    counted = {table["name"]: table["rows"] for table in database["tables"]}
    assert counted.get("migrations", 0) == len(before), "it is of before the migration"
    assert "visits" in counted
    assert (version(), referrer()) == ("1.1.0", "no-referrer")


def test_the_hooks_have_seen_the_facts_and_no_secret(story: Story, secret_values: list[str]) -> None:
    for name in ("pre-deploy", "post-deploy"):
        seen = story.hook(name)
        facts = {key: seen.get(f"INFRA_{key}") for key in ("COMMAND", "HOST", "RELEASE", "PREVIOUS", "PLAN", "DOMAIN")}
        assert facts == {
            "COMMAND": "deploy",
            "HOST": "lab",
            "RELEASE": story.migrated,
            "PREVIOUS": story.first,
            "PLAN": story.plan,
            "DOMAIN": SITE,
        }, name
        assert not [value for value in seen.values() if any(secret in value for secret in secret_values)], name
    assert not story.hook("failed")


def test_a_plan_is_refused_when_the_host_has_moved_since(story: Story) -> None:
    story.project.set(BACKEND_ENV_ROUND="on another ground")
    done = story.project.fab("deploy", "-H", "lab", "--yes", "--plan", story.plan, expect=11)
    assert story.plan in done.stderr
    assert current() == story.migrated


def test_a_migration_that_fails_stops_the_deploy_before_any_traffic_moved(story: Story, site: Site) -> None:
    project, before, rows = story.project, containers(), migrations()
    project.version("1.0.0")
    project.set(BACKEND_ENV_LAB_MIGRATION="fail", BACKEND_ENV_ROUND="failing")
    with undisturbed(site, rate=60, slow=1):
        done = project.fab("deploy", "-H", "lab", "--yes", expect=12)
    assert "LAB_MIGRATION says so" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert current() == story.migrated
    assert containers() == before
    assert [item.name for item in all_containers() if item.oneoff] == []
    assert migrations() == rows
    assert (version(), referrer()) == ("1.1.0", "no-referrer")
    results = status()["results"]
    story.failed = max(name for name, result in results.items() if result["result"] == "failed")
    assert story.failed > story.migrated
    seen = story.hook("failed")
    assert (seen["INFRA_RELEASE"], seen["INFRA_STATUS"]) == (story.failed, "12")
    assert "migration" in seen["INFRA_CAUSE"].lower()
    assert not story.hook("post-deploy")
    project.set(BACKEND_ENV_LAB_MIGRATION="")


@pytest.mark.parametrize(("what", "said"), [("unknown", "not on this host"), ("failed", "never served")])
def test_a_rollback_to_what_never_served_is_refused(story: Story, what: str, said: str) -> None:
    target = story.failed if what == "failed" else "20200101T000000Z-0.9.0"
    before = containers()
    done = story.project.fab("rollback", "-H", "lab", "--to", target, "--yes", expect=11)
    assert target in done.stderr
    assert said in done.stderr
    assert (current(), containers()) == (story.migrated, before)


def test_a_rollback_goes_to_the_last_healthy_release_with_its_own_environment_and_configuration(story: Story) -> None:
    rows = migrations()
    done = story.project.fab("rollback", "-H", "lab", "--yes")
    assert current() == story.first
    output = done.stdout + done.stderr
    assert "migration" in output, "it warns of the migration in between"
    assert story.backup in output, "and names the backup made before it"
    assert (version(), referrer()) == ("1.0.0", "strict-origin-when-cross-origin")
    environment = visit(f"https://{SITE}/api/environment-digest?name=ROUND")
    assert hashlib.sha256(b"migrated").hexdigest() not in environment.body
    assert migrations() == rows, "a rollback runs no migration"
    assert "no-referrer" not in inside("cat", f"/opt/{APP}/live/nginx/snippets/headers.conf")


def test_a_rollback_to_a_named_release_brings_it_back_whole(story: Story) -> None:
    rows = migrations()
    story.project.fab("rollback", "-H", "lab", "--to", story.migrated, "--yes")
    assert current() == story.migrated
    assert (version(), referrer()) == ("1.1.0", "no-referrer")
    assert migrations() == rows
    assert status()["results"][story.migrated]["result"] == "healthy"


def test_a_tag_that_moves_in_the_registry_changes_no_release(story: Story) -> None:
    project = story.project
    digest = registry.push("maicivy/backend:1.9.0", "lab/backend-1.1.0")
    project.set(BACKEND_IMAGE=f"{BACKEND}:1.9.0", MIGRATION_COMMAND="", BACKEND_ENV_ROUND="pinned")
    project.fab("deploy", "-H", "lab", "--yes")
    release, image = current(), running("backend")
    assert manifest(release)["services"]["backend"]["pin"]["digest"] == digest
    other = registry.push("maicivy/backend:1.9.0", "lab/backend-1.0.0")
    assert other != digest
    assert project.json("plan", "-H", "lab")["empty"] is True
    project.fab("rollback", "-H", "lab", "--to", story.migrated, "--yes")
    project.fab("rollback", "-H", "lab", "--to", release, "--yes")
    assert running("backend") == image
    assert version() == "1.1.0"


# one line of the Compose file each: what it was, what it becomes, and the guard that has to notice
CHANGES = {
    "published-port": ('    user: "472:0"\n', '    user: "472:0"\n    ports: ["3001:3000"]\n'),
    "healthcheck-dropped": (
        '    healthcheck:\n      test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1:9100/"]\n      interval: 15s\n'
        "      timeout: 5s\n      retries: 3\n      start_period: 30s\n      start_interval: 1s\n",
        "",
    ),
    "new-empty-volume": ("name: ${APP_NAME}_grafana_data", "name: ${APP_NAME}_grafana_other"),
    "memory-overcommitted": ("mem_limit: 384m", "mem_limit: 900g"),
}


def test_guards_refuse_by_name_and_take_an_acceptance_by_name_which_is_recorded(story: Story) -> None:
    project, compose, before = story.project, "files/docker-compose.prod.yml", snapshot()
    for old, new in CHANGES.values():
        project.edit(compose, old, new)
    made = project.json("plan", "-H", "lab")
    assert {guard["rule"] for guard in made["guards"]} == set(CHANGES)
    assert not any(guard["accepted"] for guard in made["guards"])
    done = project.fab("deploy", "-H", "lab", "--yes", expect=11)
    for rule in CHANGES:
        assert rule in done.stderr, "each is named"
    assert "--accept" in done.stderr
    project.fab("deploy", "-H", "lab", "--yes", *accept("no-such-guard"), expect=2)
    assert snapshot() == before

    for rule in ("new-empty-volume", "memory-overcommitted"):
        project.edit(compose, CHANGES[rule][1], CHANGES[rule][0])
    done = project.fab("deploy", "-H", "lab", "--yes", *accept("published-port"), expect=11)
    assert "healthcheck-dropped" in done.stderr, "accepting one is not accepting another"
    project.fab("deploy", "-H", "lab", "--yes", *accept("published-port", "healthcheck-dropped"))
    assert sorted(manifest(current())["accepted"]) == ["healthcheck-dropped", "published-port"]
    assert sorted(audit()[-1]["accepted"]) == ["healthcheck-dropped", "published-port"]
    assert volumes() == story.volumes
    for rule in ("published-port", "healthcheck-dropped"):
        if CHANGES[rule][1]:
            project.edit(compose, CHANGES[rule][1], CHANGES[rule][0])
    project.edit(compose, "    mem_limit: 64m\n", CHANGES["healthcheck-dropped"][0] + "    mem_limit: 64m\n")


def test_retention_keeps_every_image_a_kept_release_needs_and_never_touches_a_volume(story: Story) -> None:
    project = story.project
    project.version("1.0.0")
    project.set(RELEASES_KEEP="2")
    project.fab("deploy", "-H", "lab", "--yes")
    told, there = status(), images()
    assert told["release"] in told["releases"]
    assert story.first not in told["releases"]
    assert story.failed not in told["releases"], "what never served goes first"
    assert 2 <= len(told["releases"]) <= 3
    references = {reference for names in there.values() for reference in names}
    for release in told["releases"]:
        for name, service in manifest(release)["services"].items():
            assert exactly(service) in references, f"{release}: {name}"
    wanted = {exactly(service) for release in told["releases"] for service in manifest(release)["services"].values()}
    kept = {names[0]: names for names in there.values() if names and "/maicivy/" in names[0]}
    assert [names for names in kept.values() if not wanted & set(names)] == [], "what no kept release needs is gone"
    assert volumes() == story.volumes
    assert project.json("health", "-H", "lab")["ok"] is True
    target = next(name for name in told["releases"] if name != told["release"])
    # a word given for a health check then is none for the one that would be lost now
    project.fab("rollback", "-H", "lab", "--to", target, "--yes", *accept("healthcheck-dropped"))
    assert current() == target


def test_the_releases_are_listed_with_who_made_them_and_what_became_of_them(story: Story) -> None:
    told = status()
    text = story.project.fab("releases", "-H", "lab").stdout
    for release in told["releases"]:
        assert release in text
    document = json.dumps(story.project.json("releases", "-H", "lab"))
    for release in told["releases"]:
        assert release in document
    assert manifest(told["release"])["by"] in document


def test_every_change_has_left_one_line(story: Story) -> None:
    entries = audit()
    by_what = {what: [entry for entry in entries if entry["what"] == what] for what in ("deploy", "rollback", "setup")}
    for what, found in by_what.items():
        assert found, what
        for entry in found:
            assert entry["by"], "who"
            assert entry["from"], "from where"
            assert entry["start"] <= entry["end"]
    for entry in by_what["deploy"] + by_what["rollback"]:
        assert entry["plan"] or entry["what"] == "rollback"
    (migrated,) = [entry for entry in by_what["deploy"] if entry["target"] == story.migrated]
    assert (migrated["result"], migrated["plan"]) == ("done", story.plan)
    (failed,) = [entry for entry in by_what["deploy"] if entry["target"] == story.failed]
    assert failed["result"] == "failed"
    assert failed["cause"]
    assert [entry for entry in by_what["rollback"] if entry["target"] == story.first and entry["result"] == "done"]
    document = json.dumps(story.project.json("audit", "-H", "lab"))
    assert story.plan in document
    assert story.plan in story.project.fab("audit", "-H", "lab").stdout or len(entries) > 20


def test_no_secret_is_in_the_audit_or_in_any_result(story: Story, secret_values: list[str]) -> None:
    text = inside("sh", "-c", f"cat /opt/{APP}/shared/state/*.json* /opt/{APP}/releases/*/manifest.json")
    assert not [value for value in secret_values if value in text]
