"""From a file to settings, or to every problem at once."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from settings_samples import GOOD, WriteSettings, WriteText

from tasks.core.command import Secret
from tasks.core.errors import ExitStatus, SettingsError
from tasks.core.project import ROOT
from tasks.core.settings import SCHEMA, Settings, deploy_host, load
from tasks.core.settings.check import project_root

S3, SFTP, LONG = "s3:https://s3.test/b", "sftp://u@store.test//b", "long enough for it"
NEEDS = ":9: BACKUP_REMOTES: needs "


def problems(path: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path)
    return [problem.removeprefix(str(path)) for problem in caught.value.problems]


def test_the_required_settings_are_enough(write_settings: WriteSettings) -> None:
    settings = load(write_settings())
    assert settings.site_domain == "cv.site.test"
    assert settings.app_name == "maicivy"
    assert settings.releases_keep == 5
    assert settings.health_timeout == 120
    assert settings.postgres_password == Secret(GOOD["POSTGRES_PASSWORD"])
    assert settings.acme_server.startswith("https://acme-v02.")
    assert settings.deploy_public_key_file == Path("~/.ssh/id_ed25519.pub").expanduser()


def test_an_optional_setting_that_is_not_given_is_none(write_settings: WriteSettings) -> None:
    settings = load(write_settings(DEPLOY_HOST="", PUBLIC_ADDRESS=""))
    for name in ("deploy_host", "public_address", "trusted_ca_file", "registry", "registry_password", "claude_api_key"):
        assert getattr(settings, name) is None


def test_an_empty_value_means_the_default(write_settings: WriteSettings) -> None:
    assert load(write_settings(RELEASES_KEEP="", POSTGRES_IMAGE="")).postgres_image == "postgres:17.12"


def test_a_migration_command_is_split_as_a_shell_would(write_settings: WriteSettings) -> None:
    assert load(write_settings()).migration_command == ()
    settings = load(write_settings(MIGRATION_COMMAND="/app/migrate --to 'the top' $HOME"))
    assert settings.migration_command == ("/app/migrate", "--to", "the top", "$HOME")


def test_a_build_directory_starts_at_the_project_and_need_not_be_there(write_settings: WriteSettings) -> None:
    path = write_settings(BACKEND_BUILD="../app/backend")
    settings = load(path)
    assert settings.backend_build == path.parent / "../app/backend"
    assert settings.frontend_build is None


def test_every_setting_is_an_attribute_in_lower_case() -> None:
    attributes = {field.name for field in dataclasses.fields(Settings)} - {"path", "backend_given", "frontend_given"}
    assert attributes == {setting.name.lower() for setting in SCHEMA}


def test_every_given_setting_reaches_its_attribute(write_settings: WriteSettings, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    samples = {
        "app name": "shop",
        "ip address": "203.0.113.7",
        "host": "me@vps:22",
        "user": "runner",
        "public key file": "/k/id.pub",
        "docker source": "docker",
        "https url": "https://ca.test/d",
        "existing file": str(tmp_path / "ca.pem"),
        "registry": "r.test:5000",
        "registry user": "robot",
        "token": "token-of-{}",
        "image": "r.test/{}:9",
        "database name": "db_{}",
        "database user": "user_{}",
        "size": "777m",
        "seconds": "77",
        "releases": "17",
        "retention": "77d",
        "days": "78",
        "few": "7",
        "past days": "7",
        "copies": "8",
        "hours": "79",
        "remotes": "s3:https://s3.test/bucket/a sftp://u@store.test:23/b",
        "host keys": "ssh-ed25519 " + "A" * 40,
        "repository password": "repository-password-of-{}",
        "directory": str(tmp_path),
        "switch": "yes",
        "domains": "www2.site.test old.site.test",
        "networks": "192.0.2.0/24 2001:db8::/32",
        "rate": "71",
        "burst": "72",
        "connections": "73",
        "timeout": "74",
        "body size": "7m",
        "time of day": "03:30",
        "hsts": "week",
        "frame options": "SAMEORIGIN",
        "opener policy": "unsafe-none",
        "resource policy": "same-site",
        "embedder policy": "require-corp",
        "referrer policy": "no-referrer",
        "header": "of-{}",
    }
    given = dict(GOOD) | {"HTTP_PORT": "8081", "HTTPS_PORT": "8444", "MIGRATION_COMMAND": "/app/server -migrate"}
    for setting in SCHEMA:
        given[setting.name] = given.get(setting.name) or samples[setting.kind].format(setting.name.lower())
    settings = load(write_settings(given))
    for name, text in given.items():
        value = getattr(settings, name.lower())
        if isinstance(value, tuple):
            value = ", ".join(value) if name == "BACKUP_SFTP_HOST_KEYS" else shlex.join(value)
        value = "yes" if value is True else value
        assert (value.reveal() if isinstance(value, Secret) else str(value)) == text
        assert isinstance(value, Secret) is next(s.secret for s in SCHEMA if s.name == name)


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(write_text: WriteText) -> None:
    path = write_text("SITE_DOMAIN=nope\nREDIS_PASSWORD=short\nFOO_BAR=1\nAPP_NAME='x\n")
    found = problems(path)
    assert [problem.split(": ")[:2] for problem in found[-4:]] == [
        [":1", "SITE_DOMAIN"],
        [":2", "REDIS_PASSWORD"],
        [":3", "FOO_BAR"],
        [":4", "APP_NAME"],
    ]
    missing = ["GRAFANA_DOMAIN", "ACME_EMAIL", "BACKEND_IMAGE", "FRONTEND_IMAGE"]
    missing += ["POSTGRES_PASSWORD", "GRAFANA_ADMIN_PASSWORD"]
    assert [problem.split(": ")[1] for problem in found[:-4]] == missing


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"SITE_DOMAIN": None}, ": SITE_DOMAIN: is missing: Where visitors find the site"),
        ({"SITE_DOMAIN": ""}, ":1: SITE_DOMAIN: is empty: Where visitors find the site"),
        ({"SITE_ALIASES": "stats.site.test"}, ":9: SITE_ALIASES: must not repeat SITE_DOMAIN or GRAFANA_DOMAIN"),
        ({"GRAFANA_DOMAIN": "cv.site.test"}, ":2: GRAFANA_DOMAIN: must differ from SITE_DOMAIN"),
        ({"REGISTRY_USER": "me"}, ":9: REGISTRY_USER: is of no use without REGISTRY_PASSWORD"),
        ({"REGISTRY_PASSWORD": "pw"}, ":9: REGISTRY_PASSWORD: is of no use without REGISTRY_USER"),
        ({"REGISTRY_USER": "me", "REGISTRY_PASSWORD": "pw"}, ":9: REGISTRY_USER: needs REGISTRY; write docker.io"),
        ({"BACKUP_REMOTES": S3, "BACKUP_S3_ACCESS_KEY": "k"}, NEEDS + "BACKUP_PASSWORD and BACKUP_S3_SECRET_KEY"),
        ({"BACKUP_REMOTES": SFTP, "BACKUP_PASSWORD": LONG}, NEEDS + "BACKUP_SFTP_HOST_KEYS"),
        ({"BACKUP_REMOTES": f"{SFTP} {SFTP}"}, ":9: BACKUP_REMOTES: names a remote twice"),
        ({"BACKUP_REMOTES": "sftp://u:password@h/b"}, ":9: BACKUP_REMOTES: must be s3:"),
        ({"BACKUP_REMOTES": "/mnt/disk"}, ":9: BACKUP_REMOTES: must be s3:"),
        (
            {"BACKUP_PASSWORD": LONG, "BACKUP_RECOVERY_PASSWORD": LONG},
            ":10: BACKUP_RECOVERY_PASSWORD: must differ from BACKUP_PASSWORD",
        ),
        ({"BACKUP_PASSWORD": f" {LONG}"}, ":9: BACKUP_PASSWORD: must be one line without spaces around it"),
        ({"BACKUP_SFTP_HOST_KEYS": "SHA256:abc"}, ":9: BACKUP_SFTP_HOST_KEYS: must be host keys"),
        ({"TRUSTED_CA_FILE": "no.pem"}, ":9: TRUSTED_CA_FILE: names a file that does not exist"),
        ({"TRUSTED_CA_FILE": "~nobody-here/no.pem"}, ":9: TRUSTED_CA_FILE: names a file that does not exist"),
        ({"HTTP_PORT": "443"}, ":9: HTTP_PORT: must differ from HTTPS_PORT"),
        ({"HTTPS_PORT": "080"}, ":9: HTTPS_PORT: must differ from HTTP_PORT"),
        ({"HTTP_PORT": "9000", "HTTPS_PORT": "9000"}, ":10: HTTPS_PORT: must differ from HTTP_PORT"),
        ({"MIGRATION_COMMAND": "sh -c 'never closed"}, ":9: MIGRATION_COMMAND: has a quote that is not closed"),
        ({"BACKEND_ENV_PORT": "1"}, ":9: BACKEND_ENV_PORT: is refused: PORT is set by the toolkit"),
        ({"BACKEND_ENV_CLAUDE_API_KEY": "1"}, ":9: BACKEND_ENV_CLAUDE_API_KEY: is refused: CLAUDE_API_KEY is set by"),
        ({"FRONTEND_ENV_API_URL": "1"}, ":9: FRONTEND_ENV_API_URL: is refused: API_URL is set by the toolkit"),
        ({"BACKEND_ENV_KEY": "CHANGE_ME"}, ":9: BACKEND_ENV_KEY: still has the example's value"),
        ({"BACKEND_ENV_KEY": "x" * 100_001}, ":9: BACKEND_ENV_KEY: is too long: at most 100000 bytes"),
    ],
)
def test_one_problem_is_one_line(write_settings: WriteSettings, changes: dict[str, str | None], problem: str) -> None:
    found = problems(write_settings(changes))
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_a_password_that_does_not_parse_is_not_also_called_missing(write_settings: WriteSettings) -> None:
    path = write_settings(POSTGRES_PASSWORD=None)
    path.write_text(path.read_text() + 'POSTGRES_PASSWORD="never closed\n')
    assert len(problems(path)) == 1


def test_settings_that_a_stray_quote_swallows_are_not_also_called_missing(write_settings: WriteSettings) -> None:
    path = write_settings()
    path.write_text(path.read_text().replace("ACME_EMAIL='me@site.test'", "ACME_EMAIL='me@site.test"))
    found = problems(path)
    assert all("missing" not in problem for problem in found)
    assert found[0].startswith(":3: ACME_EMAIL: cannot be read")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", ": is empty"),
        ("\n# nothing\n", ": is empty"),
        (b"\xff\xfe", ": is not UTF-8 text, see line 1"),
        (b"#" * (1 << 21), ": is bigger than 1 MiB: not a settings file"),
    ],
)
def test_a_file_that_is_no_settings_file_is_one_problem(
    write_text: WriteText, content: str | bytes, problem: str
) -> None:
    assert problems(write_text(content)) == [problem]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_file_that_others_can_read_is_refused_with_the_line_to_type(write_settings: WriteSettings, mode: int) -> None:
    path = write_settings()
    path.chmod(mode)
    assert problems(path) == [f": can be read by other users (mode {mode:04o}): chmod 600 {path}"]


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / ".env")
    assert caught.value.status is ExitStatus.SETTINGS
    assert caught.value.one_line() == f"error: {tmp_path}/.env: does not exist. Next: fab secrets.init"


def test_the_file_is_named_as_short_as_possible(write_settings: WriteSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_settings(SITE_DOMAIN="nope")
    monkeypatch.chdir(path.parent)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert caught.value.problems[0].startswith(".env:1: SITE_DOMAIN: ")


def test_a_pristine_copy_of_the_example_is_refused(write_text: WriteText) -> None:
    example = (ROOT / ".env.production.example").read_text()
    names = {problem.split(": ")[1] for problem in problems(write_text(example))}
    assert names == set(GOOD)


def test_the_example_itself_is_refused_for_its_values_not_for_its_mode() -> None:
    with pytest.raises(SettingsError) as caught:
        load(ROOT / ".env.production.example")
    assert all("still has the example's value" in problem for problem in caught.value.problems)


def test_nothing_comes_from_the_environment(write_settings: WriteSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    settings = load(write_settings(BACKEND_ENV_X="${HOME} $SITE_DOMAIN $$"))
    assert settings.site_domain == "cv.site.test"
    assert settings.backend_given["X"].reveal() == "${HOME} $SITE_DOMAIN $$"


def test_a_relative_file_starts_at_the_project_of_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "fabfile").mkdir()
    (tmp_path / ".lab").mkdir()
    (tmp_path / ".lab" / "ca.pem").touch()
    path = tmp_path / ".lab" / "env"
    path.write_text("".join(f"{name}='{value}'\n" for name, value in GOOD.items()) + "TRUSTED_CA_FILE=.lab/ca.pem\n")
    path.chmod(0o600)
    assert load(path).trusted_ca_file == tmp_path / ".lab" / "ca.pem"
    assert project_root(path) == tmp_path


def test_without_a_project_around_it_a_relative_file_lies_beside_the_settings(write_settings: WriteSettings) -> None:
    path = write_settings(DEPLOY_PUBLIC_KEY_FILE="keys/a.pub")
    assert load(path).deploy_public_key_file == path.parent / "keys" / "a.pub"


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("DEPLOY_HOST=vps", "vps"),
        ("DEPLOY_HOST='me@vps:22'", "me@vps:22"),
        ("DEPLOY_HOST=", None),
        ("DEPLOY_HOST=-oProxyCommand=x", None),
        ("DEPLOY_HOST=vps.example.com", None),
        ("DEPLOY_HOST", None),
        ("", None),
    ],
)
def test_the_host_is_known_even_when_the_rest_is_in_disorder(
    write_text: WriteText, line: str, host: str | None
) -> None:
    assert deploy_host(write_text(f"nonsense\nAPP_NAME='\n\n{line}\n")) == (None if "'" in line else host)
    assert deploy_host(write_text(f"nonsense\nFOO=1\n{line}\nSITE_DOMAIN=\n")) == host


def test_the_host_of_a_file_that_is_not_there_is_not_known(tmp_path: Path) -> None:
    assert deploy_host(tmp_path / "none") is None


def test_importing_the_settings_loads_nothing_slow() -> None:
    code = "import sys, tasks.core.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert not {"requests", "yaml", "jinja2", "cryptography", "paramiko", "fabric", "dotenv"} & set(loaded.split())
