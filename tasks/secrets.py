"""`fab secrets.init` and `fab secrets.check`."""

from __future__ import annotations

from invoke.context import Context

from tasks.core.task import Report, local_task


@local_task(help={"path": "the file to write; default .env", "env": "write .env.NAME instead; default INFRA_ENV"})
def init(_c: Context, path: str = "", env: str = "") -> Report:
    """Write .env from .env.production.example, with strong generated passwords.

    The file is readable by you alone and never written over another one. Says which passwords were generated and what
    is left for you to fill in; values are not shown.
    """
    from tasks.operations import secrets as operation

    return operation.init(path, env)


@local_task(
    help={
        "path": "the file to check; default .env",
        "env": "check .env.NAME instead; default INFRA_ENV",
        "json": "one JSON document",
    }
)
def check(_c: Context, path: str = "", env: str = "", json: bool = False) -> Report:
    """Check the settings file: every problem at once, with its line.

    Exit code 10 when there is one. Values are never shown and nothing is contacted.
    """
    from tasks.operations import secrets as operation

    return operation.check(path, env)
