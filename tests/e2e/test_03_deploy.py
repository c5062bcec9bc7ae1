"""The first deploy: eight services, HTTPS with a certificate from the authority, and then nothing more to do."""

from __future__ import annotations

import re

from tests.e2e.world import (
    APP,
    SITE,
    Project,
    Watch,
    container_of,
    containers,
    current,
    in_container,
    inside,
    snapshot,
    touched,
    wait_until,
)

SERVICES = {"postgres", "redis", "backend", "frontend", "nginx", "prometheus", "grafana", "node-exporter"}


def test_the_example_settings_are_refused_and_nothing_reaches_the_host(project: Project, ready: Watch) -> None:
    before, good = snapshot(), project.env_file.read_text()
    try:
        project.env_file.write_text((project.root / ".env.production.example").read_text())
        done = project.fab("deploy", "-H", "lab", "--yes", expect=10)
    finally:
        project.env_file.write_text(good)
    assert "POSTGRES_PASSWORD" in done.stderr
    assert len(re.findall(r"env:\d+", done.stderr)) > 3, "every problem is named with its line"
    assert snapshot() == before


def test_every_service_runs_and_is_healthy(deployed: Watch) -> None:
    assert set(containers()) == SERVICES
    states = inside("docker", "ps", "--format", "{{.Names}} {{.Status}}").splitlines()
    assert [line for line in states if "(healthy)" not in line] == []


def test_no_secret_was_in_the_arguments_of_any_process(deployed: Watch) -> None:
    assert deployed.sweeps > 100
    assert deployed.seen == set()


def test_health_says_all_is_well(project: Project, deployed: Watch) -> None:
    report = project.json("health", "-H", "lab")
    assert report["ok"] is True
    assert report["failed"] == []
    names = {check["name"] for check in report["checks"]}
    assert {
        "https /",
        "https /health/deep hidden",
        "deep health",
        "https grafana",
        "http redirect",
        "certificate",
    } <= names
    assert {f"container {service}" for service in SERVICES} <= names


def test_the_certificate_is_the_authoritys_and_covers_both_names(deployed: Watch) -> None:
    text = inside(
        "openssl", "x509", "-noout", "-issuer", "-ext", "subjectAltName", "-in", f"/opt/{APP}/shared/tls/fullchain.pem"
    )
    assert "Pebble" in text
    assert f"DNS:{SITE}" in text
    assert "DNS:analytics.maicivy.lab.test" in text


def test_the_private_key_is_readable_by_root_and_nginx_alone(deployed: Watch) -> None:
    assert inside("stat", "-c", "%a %u:%g", f"/opt/{APP}/shared/tls/privkey.pem").strip() == "640 0:101"


def test_releases_and_their_secrets_are_roots_alone(deployed: Watch) -> None:
    loose = inside(
        "sh",
        "-c",
        f"find /opt/{APP}/releases/*/env /opt/{APP}/releases/*/*.env /opt/{APP}/releases/*/secrets -type f -perm /077",
    )
    assert loose == ""
    loose = inside("find", f"/opt/{APP}/live/secrets", "-type", "f", "-perm", "/077")
    assert loose == ""


def test_every_container_is_confined(deployed: Watch) -> None:
    fields = (
        ".Name .HostConfig.ReadonlyRootfs .HostConfig.CapDrop .HostConfig.SecurityOpt "
        ".Config.User .HostConfig.PidsLimit .HostConfig.Memory"
    )
    template = " ".join("{{" + field + "}}" for field in fields.split())
    lines = inside("sh", "-c", f"docker ps -q | xargs docker inspect --format '{template}'").splitlines()
    assert len(lines) == len(SERVICES)
    for line in lines:
        name, readonly, capabilities, options, user, pids, memory = line.split()
        assert (readonly, capabilities, options) == ("true", "[ALL]", "[no-new-privileges:true]"), name
        assert int(user.split(":")[0]) > 0, name
        assert int(pids) > 0, name
        assert int(memory) > 0, name


def test_only_nginx_publishes_and_only_the_web(deployed: Watch) -> None:
    ports = inside("docker", "ps", "--format", "{{.Names}} {{.Ports}}").splitlines()
    published = {line.split()[0] for line in ports if "->" in line}
    assert published == {f"{APP}-nginx-1"}
    assert set(re.findall(r":(\d+)->", "".join(ports))) == {"80", "443"}


def test_the_databases_cannot_be_reached_by_the_frontend_and_have_no_way_out(deployed: Watch) -> None:
    probe = "require('dns').lookup('postgres', e => process.exit(e ? 7 : 0))"
    done = inside("sh", "-c", f'docker exec {container_of("frontend")} node -e "{probe}"; echo $?')
    assert done.strip() == "7"
    assert inside("docker", "network", "inspect", "-f", "{{.Internal}}", f"{APP}_data").strip() == "true"


def test_compose_accepts_the_file_as_it_lies_on_the_host_and_lists_exactly_the_services(deployed: Watch) -> None:
    release = f"/opt/{APP}/releases/{current()}"
    words = ["docker", "compose", "--project-directory", release, "-f", f"{release}/docker-compose.prod.yml"]
    listed = inside(*words, "--env-file", f"{release}/env", "config", "--services").split()
    assert set(listed) == SERVICES


def test_prometheus_scrapes_every_target(deployed: Watch) -> None:
    def up() -> bool:
        answer = in_container(
            "prometheus", "promtool", "query", "instant", "http://127.0.0.1:9090", "sum by (job) (up)"
        )
        return {
            name for name in ("prometheus", "backend", "node") if f'job="{name}"' in answer and "=> 1" in answer
        } == {
            "prometheus",
            "backend",
            "node",
        }

    wait_until("all targets up", up, seconds=60, every=2)


def test_a_second_deploy_has_nothing_to_do_and_changes_nothing(project: Project, deployed: Watch) -> None:
    files, running = snapshot(), containers()
    assert project.json("plan", "-H", "lab")["empty"] is True
    done = project.fab("deploy", "-H", "lab")
    assert "nothing to do" in done.stdout
    assert snapshot() == files
    assert touched(running) == {}


def test_the_unit_starts_the_stack_at_boot(deployed: Watch) -> None:
    assert inside("systemctl", "is-enabled", f"{APP}.service").strip() == "enabled"


def test_the_manifest_says_who_and_what_and_no_secret(deployed: Watch, secret_values: list[str]) -> None:
    manifest = inside("cat", f"/opt/{APP}/releases/{current()}/manifest.json")
    assert '"version": "1.0.0"' in manifest
    assert not [value for value in secret_values if value in manifest]
