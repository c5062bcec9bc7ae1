"""Rendering the bundle."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.core import project, settings
from tasks.model import bundle, manifest, notation
from tasks.model.images import Pin

LINES = {
    "SITE_DOMAIN": "shop.test",
    "GRAFANA_DOMAIN": "stats.shop.test",
    "ACME_EMAIL": "ops@shop.test",
    "APP_NAME": "shop",
    "BACKEND_IMAGE": "registry.test/shop/backend:1.2.3",
    "FRONTEND_IMAGE": "registry.test/shop/frontend:1.2.3",
    "POSTGRES_DB": "shop",
    "POSTGRES_USER": "shop",
    "POSTGRES_PASSWORD": "postgres-password-1",
    "REDIS_PASSWORD": "redis-password-12",
    "GRAFANA_ADMIN_PASSWORD": "grafana-password-1",
    "CLAUDE_API_KEY": "sk-secret-claude",
}


@pytest.fixture
def load(tmp_path: Path):
    def loader(**changes: str) -> settings.Settings:
        path = tmp_path / ".env"
        path.write_text("".join(f"{key}='{value}'\n" for key, value in (LINES | changes).items()))
        path.chmod(0o600)
        return settings.load(path)

    return loader


@pytest.fixture
def rendered(load) -> bundle.Bundle:
    return bundle.render(project.read_tree(), load(), {})


def test_the_same_settings_give_the_same_bytes(load) -> None:
    sources = project.read_tree()
    first, second = bundle.render(sources, load(), {}), bundle.render(sources, load(), {})
    assert {path: file.data for path, file in first.files.items()} == {p: f.data for p, f in second.files.items()}


def test_names_and_domains_are_settings_throughout(rendered) -> None:
    text = b"\n".join(file.data for path, file in rendered.files.items() if path.startswith(("nginx/", "systemd/")))
    assert b"shop.test" in text
    assert b"stats.shop.test" in text
    assert b"{{" not in text
    assert "systemd/shop.service" in rendered.files
    assert b"/usr/local/bin/shop up" in rendered.files["systemd/shop.service"].data


def test_the_log_of_postgresql_is_received_only_where_somebody_wants_to_go_back(load, rendered) -> None:
    units = {"systemd/shop-wal.service", "systemd/shop-wal.timer"}
    assert not units & set(rendered.files)
    with_it = bundle.render(project.read_tree(), load(POINT_IN_TIME_DAYS="7"), {})
    assert units <= set(with_it.files)
    assert b"ExecStart=/usr/local/bin/shop receive-wal" in with_it.files["systemd/shop-wal.service"].data
    assert b'"point_in_time_days": 7' in with_it.files["backup/policy.json"].data


def test_everything_that_holds_a_secret_is_marked_and_private(rendered) -> None:
    values = [value.encode() for key, value in LINES.items() if "PASSWORD" in key or "KEY" in key]
    for path, file in rendered.files.items():
        if any(value in file.data for value in values):
            assert file.secret, path
            assert file.mode == 0o600, path
        if not file.secret:
            assert file.mode == 0o644, path


def test_secrets_are_in_no_repr_and_not_in_the_manifest(rendered, load) -> None:
    made = manifest.build(rendered, load(), manifest.Origin(datetime(2026, 1, 1, tzinfo=UTC), "me@here", None))
    for value in (LINES["POSTGRES_PASSWORD"], LINES["CLAUDE_API_KEY"]):
        assert value not in repr(rendered)
        assert value not in str(made)


def test_redis_gets_the_hash_of_its_password_and_its_health_check_the_password(rendered) -> None:
    digest = hashlib.sha256(LINES["REDIS_PASSWORD"].encode()).hexdigest()
    assert rendered.files["secrets/redis/users.acl"].data == f"user default on #{digest} ~* &* +@all\n".encode()
    assert rendered.files["secrets/redis/password"].data == LINES["REDIS_PASSWORD"].encode()


def test_the_host_program_is_not_part_of_the_bundle(rendered) -> None:
    assert not [path for path in rendered.files if path.startswith("host/")]


def test_services_know_what_they_mount_and_read(rendered) -> None:
    services = rendered.services
    assert services["nginx"].mounts == ("nginx",)
    assert services["postgres"].mounts == ("secrets/postgres",)
    assert services["backend"].env_files == ("backend.env",)
    assert services["nginx"].reload is not None
    assert services["grafana"].reload is None


def test_a_changed_key_changes_its_own_fingerprint_alone(load) -> None:
    sources = project.read_tree()
    one = bundle.render(sources, load(), {}).environment["backend"]
    two = bundle.render(sources, load(CLAUDE_API_KEY="sk-another-key"), {}).environment["backend"]
    assert [key for key in one if one[key] != two[key]] == ["CLAUDE_API_KEY"]


def test_a_compose_file_that_names_an_unknown_variable_is_refused(load) -> None:
    sources = project.read_tree()
    sources["docker-compose.prod.yml"] += b"\n# harmless\n"
    bundle.render(sources, load(), {})
    sources["docker-compose.prod.yml"] = sources["docker-compose.prod.yml"].replace(b"${REDIS_IMAGE}", b"${REDIS_IMGE}")
    with pytest.raises(bundle.BundleError, match="REDIS_IMGE"):
        bundle.render(sources, load(), {})


def test_a_template_that_names_an_unknown_variable_is_refused(load) -> None:
    sources = project.read_tree() | {"nginx/tls/site.conf.j2": b"server_name {{ site_domian }};"}
    with pytest.raises(bundle.BundleError, match="site_domian"):
        bundle.render(sources, load(), {})


@pytest.mark.parametrize("missing", ["docker-compose.prod.yml", "monitoring/prometheus/prometheus.yml"])
def test_a_missing_source_is_named(load, missing: str) -> None:
    sources = project.read_tree()
    del sources[missing]
    with pytest.raises(bundle.BundleError, match=r"missing|prometheus"):
        bundle.render(sources, load(), {})


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 << 20), ("1g", 1 << 30), ("1.5G", 3 << 29), ("64k", 64 << 10), ("100", 100), ("2gb", 2 << 30)],
)
def test_sizes_are_read_as_docker_reads_them(text: str, size: int) -> None:
    assert notation.size_in_bytes(text) == size


def test_release_ids_sort_by_time_and_are_safe_as_directory_names() -> None:
    early, late = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
    assert manifest.release_id(early, "1.0") == "20260102T030405Z-1.0"
    assert manifest.release_id(early, "9") < manifest.release_id(late, "1")
    assert manifest.release_id(early, "../a b") == "20260102T030405Z-.._a_b"


def test_a_pinned_image_is_what_compose_is_given_and_the_tag_stays_readable(load) -> None:
    reference, digest = LINES["BACKEND_IMAGE"], "sha256:" + "a" * 64
    made = bundle.render(project.read_tree(), load(), {reference: Pin(digest, None)})
    assert made.services["backend"].image == f"{reference}@{digest}"
    assert f"{reference}@{digest}".encode() in made.files["env"].data
    assert made.references["backend"] == reference
    assert made.services["frontend"].image == LINES["FRONTEND_IMAGE"]


def test_an_image_without_a_registry_keeps_its_name_and_is_known_by_its_id(load) -> None:
    reference = LINES["BACKEND_IMAGE"]
    made = bundle.render(project.read_tree(), load(), {reference: Pin(None, "sha256:" + "b" * 64)})
    assert made.services["backend"].image == reference
    origin = manifest.Origin(datetime(2026, 11, 22, tzinfo=UTC), "me@here", None)
    entry = manifest.build(made, load(), origin)["services"]["backend"]
    assert entry["pin"] == {"digest": None, "id": "sha256:" + "b" * 64}


def test_the_manifest_says_what_was_agreed_to(load) -> None:
    made = bundle.render(project.read_tree(), load(), {})
    origin = manifest.Origin(datetime(2026, 11, 22, tzinfo=UTC), "me@here", None)
    told = manifest.build(made, load(), origin, plan="aaaaaa-bbbbbb", accepted=["drift", "a"])
    assert (told["plan"], told["accepted"]) == ("aaaaaa-bbbbbb", ["a", "drift"])


@pytest.mark.parametrize("value", ["your-key-here", "<token>", "xxxx", "TODO", "changeme123", "replace-me"])
def test_a_value_that_was_never_filled_in_is_named_and_not_shown(load, value: str) -> None:
    made = bundle.render(project.read_tree(), load(BACKEND_ENV_MAIL_KEY=value), {})
    assert made.placeholders == ("backend: MAIL_KEY",)


@pytest.mark.parametrize("value", ["a real value", "exchange it all", "0xxx1", "me@here.test", "a<b>c"])
def test_a_value_of_its_own_is_no_placeholder(load, value: str) -> None:
    assert bundle.render(project.read_tree(), load(BACKEND_ENV_MAIL_KEY=value), {}).placeholders == ()
