"""fab secrets.init and fab secrets.check."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from invoke.context import Context
from settings_samples import GOOD, WriteSettings

from tasks import secrets
from tasks.core.errors import ExitStatus, Refused, UsageError
from tasks.core.project import ROOT
from tasks.core.settings.file import parse
from tasks.core.settings.reference import EXAMPLE
from tasks.core.settings.schema import SCHEMA
from tasks.core.task import Report

CONTEXT = Context()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, with nothing in it but the example, and the current directory somewhere below."""
    folder = tmp_path / "project"
    (folder / "fabfile").mkdir(parents=True)
    shutil.copy(ROOT / EXAMPLE, folder)
    monkeypatch.setattr("tasks.operations.secrets.project_root", lambda: folder)
    monkeypatch.chdir(folder)
    return folder


def init(**flags: str) -> Report:
    report = secrets.init(CONTEXT, **flags)
    assert isinstance(report, Report)
    return report


def check(**flags: str) -> Report:
    report = secrets.check(CONTEXT, **flags)
    assert isinstance(report, Report)
    return report


def values_in(path: Path) -> list[str]:
    return [entry.value for name, entry in parse(path.read_text()).entries.items() if name.endswith("PASSWORD")]


def test_init_writes_the_settings_of_an_environment(project: Path) -> None:
    assert init(env="staging").text.endswith("then: fab secrets.check --path .env.staging")
    assert (project / ".env.staging").exists()
    assert not (project / ".env").exists()
    with pytest.raises(UsageError, match="--path and --env"):
        init(env="staging", path="other.env")


def test_init_says_what_was_generated_and_what_is_left_but_no_value(project: Path) -> None:
    report = init()
    assert report.status is ExitStatus.OK
    assert report.text.startswith(".env written, readable by you alone\ngenerated: POSTGRES_PASSWORD, REDIS_PASSWORD")
    assert "  .env:19: SITE_DOMAIN: Where visitors find the site." in report.text
    assert report.text.endswith("then: fab secrets.check")
    for value in values_in(project / ".env"):
        assert not value or value not in report.text + json.dumps(report.data)


def test_init_then_filling_in_then_check_is_the_whole_way(project: Path) -> None:
    init()
    assert check().status is ExitStatus.SETTINGS
    text = (project / ".env").read_text()
    for name in ("SITE_DOMAIN", "GRAFANA_DOMAIN", "ACME_EMAIL", "BACKEND_IMAGE", "FRONTEND_IMAGE"):
        placeholder = next(line for line in text.splitlines() if line.startswith(f"{name}="))
        text = text.replace(placeholder, f"{name}={GOOD[name]}")
    (project / ".env").write_text(text)
    report = check()
    assert report.status is ExitStatus.OK
    assert report.text == f".env: {len(SCHEMA)} settings in order"


def test_init_refuses_a_second_time(project: Path) -> None:
    init()
    before = (project / ".env").read_bytes()
    with pytest.raises(Refused):
        init()
    assert (project / ".env").read_bytes() == before


def test_init_writes_another_file_and_says_how_to_check_that_one(project: Path) -> None:
    report = init(path="other.env")
    assert (project / "other.env").exists()
    assert report.text.endswith("then: fab secrets.check --path other.env")


def test_init_follows_infra_env(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRA_ENV", "staging")
    report = init()
    assert (project / ".env.staging").exists()
    assert report.text.endswith("then: fab secrets.check")


def test_init_warns_when_git_would_take_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    (project / ".gitignore").write_text("/.env\n")
    assert "warning" not in init().text
    assert "warning: git does not ignore prod.env" in init(path="prod.env").text


def test_check_reports_every_problem_with_its_line_and_exits_with_the_code_of_settings(
    project: Path, write_settings: WriteSettings
) -> None:
    path = write_settings(SITE_DOMAIN="nope", REDIS_PASSWORD="hunter2")
    report = check(path=str(path))
    assert report.status is ExitStatus.SETTINGS
    assert [line.removeprefix(str(path))[:20] for line in report.text.splitlines()] == [
        ":1: SITE_DOMAIN: mus",
        ":7: REDIS_PASSWORD: ",
    ]
    assert report.data == {
        "file": str(path),
        "ok": False,
        "problems": [
            {"line": 1, "setting": "SITE_DOMAIN", "problem": report.text.splitlines()[0].partition("SITE_DOMAIN: ")[2]},
            {"line": 7, "setting": "REDIS_PASSWORD", "problem": "is too weak: at least 12 characters"},
        ],
    }
    assert "hunter2" not in report.text + json.dumps(report.data)


def test_check_in_order_is_ok_in_json_too(project: Path, write_settings: WriteSettings) -> None:
    path = write_settings()
    report = check(path=str(path))
    assert report.data == {"file": str(path), "ok": True, "problems": []}
    assert report.text == f"{path}: {len(GOOD)} settings in order, {len(SCHEMA) - len(GOOD)} more at their defaults"


def test_check_reads_the_environment_that_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRA_ENV", "other")
    assert check(env="staging").text == ".env.staging: does not exist\nnext: fab secrets.init"
    assert check().text == ".env.other: does not exist\nnext: fab secrets.init"


@pytest.mark.parametrize("name", ["../up", "production.example", "a b", ".", "-x"])
def test_a_name_that_is_no_environment_is_a_usage_error(project: Path, name: str) -> None:
    with pytest.raises(UsageError, match="letters, digits"):
        check(env=name)


def test_two_files_at_once_are_a_usage_error(project: Path) -> None:
    with pytest.raises(UsageError, match="one of them"):
        check(path="a", env="b")


@pytest.mark.parametrize("task", [secrets.init, secrets.check])
def test_every_flag_has_a_help_text(task: object) -> None:
    assert task.__doc__
    flags = set(secrets.check.get_arguments() if task is secrets.check else secrets.init.get_arguments())
    assert all(argument.help for argument in flags)
