"""How backups are to be made and kept, as the settings say: part of each release, read by every command and timer."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from host import releases
from host.backup import BASE
from host.config import Config
from host.errors import Failure

_HOUR = 3600.0  # seconds


@dataclass(frozen=True)
class Keep:
    """How long backups of one kind are kept, and how many at least whatever their age."""

    days: int
    weeks: int
    months: int
    last: int


@dataclass(frozen=True)
class Policy:
    """The settings of backups: how long each kind is kept, where copies go, and with what PostgreSQL is entered.

    `remotes` are restic's URLs, `host_keys` the keys that SFTP servers may have ("ssh-ed25519 AAAA..."). With
    `point_in_time_days` above 0 PostgreSQL can be taken back to any moment of the last so many days. `volumes` are
    those whose files are backed up as they are. `assertions` are what has to be true of what a drill has restored.
    """

    keep: dict[str, Keep]
    undo_seconds: float
    secrets: Path
    database: str
    user: str
    remotes: tuple[str, ...] = ()
    host_keys: tuple[str, ...] = ()
    point_in_time_days: int = 0
    volumes: tuple[str, ...] = ()
    assertions: tuple[str, ...] = ()

    def login(self, service: str) -> Path:
        """The directory that has the password of a service, readable for root alone."""
        return self.secrets / service


def parse(raw: dict[str, Any], release: Path, database: str, user: str) -> Policy:
    """The Policy in the JSON of backup/policy.json. Raises KeyError, ValueError or TypeError when it is none."""
    weeks, months, last = int(raw["weeks"]), int(raw["months"]), int(raw["keep_last"])
    days = int(raw.get("point_in_time_days", 0))
    return Policy(
        keep={
            "postgres": Keep(int(raw["postgres_days"]), weeks, months, last),
            "redis": Keep(int(raw["redis_days"]), weeks, months, last),
            "config": Keep(int(raw["postgres_days"]), weeks, months, last),
            BASE: Keep(days + 1, 0, 0, 2),  # the way to the first moment begins at the base before it
        },
        undo_seconds=float(raw["undo_hours"]) * _HOUR,
        secrets=release / "secrets",
        database=database,
        user=user,
        remotes=tuple(str(url) for url in raw.get("remotes", ())),
        host_keys=tuple(str(key) for key in raw.get("host_keys", ())),
        point_in_time_days=days,
        volumes=tuple(str(name) for name in raw.get("volumes", ())),
    )


def assertions(text: str) -> tuple[str, ...]:
    """The questions in assertions.sql: one a line; what begins with -- is for people."""
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("--"))


def load(config: Config, release: str = "current") -> Policy:
    """The policy of a release. Raises Failure when none is deployed, or it was made before there was one."""
    found = releases.load(config, release)
    path = found.path / "backup" / "policy.json"
    settings = found.manifest.settings
    questions = path.with_name("assertions.sql")
    try:
        policy = parse(json.loads(path.read_bytes()), found.path, settings.postgres_db, settings.postgres_user)
        return replace(policy, assertions=assertions(questions.read_text("utf-8")) if questions.is_file() else ())
    except FileNotFoundError:
        raise Failure(
            f"release {found.id} was made before there were backups", hint="deploy once: fab deploy"
        ) from None
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise Failure(f"{path} cannot be used ({type(error).__name__}: {error})", hint="deploy: fab deploy") from error
