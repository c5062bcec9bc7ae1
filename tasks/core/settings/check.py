"""From the text of a settings file to checked values, or to everything that is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path

from tasks.core.settings.file import Entry, Parsed, Problem, UnreadableFile, given_variable, parse, read
from tasks.core.settings.kinds import KINDS, LONGEST, words
from tasks.core.settings.schema import BACKEND_PREFIX, BY_NAME, FRONTEND_PREFIX, SCHEMA, Setting
from tasks.model.dotenv import MAX_VALUE_BYTES

_MARKER = re.compile(
    r"\W*(?:change[-_ ]?(?:me|this|it)|replace[-_ ]?(?:me|this)|your[-_ ]|placeholder\b|todo\b|x{3,}\W*\Z)"
    r"|<[^<>]*>\Z",
    re.IGNORECASE,
)
_EXAMPLE_NAME = re.compile(r"(?:^|[@./])example(?:\.(?:com|org|net))?(?:[:/]|\Z)", re.IGNORECASE)
# What the toolkit itself gives the containers: a second value for one of these would be a coin toss.
_OURS = {
    BACKEND_PREFIX: (
        "DATABASE_URL",
        "REDIS_URL",
        "PORT",
        "SITE_URL",
        "GRAFANA_URL",
        "CLAUDE_API_KEY",
        "OPENAI_API_KEY",
    ),
    FRONTEND_PREFIX: ("API_URL", "PORT", "HOSTNAME", "SITE_URL", "GRAFANA_URL"),
}


def inspect(path: Path) -> tuple[dict[str, Entry], list[Problem]]:
    """Read and check a settings file.

    Args:
        path: the file.
    Returns:
        The assignments by name (defaults are not filled in), and every problem in the order of the file, those of the
        whole file first. Without problems the values are safe to convert.
    """
    try:
        text, mode = read(path)
    except UnreadableFile as error:
        return {}, [Problem(None, None, str(error))]
    parsed = parse(text)
    if not parsed.entries and not parsed.problems:
        return {}, [Problem(None, None, "is empty")]
    problems = [*parsed.problems, *_values(parsed, project_root(path)), *_missing(parsed), *_together(parsed)]
    if mode & 0o077 and path.suffix != ".example":
        problems.append(Problem(None, None, f"can be read by other users (mode {mode:04o}): chmod 600 {path}"))
    return parsed.entries, sorted(problems, key=lambda problem: problem.line or 0)


def project_root(path: Path) -> Path:
    """Return the directory relative paths start at: the nearest one above the settings file that holds `fabfile`."""
    here = path.absolute().parent
    return next((folder for folder in (here, *here.parents) if (folder / "fabfile").exists()), here)


def file_of(value: str, root: Path) -> Path:
    """Return the path a setting names: `~` is the user's home, a relative path starts at `root`."""
    return root / Path(value).expanduser()


def value_problem(setting: Setting, value: str) -> str | None:
    """Return what is wrong with one value, without repeating it; None when it is fine. An empty one is only missing."""
    if not value:
        return f"is empty: {setting.doc}" if setting.required else None
    if _MARKER.match(value) or (not setting.secret and _EXAMPLE_NAME.search(value)):
        return "still has the example's value"
    return "is too long" if len(value) > LONGEST else KINDS[setting.kind].problem(value)


def _values(parsed: Parsed, root: Path) -> list[Problem]:
    found: list[Problem] = []
    for name, entry in parsed.entries.items():
        setting = BY_NAME.get(name)
        text = value_problem(setting, entry.value) if setting else _variable_problem(name, entry.value)
        if not text and entry.value and setting and setting.kind == "existing file" and not _is_file(entry.value, root):
            text = "names a file that does not exist"
        if text:
            found.append(Problem(entry.line, name, text))
    return found


def _is_file(value: str, root: Path) -> bool:
    try:
        return file_of(value, root).is_file()
    except (OSError, RuntimeError):  # RuntimeError: ~nobody-of-that-name
        return False


