"""What each container gets, and what must never be shown."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from compose_dialect import decode
from settings_samples import GOOD, WriteSettings

from tasks.core.command import Secret, redact
from tasks.core.settings import Settings, load
from tasks.model.dotenv import encode

AWKWARD = "$ # ' \" \\ = % & @ : / é ${HOME} $$ \\n end\\"


def revealed(environment: dict[str, str | Secret]) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in environment.items()}


def test_the_backend_gets_its_connections_the_public_urls_and_the_keys(write_settings: WriteSettings) -> None:
    settings = load(write_settings(CLAUDE_API_KEY="claude-key", OPENAI_API_KEY="openai-key"))
    assert revealed(settings.backend_environment()) == {
        "PORT": "8080",
        "SITE_URL": "https://cv.site.test",
        "GRAFANA_URL": "https://stats.site.test",
        "DATABASE_URL": "postgres://maicivy:postgres-Secret-1@postgres:5432/maicivy?sslmode=disable",
        "REDIS_URL": "redis://:redis-Secret-22@redis:6379/0",
        "CLAUDE_API_KEY": "claude-key",
        "OPENAI_API_KEY": "openai-key",
    }


def test_a_key_that_is_not_given_is_not_set(write_settings: WriteSettings) -> None:
    assert "CLAUDE_API_KEY" not in load(write_settings(CLAUDE_API_KEY="")).backend_environment()


def test_the_frontend_gets_no_secret_of_the_backend(write_settings: WriteSettings) -> None:
    settings = load(write_settings(CLAUDE_API_KEY="claude-key", BACKEND_ENV_TOKEN="backend-token"))
    environment = settings.frontend_environment()
    assert revealed(environment) == {
        "PORT": "3000",
        "HOSTNAME": "0.0.0.0",
        "API_URL": "http://nginx:8080",
        "SITE_URL": "https://cv.site.test",
        "GRAFANA_URL": "https://stats.site.test",
    }
    assert not any(isinstance(value, Secret) for value in environment.values())


def test_variables_of_ones_own_go_to_their_container_only(write_settings: WriteSettings) -> None:
    settings = load(write_settings(BACKEND_ENV_A="for-the-backend", FRONTEND_ENV_B="for-the-frontend"))
    backend, frontend = settings.backend_environment(), settings.frontend_environment()
    assert backend["A"] == Secret("for-the-backend")
    assert frontend["B"] == Secret("for-the-frontend")
    assert "B" not in backend
    assert "A" not in frontend


def test_an_empty_variable_of_ones_own_is_set_and_empty(write_settings: WriteSettings) -> None:
    assert load(write_settings(BACKEND_ENV_A="")).backend_environment()["A"] == Secret("")


def test_whatever_holds_a_secret_is_a_secret(write_settings: WriteSettings) -> None:
    settings = load(write_settings(CLAUDE_API_KEY="claude-key", BACKEND_ENV_A="mine"))
    for environment in (settings.backend_environment(), settings.compose_environment()):
        shown = repr(environment)
        for value in [*(GOOD[name] for name in GOOD if name.endswith("PASSWORD")), "claude-key", "mine"]:
            assert value not in shown


def test_awkward_passwords_survive_the_urls(write_settings: WriteSettings) -> None:
    settings = load(write_settings(POSTGRES_PASSWORD=AWKWARD, REDIS_PASSWORD=AWKWARD))
    environment = revealed(settings.backend_environment())
    for name in ("DATABASE_URL", "REDIS_URL"):
        assert unquote(urlsplit(environment[name]).password or "") == AWKWARD


@pytest.mark.parametrize("value", [AWKWARD, "two\nlines\n", " spaces ", "'", '"', "\\", "#", "a=b", "😀"])
def test_a_value_travels_from_the_settings_to_the_container_byte_for_byte(
    write_settings: WriteSettings, value: str
) -> None:
    settings = load(write_settings(BACKEND_ENV_VALUE=value))
    assert decode(encode(revealed(settings.backend_environment())))["VALUE"] == value


def test_the_compose_file_may_name_images_memory_and_the_version(write_settings: WriteSettings) -> None:
    environment = revealed(load(write_settings(REDIS_MEMORY="64m")).compose_environment())
    assert environment["NODE_EXPORTER_IMAGE"] == "prom/node-exporter:v1.11.1"
    assert environment["BACKEND_IMAGE"] == GOOD["BACKEND_IMAGE"]
    assert environment["REDIS_MEMORY"] == "64m"
    assert environment["VERSION"] == "1.2.3"
    assert environment["POSTGRES_PASSWORD"] == GOOD["POSTGRES_PASSWORD"]


def test_compose_is_not_told_what_no_container_needs(write_settings: WriteSettings) -> None:
    names = set(load(write_settings()).compose_environment())
    assert not {"REGISTRY_PASSWORD", "CLAUDE_API_KEY", "OPENAI_API_KEY", "DEPLOY_HOST"} & names


def test_the_derived_properties_follow_the_settings(write_settings: WriteSettings) -> None:
    settings = load(write_settings())
    assert settings.version == "1.2.3"
    assert settings.domains == ["cv.site.test", "stats.site.test"]
    assert set(settings.images) == {
        *("postgres", "redis", "backend", "frontend", "nginx", "prometheus", "grafana", "node-exporter"),
    }


def all_secrets(write_settings: WriteSettings) -> Settings:
    return load(
        write_settings(
            REGISTRY="r.test",
            REGISTRY_USER="me",
            REGISTRY_PASSWORD="registry-pw",
            CLAUDE_API_KEY="claude-key",
            OPENAI_API_KEY="openai-key",
            BACKEND_ENV_A="backend-own",
            FRONTEND_ENV_B="frontend-own",
            BACKEND_ENV_DEBUG="true",
            POSTGRES_PASSWORD="pass/word@1#",
        )
    )


def test_a_port_of_its_own_is_part_of_every_public_url(write_settings: WriteSettings) -> None:
    settings = load(write_settings(HTTP_PORT="8080", HTTPS_PORT="8443"))
    assert (settings.site_url, settings.grafana_url) == ("https://cv.site.test:8443", "https://stats.site.test:8443")
    environment = revealed(settings.compose_environment())
    assert (environment["HTTP_PORT"], environment["HTTPS_PORT"]) == ("8080", "8443")
    for given in (environment, settings.backend_environment(), settings.frontend_environment()):
        assert (given["SITE_URL"], given["GRAFANA_URL"]) == (settings.site_url, settings.grafana_url)


def test_output_is_cleaned_of_every_secret_also_as_spelled_in_urls(write_settings: WriteSettings) -> None:
    settings = all_secrets(write_settings)
    text = "registry-pw claude-key openai-key backend-own frontend-own pass/word@1# pass%2Fword%401%23 redis-Secret-22"
    assert redact(text, settings.secrets) == " ".join(["***"] * 8)


def test_a_switch_is_not_masked_all_over_the_output(write_settings: WriteSettings) -> None:
    assert redact("true story", all_secrets(write_settings).secrets) == "true story"


def test_printing_the_settings_shows_no_secret(write_settings: WriteSettings) -> None:
    settings = all_secrets(write_settings)
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert redact(shown, settings.secrets) == shown
