"""The settings file: a new one with strong passwords, and what is wrong with the one there is."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tasks.core.errors import ExitStatus, UsageError
from tasks.core.settings import display_name
from tasks.core.settings.check import inspect
from tasks.core.settings.file import Problem
from tasks.core.settings.new import create
from tasks.core.settings.reference import EXAMPLE
from tasks.core.settings.schema import BY_NAME, SCHEMA
from tasks.core.target import Workplace, project_root
from tasks.core.task import Report


def init(path: str, env: str) -> Report:
    """Write a settings file from the example, with generated passwords.

    It is written at `path`, or for the environment `env`; both empty: the default one.
    """
    target = _settings_file(path, env)
    generated = create(project_root() / EXAMPLE, target)
    left = inspect(target)[1]
    shown = display_name(target)
    lines = [f"{shown} written, readable by you alone", f"generated: {', '.join(generated) or 'nothing'}"]
    if left:
        lines += ["left for you to fill in:", *(f"  {_to_fill_in(problem, shown)}" for problem in left)]
    if _may_be_committed(target):
        lines.append(f"warning: git does not ignore {shown}; add it to .gitignore before the next commit")
    lines.append(f"then: {_check_command(target)}")
    data = {"file": str(target), "generated": generated, "left": [problem.name for problem in left if problem.name]}
    return Report(data=data, text="\n".join(lines))


def check(path: str, env: str) -> Report:
    """Report every problem of the settings file at `path`, or of the environment `env`; empty: the default one."""
    file = _settings_file(path, env)
    entries, problems = inspect(file)
    shown = display_name(file)
    data = {
        "file": str(file),
        "ok": not problems,
        "problems": [{"line": p.line, "setting": p.name, "problem": p.text} for p in problems],
    }
    if problems:
        lines = [problem.at(shown) for problem in problems]
        if not file.exists():
            lines.append("next: fab secrets.init")
        return Report(data=data, text="\n".join(lines), status=ExitStatus.SETTINGS)
    absent = len(SCHEMA) - sum(name in BY_NAME for name in entries)
    others = f", {absent} more at their defaults" if absent else ""
    return Report(data=data, text=f"{shown}: {len(entries)} settings in order{others}")


def _settings_file(path: str, env: str) -> Path:
    if path and env:
        raise UsageError("--path and --env both name a file; give one of them")
    if path:
        return Path(path).expanduser()
    name = env or os.environ.get("INFRA_ENV", "")
    if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UsageError(
            "the name of an environment is letters, digits, - and _", hint="--env staging reads .env.staging"
        )
    return Workplace(project_root(), environment=name).settings_file


def _to_fill_in(problem: Problem, file: str) -> str:
    setting = BY_NAME.get(problem.name or "")
    return Problem(problem.line, problem.name, setting.doc if setting else problem.text).at(file)


def _check_command(target: Path) -> str:
    default = target == _settings_file("", "")
    return "fab secrets.check" if default else f"fab secrets.check --path {display_name(target)}"


def _may_be_committed(target: Path) -> bool:
    """Whether the file lies in a Git repository that does not ignore it."""
    try:
        command = ["git", "check-ignore", "-q", "--", target.name]
        return subprocess.run(command, cwd=target.absolute().parent, capture_output=True, check=False).returncode == 1
    except OSError:
        return False  # no Git, no commit
