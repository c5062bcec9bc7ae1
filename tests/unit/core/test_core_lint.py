"""Every task of the command line keeps the house rules."""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import invoke
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
FABS_OWN = {"host", "hosts", "help", "search_root", "ssh_config", "identity"}
ALLOWED = {("lab.up", "hosts")}


def _tasks() -> Iterator[tuple[str, "invoke.Task[object]"]]:
    collection = importlib.import_module("fabfile").ns
    for name in collection.task_names:
        yield name, collection[name]


TASKS = dict(_tasks())


def test_the_command_line_has_tasks() -> None:
    assert "trust" in TASKS


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_it_does(name: str) -> None:
    first = (inspect.getdoc(TASKS[name].body) or "").splitlines()[0:1]
    assert first, "no docstring"
    assert first[0].endswith("."), "the first line is the listing: a whole sentence"


@pytest.mark.parametrize("name", TASKS)
def test_every_flag_has_help_and_every_help_a_flag(name: str) -> None:
    flags = {argument.attr_name or argument.name for argument in TASKS[name].get_arguments()}
    described = {argument.attr_name or argument.name for argument in TASKS[name].get_arguments() if argument.help}
    assert flags - described == set()


@pytest.mark.parametrize("name", TASKS)
def test_no_flag_shadows_one_of_fabs_own(name: str) -> None:
    flags = {argument.attr_name or argument.name for argument in TASKS[name].get_arguments()}
    assert {flag for flag in flags & FABS_OWN if (name, flag) not in ALLOWED} == set()
    assert all(len(spelling) > 1 for argument in TASKS[name].get_arguments() for spelling in argument.names)


def test_listing_the_tasks_imports_nothing_heavy() -> None:
    program = (
        "import sys, fabric.main; before = set(sys.modules); import fabfile; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert {"requests", "jinja2", "yaml", "cryptography", "dotenv"} & set(done.stdout.split()) == set()
