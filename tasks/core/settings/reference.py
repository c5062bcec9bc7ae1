"""The example file and the reference page, written from the schema: `python -m tasks.core.settings.reference`."""

from __future__ import annotations

import textwrap
from pathlib import Path

from tasks.core.settings.kinds import KINDS
from tasks.core.settings.schema import BACKEND_PREFIX, FRONTEND_PREFIX, PLACEHOLDER, SECTIONS, Setting

EXAMPLE = ".env.production.example"
REFERENCE = "docs/reference/settings.md"
WIDTH = 100

_HEAD = f"""\
Settings of one server. `fab secrets.init` copies this file to .env, readable by you alone, with strong passwords in \
place of {PLACEHOLDER}; `fab secrets.check` says what is left to do. Never commit the copy.

One NAME=value per line. Quote a value that holds # or spaces: between single quotes everything stands for itself \
but \\' and \\\\ (a quote and a backslash); between double quotes \\n, \\r and \\t work too. $ is an ordinary \
character everywhere: nothing is interpolated. Values reach the containers byte for byte.
"""
_WRITTEN = "Written by `python -m tasks.core.settings.reference`: change the schema instead."
_VARIABLES = (
    f"{BACKEND_PREFIX}NAME=value gives NAME to the backend's container, {FRONTEND_PREFIX}NAME=value to the frontend's. "
    "Any number of them; their values are treated as secrets."
)
_DERIVED = """\
## What the containers get

| container | variables |
|---|---|
| backend | `PORT`, `DATABASE_URL`, `REDIS_URL`, `SITE_URL`, `GRAFANA_URL`, `CLAUDE_API_KEY`, `OPENAI_API_KEY` |
| frontend | `PORT`, `HOSTNAME`, `API_URL`, `SITE_URL`, `GRAFANA_URL` |

The passwords in `DATABASE_URL` and `REDIS_URL` are percent-encoded. An API key that is empty is not set at all.
"""


def example() -> str:
    """Return the content of .env.production.example, which as it is `load` refuses.

    What a value must look like is said at the first setting of its kind in a section.
    """
    parts = [_comment(_HEAD)]
    for title, settings in SECTIONS:
        parts.append(f"# --- {title} ".ljust(WIDTH, "-"))
        kinds = [setting.kind for setting in settings]
        for i, setting in enumerate(settings):
            text = setting.doc if setting.default and setting.kind in kinds[:i] else _explained(setting)
            parts.append(f"{_comment(text)}\n{setting.name}={_example_value(setting)}")
    parts.append("# --- Variables of your own ".ljust(WIDTH, "-"))
    parts.append(f"{_comment(_VARIABLES)}\n#{BACKEND_PREFIX}LOG_LEVEL=info")
    return "\n\n".join(parts) + "\n"


def reference() -> str:
    """Return the content of docs/reference/settings.md."""
    lines = ["# Settings", "", f"<!-- {_WRITTEN} -->", ""]
    lines += [_code_free(paragraph) + "\n" for paragraph in _HEAD.strip().split("\n\n")]
    for title, settings in SECTIONS:
        lines += [f"## {title}", "", "| setting | value | default | what for |", "|---|---|---|---|"]
        lines += [_row(setting) for setting in settings] + [""]
    return "\n".join([*lines, "## Variables of your own", "", _code_free(_VARIABLES), "", _DERIVED])


def write(root: Path) -> None:
    """Write both files below `root`."""
    for name, text in ((EXAMPLE, example()), (REFERENCE, reference())):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _example_value(setting: Setting) -> str:
    return setting.example or setting.default or ""


def _explained(setting: Setting) -> str:
    return f"{setting.doc} {'Required' if setting.required else 'Optional'}: {KINDS[setting.kind].says}."


def _comment(text: str) -> str:
    paragraphs = (textwrap.wrap(part, WIDTH - 2, break_on_hyphens=False) for part in text.strip().split("\n\n"))
    return "\n#\n".join("\n".join(f"# {line}" for line in lines) for lines in paragraphs)


def _row(setting: Setting) -> str:
    default = "required" if setting.required else f"`{setting.default}`" if setting.default else ""
    value = KINDS[setting.kind].says + (" (secret)" if setting.secret else "")
    return f"| `{setting.name}` | {_code_free(value)} | {default} | {_code_free(setting.doc)} |"


def _code_free(text: str) -> str:
    """Escape what Markdown would take for markup."""
    for character in "\\<*_|$":
        text = text.replace(character, f"\\{character}")
    return text


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[3])
