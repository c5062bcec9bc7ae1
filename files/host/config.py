"""Which application this program serves, and where everything of it lies."""

from __future__ import annotations

import json
import os
import pkgutil
from dataclasses import dataclass
from pathlib import Path

from host.errors import Failure


@dataclass(frozen=True)
class Config:
    """Paths and pace of one application on this host."""

    app: str
    root: Path
    run: Path
    units: Path
    program: Path
    letsencrypt: Path
    webroot: Path  # for challenges of the certificate authority: one for all applications of this host
    poll: float = 1.0  # seconds between two looks at containers or at a unit
    settle: float = 3.0  # seconds a container without healthcheck must stay up to count as started

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def current(self) -> Path:
        return self.root / "current"

    @property
    def live(self) -> Path:
        return self.root / "live"

    @property
    def staging(self) -> Path:
        return self.root / ".staging"

    @property
    def tls(self) -> Path:
        return self.root / "shared" / "tls"

    @property
    def upstreams(self) -> Path:
        return self.root / "shared" / "upstreams"

    @property
    def state(self) -> Path:
        return self.root / "shared" / "state"

    @property
    def events(self) -> Path:
        return self.state / "events"

    @property
    def maintenance(self) -> Path:
        """What nginx looks into: a file `on` there closes the site, the pages beside it are what visitors see then."""
        return self.root / "shared" / "maintenance"

    @property
    def lock(self) -> Path:
        return self.run / "lock"

    def prepare(self) -> None:
        """Create the directories every command counts on, each with its final mode."""
        for path, mode in (
            (self.root, 0o755),
            (self.releases, 0o700),
            (self.live, 0o755),
            (self.root / "shared", 0o755),
            (self.tls, 0o755),
            (self.webroot, 0o755),
            (self.upstreams, 0o755),
            (self.maintenance, 0o755),
            (self.root / "shared" / "backups", 0o700),
            (self.state, 0o700),
            (self.events, 0o700),
            (self.run, 0o700),
        ):
            if not path.is_dir():
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.chmod(mode)


def from_json(text: bytes) -> Config:
    """The Config of a config.json: `app` and `root`; the other paths follow unless given (tests give them)."""
    raw = json.loads(text)
    app = str(raw["app"])
    return Config(
        app=app,
        root=Path(raw.get("root", f"/opt/{app}")),
        run=Path(raw.get("run", f"/run/{app}")),
        units=Path(raw.get("units", "/etc/systemd/system")),
        program=Path(raw.get("program", f"/usr/local/bin/{app}")),
        letsencrypt=Path(raw.get("letsencrypt", "/etc/letsencrypt")),
        webroot=Path(raw.get("webroot", "/var/lib/acme-challenges")),
        poll=float(raw.get("poll", 1.0)),
        settle=float(raw.get("settle", 3.0)),
    )


def archive() -> Path:
    """The zipapp this code runs from."""
    return Path(__file__).parents[1]


def load() -> Config:
    """The Config inside the running zipapp. Raises Failure when this is not a complete one."""
    try:
        return from_json(pkgutil.get_data("host", "config.json") or b"")
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise Failure(
            f"{archive()} carries no usable config.json ({type(error).__name__})", hint="install it again: fab setup"
        ) from error


def child_environment() -> dict[str, str]:
    """What subprocesses see: nothing of the caller's but PATH, so that no variable leaks into the compose file."""
    return {
        "PATH": os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
    }
