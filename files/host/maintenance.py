"""Closing the site for visitors with a page that says why, and opening it again. Nothing is reloaded for it."""

from __future__ import annotations

import html
import json
import time
from pathlib import Path
from typing import Any

from host import durable
from host.config import Config
from host.errors import Failure, from_os_error

FLAG = "on"  # nginx looks for it at every request
_LONGEST = 2000  # characters of a message
_TITLE = "Back soon"
_MESSAGE = "The site is being worked on and will be back soon."
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<link rel="stylesheet" href="/_edge/style.css">
</head>
<body><main><h1>{title}</h1><p>{message}</p></main></body>
</html>
"""


def close(config: Config, message: str, by: str) -> dict[str, Any]:
    """Close the site with this message ("" for a general one); again: with another message. Returns the state.

    Raises Failure when the message is too long or nothing can be written; the site then stays as it is.
    """
    text = " ".join(message.split("\r")).strip() or _MESSAGE
    if len(text) > _LONGEST:
        raise Failure(f"the message has more than {_LONGEST} characters", hint="say it in fewer")
    page = _PAGE.format(title=_TITLE, message=html.escape(text))
    answer = json.dumps({"error": "maintenance", "message": text})
    config.prepare()
    folder = config.maintenance
    since = (state(config) or {}).get("since") or time.time()
    told = json.dumps({"since": since, "by": by, "message": text}) + "\n"
    try:
        durable.write(folder / "page.html", page.encode(), 0o644)
        durable.write(folder / "page.json", answer.encode() + b"\n", 0o644)
        durable.write(folder / FLAG, told.encode(), 0o644)  # last: the pages are there when nginx sees it
        durable.sync_directory(folder)
    except OSError as error:
        raise from_os_error(error, "closing the site") from error
    return {"since": since, "by": by, "message": text}


def open_again(config: Config) -> bool:
    """Open the site; False when it was open."""
    path: Path = config.maintenance / FLAG
    try:
        path.unlink()
        durable.sync_directory(config.maintenance)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise from_os_error(error, "opening the site") from error
    return True


def state(config: Config) -> dict[str, Any] | None:
    """{"since": unix, "by", "message"} while the site is closed, else None."""
    path = config.maintenance / FLAG
    if not path.exists():
        return None
    told = durable.read_json(path)  # somebody may have made the flag by hand
    return told if isinstance(told, dict) else {"since": path.stat().st_mtime, "by": "", "message": ""}