def _variable_problem(name: str, value: str) -> str | None:
    prefix, variable = given_variable(name) or ("", "")
    if variable in _OURS.get(prefix, ()):
        own = f"; use {variable}" if variable in BY_NAME else ""
        return f"is refused: {variable} is set by the toolkit{own}"
    if len(value.encode()) > MAX_VALUE_BYTES:
        return f"is too long: at most {MAX_VALUE_BYTES} bytes"
    return "still has the example's value" if re.match(r"\W*change[-_ ]?me\b", value, re.IGNORECASE) else None


def _missing(parsed: Parsed) -> list[Problem]:
    known = parsed.entries.keys() | parsed.damaged | {problem.name for problem in parsed.problems}
    return [Problem(None, s.name, f"is missing: {s.doc}") for s in SCHEMA if s.required and s.name not in known]


def _together(parsed: Parsed) -> list[Problem]:
    """What no single setting shows."""

    def line(name: str) -> int | None:
        return parsed.entries[name].line if given(name) else None

    def given(name: str) -> bool:
        return name in parsed.entries and bool(parsed.entries[name].value)

    found: list[Problem] = []
    if given("SITE_DOMAIN") and given("GRAFANA_DOMAIN") and _same(parsed, "SITE_DOMAIN", "GRAFANA_DOMAIN"):
        found.append(Problem(line("GRAFANA_DOMAIN"), "GRAFANA_DOMAIN", "must differ from SITE_DOMAIN"))
    if given("SITE_ALIASES"):
        taken = {parsed.entries[name].value for name in ("SITE_DOMAIN", "GRAFANA_DOMAIN") if given(name)}
        if taken & set(words(parsed.entries["SITE_ALIASES"].value)):
            text = "must not repeat SITE_DOMAIN or GRAFANA_DOMAIN"
            found.append(Problem(line("SITE_ALIASES"), "SITE_ALIASES", text))
    if _effective(parsed, "HTTP_PORT") == _effective(parsed, "HTTPS_PORT"):
        name = "HTTPS_PORT" if given("HTTPS_PORT") else "HTTP_PORT"
        other = "HTTP_PORT" if name == "HTTPS_PORT" else "HTTPS_PORT"
        found.append(Problem(line(name), name, f"must differ from {other}"))
    if given("REGISTRY_USER") != given("REGISTRY_PASSWORD"):
        there, absent = sorted(("REGISTRY_USER", "REGISTRY_PASSWORD"), key=given, reverse=True)
        if absent not in parsed.damaged:
            found.append(Problem(line(there), there, f"is of no use without {absent}"))
    elif given("REGISTRY_USER") and not given("REGISTRY"):
        found.append(Problem(line("REGISTRY_USER"), "REGISTRY_USER", "needs REGISTRY; write docker.io for Docker Hub"))
    if given("BACKUP_REMOTES") and KINDS["remotes"].problem(remotes := parsed.entries["BACKUP_REMOTES"].value) is None:
        missing = [name for name in _needed_by(words(remotes)) if not given(name) and name not in parsed.damaged]
        if missing:
            found.append(Problem(line("BACKUP_REMOTES"), "BACKUP_REMOTES", f"needs {' and '.join(missing)}"))
    both = given("BACKUP_PASSWORD") and given("BACKUP_RECOVERY_PASSWORD")
    if both and _same(parsed, "BACKUP_PASSWORD", "BACKUP_RECOVERY_PASSWORD"):
        text = "must differ from BACKUP_PASSWORD, which the server has"
        found.append(Problem(line("BACKUP_RECOVERY_PASSWORD"), "BACKUP_RECOVERY_PASSWORD", text))
    return found


def _needed_by(remotes: list[str]) -> list[str]:
    """What these remotes cannot be used without."""
    names = ["BACKUP_PASSWORD"]
    if any(url.startswith("s3:") for url in remotes):
        names += ["BACKUP_S3_ACCESS_KEY", "BACKUP_S3_SECRET_KEY"]
    if any(url.startswith("sftp:") for url in remotes):
        names.append("BACKUP_SFTP_HOST_KEYS")
    return names


def _effective(parsed: Parsed, name: str) -> str | None:
    """The value or the default, numbers without leading zeros."""
    entry = parsed.entries.get(name)
    return ((entry.value if entry else "") or BY_NAME[name].default or "").lstrip("0")


def _same(parsed: Parsed, one: str, other: str) -> bool:
    return parsed.entries[one].value == parsed.entries[other].value
