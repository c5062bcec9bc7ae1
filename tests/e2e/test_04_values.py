"""Values arrive byte for byte."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.e2e.conftest import SECRETS
from tests.e2e.world import Watch, container_of, deep_health, in_container, inside


def sha(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("CLAUDE_API_KEY", "CLAUDE_API_KEY"),
        ("OPENAI_API_KEY", "OPENAI_API_KEY"),
        ("LETTER", "BACKEND_ENV_LETTER"),
    ],
)
def test_in_the_environment_of_the_backend(deployed: Watch, name: str, setting: str) -> None:
    assert environment_of("backend")[name] == sha(SECRETS[setting])


def test_in_the_environment_of_the_frontend(deployed: Watch) -> None:
    assert environment_of("frontend")["LETTER"] == sha(SECRETS["FRONTEND_ENV_LETTER"])


@pytest.mark.parametrize(
    ("service", "path", "setting"),
    [
        ("postgres", "/run/secrets/password", "POSTGRES_PASSWORD"),
        ("redis", "/run/secrets/password", "REDIS_PASSWORD"),
        ("grafana", "/run/secrets/admin_password", "GRAFANA_ADMIN_PASSWORD"),
    ],
)
def test_in_the_secret_files_of_the_services(deployed: Watch, service: str, path: str, setting: str) -> None:
    assert in_container(service, "sha256sum", path).split()[0] == sha(SECRETS[setting])


def test_the_keys_of_the_backend_do_not_reach_the_frontend(deployed: Watch) -> None:
    assert not {"CLAUDE_API_KEY", "OPENAI_API_KEY", "DATABASE_URL"} & environment_of("frontend").keys()


def test_the_application_logs_in_to_both_databases_with_them(deployed: Watch) -> None:
    """The URLs carry the passwords percent-encoded; over TCP both servers insist on them."""
    answer = deep_health()
    assert answer["status"] == 200, answer["body"]


def environment_of(service: str) -> dict[str, str]:
    """Digests of the variables a container's first process really has, read from the kernel."""
    pid = inside("docker", "inspect", "-f", "{{.State.Pid}}", container_of(service)).strip()
    # with init: true the first process is tini; its environment is the one the application was given
    script = (
        "import hashlib,json,sys\n"
        "pairs=[p.partition(b'=') for p in open('/proc/%s/environ'%sys.argv[1],'rb').read().split(b'\\0') if p]\n"
        "print(json.dumps({k.decode():hashlib.sha256(v).hexdigest() for k,_,v in pairs}))"
    )
    return dict(json.loads(inside("python3", "-c", script, pid)))
