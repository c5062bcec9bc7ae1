"""What the end-to-end tests hold in their hands: a checkout of their own, `fab`, and a way to look into the host."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FAB = ROOT / ".venv" / "bin" / "fab"
HOST = "lab-vps1"  # the container behind `-H lab`
APP = "maicivy"
SITE = "maicivy.lab.test"
RELEASES = f"/opt/{APP}/releases"

# every character that a shell, a dotenv file, Compose, a URL, SQL or JSON could take for its own
AWKWARD = "a$b ${HOME} $$ #c 'd' \"e\" \\f \\n =%&@:/?+ é 日本 `id` !x {{y}} ;z|"


@dataclass
class Project:
    """A checkout of its own, so that a test can edit files/ and settings like a user, and nobody's are touched."""

    root: Path
    environment: str = ""  # of `--env`; "" is the one without

    @classmethod
    def make(cls, root: Path) -> Project:
        """Copy the working tree (what git knows or would) and the lab's access files."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout.decode()
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        (root / ".lab").mkdir()
        for path in (ROOT / ".lab").iterdir():
            if path.is_file():
                shutil.copy2(path, root / ".lab" / path.name)
        return cls(root)

    def fab(
        self, *words: str, expect: int | None = 0, timeout: float = 600, env: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        """Run fab as a user would; fail the test when it does not end with exit code `expect` (None: any)."""
        done = subprocess.run(
            [str(FAB), *words],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **env},
        )
        if expect is not None and done.returncode != expect:
            raise AssertionError(
                f"fab {' '.join(words)} ended with {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start fab and leave it running."""
        return subprocess.Popen(
            [str(FAB), *words],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def json(self, *words: str, expect: int | None = 0) -> Any:
        """Run fab with --json and read the document."""
        return json.loads(self.fab(*words, "--json", expect=expect).stdout)

    @property
    def env_file(self) -> Path:
        """The settings of `-H lab` in this checkout."""
        return self.root / ".lab" / (f"env.{self.environment}" if self.environment else "env")

    def saved(self) -> dict[Path, bytes]:
        """The settings and files/ as they are."""
        return {
            path: path.read_bytes() for path in [self.env_file, *(self.root / "files").rglob("*")] if path.is_file()
        }

    def restore(self, saved: Mapping[Path, bytes]) -> bool:
        """Put settings and files/ back as `saved`; whether anything was another."""
        now = self.saved()
        for path in now.keys() - saved.keys():
            path.unlink()
        for path, content in saved.items():
            if now.get(path) != content:
                path.write_bytes(content)
        return now != saved

    def version(self, backend: str, frontend: str = "") -> None:
        """Settings for this version of the application (the frontend has the same unless it is named)."""
        registry = "lab-registry:5001/maicivy"
        self.set(
            BACKEND_IMAGE=f"{registry}/backend:{backend}", FRONTEND_IMAGE=f"{registry}/frontend:{frontend or backend}"
        )

    def set(self, **values: str) -> None:
        """Change settings, quoted so that any value is kept."""
        text = self.env_file.read_text()
        for name, value in values.items():
            text = re.sub(rf"^{name}=('(?:[^'\\]|\\.)*'|.*)\n", "", text, flags=re.MULTILINE)
            quoted = value.replace("\\", "\\\\").replace("'", "\\'")
            text += f"{name}='{quoted}'\n"
        self.env_file.write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text in a file of the checkout."""
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new))


def inside(*words: str, host: str = HOST, check: bool = True, stdin: str | None = None) -> str:
    """Run a command in the host, past SSH, as root; return what it printed."""
    done = subprocess.run(
        ["docker", "exec", *(["-i"] if stdin is not None else []), host, *words],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)} in {host} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def container_of(service: str, app: str = APP, host: str = HOST) -> str:
    """The name of the service's running container; of several the newest. A switched service has another each time."""
    labels = [f"label=com.docker.compose.{key}={value}" for key, value in (("project", app), ("service", service))]
    flags = [word for label in [*labels, "label=com.docker.compose.oneoff=False"] for word in ("--filter", label)]
    names = inside("docker", "ps", "--format", "{{.Names}}", *flags, host=host).split()
    assert names, f"no container of {service} runs"
    return max(names, key=lambda name: int(name.rsplit("-", 1)[-1]))


def in_container(service: str, *words: str, stdin: str | None = None, app: str = APP, host: str = HOST) -> str:
    """Run a command in one of the application's containers."""
    flag = ["-i"] if stdin is not None else []
    return inside("docker", "exec", *flag, container_of(service, app, host), *words, host=host, stdin=stdin)


@dataclass(frozen=True)
class Container:
    """One container of the application, running or not, those that run one command among them."""

    service: str
    name: str
    id: str
    state: str
    started: str
    image: str
    oneoff: bool


def all_containers(app: str = APP, host: str = HOST) -> list[Container]:
    """Every container of the application, by name."""
    fields = (
        '{{index .Config.Labels "com.docker.compose.service"}} {{.Name}} {{.Id}} {{.State.Status}} '
        '{{.State.StartedAt}} {{.Image}} {{index .Config.Labels "com.docker.compose.oneoff"}}'
    )
    listed = inside(
        "sh",
        "-c",
        f"docker ps -aq --filter label=com.docker.compose.project={app} | xargs -r docker inspect --format '{fields}'",
        host=host,
    )
    rows = (line.split() for line in listed.splitlines())
    found = [Container(row[0], row[1].lstrip("/"), *row[2:6], oneoff=row[6:] == ["True"]) for row in rows]
    return sorted(found, key=lambda item: item.name)


def containers(app: str = APP, host: str = HOST) -> dict[str, tuple[str, str, str]]:
    """Id, start time and name of the container of every service.

    A restart changes the second, a recreation the first two, a switch all three.
    """
    return {c.service: (c.id, c.started, c.name) for c in all_containers(app, host) if not c.oneoff}


def touched(before: Mapping[str, tuple[str, str, str]]) -> dict[str, str]:
    """What happened to containers since `before`, by service.

    Switched (another one, made beside the old), recreated (in its place), restarted, created or removed.
    """
    after = containers()
    changes = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            changes[name] = "created" if old is None else "removed"
        elif old[0] != new[0]:
            changes[name] = "recreated" if old[2] == new[2] else "switched"
        elif old[1] != new[1]:
            changes[name] = "restarted"
    return changes


def snapshot() -> str:
    """Every file the toolkit owns on the host, with its size, mode, owner, times and link target."""
    return inside(
        "sh",
        "-c",
        f"find /opt/{APP} /etc/systemd/system /usr/local/bin /etc/docker /etc/ufw /etc/sudoers.d /etc/letsencrypt/live "
        "-printf '%p %s %m %U:%G %T@ %l\\n' | sort",
    )


def current(app: str = APP, host: str = HOST) -> str:
    """The release that `current` points to."""
    return inside("readlink", f"/opt/{app}/current", host=host).strip().rsplit("/", 1)[-1]


def status(app: str = APP, host: str = HOST) -> dict[str, Any]:
    """What the host program says about itself."""
    told: dict[str, Any] = json.loads(inside(f"/usr/local/bin/{app}", "status", host=host))
    return told


def busy(app: str = APP, host: str = HOST) -> dict[str, Any] | None:
    """Who holds the lock of the host."""
    holder: dict[str, Any] | None = status(app, host)["busy"]
    return holder


def deep_health(app: str = APP, host: str = HOST) -> dict[str, Any]:
    """The application's deep health as the host asks it: {"status", "body"}."""
    answer: dict[str, Any] | None = status(app, host)["deep_health"]
    return answer or {"status": 0, "body": "nobody to ask"}


def manifest(release: str, app: str = APP, host: str = HOST) -> dict[str, Any]:
    """The manifest of a release on the host."""
    read: dict[str, Any] = json.loads(inside("cat", f"/opt/{app}/releases/{release}/manifest.json", host=host))
    return read


def audit(app: str = APP, host: str = HOST) -> list[dict[str, Any]]:
    """The audit of the host, oldest first."""
    entries: list[dict[str, Any]] = json.loads(inside(f"/usr/local/bin/{app}", "audit", "--lines", "500", host=host))[
        "entries"
    ]
    return entries


def sql(statement: str, app: str = APP, host: str = HOST) -> str:
    """What PostgreSQL answers, as bare text."""
    words = ["psql", "-U", "maicivy", "-d", "maicivy", "-v", "ON_ERROR_STOP=1", "-Atc", statement]
    return in_container("postgres", *words, app=app, host=host).strip()


def visit(url: str, number: int = 1) -> Any:
    """Fetch a URL from host `number`, as a visitor does: an `Answer`."""
    from tasks.core.visit import Visitor
    from tests.lab.names import address

    return Visitor(address(number), ROOT / ".lab/ca.pem").get(url)


def images(*, host: str = HOST) -> dict[str, list[str]]:
    """The images on the host: {id: [references, by tag and by digest]}."""
    script = "docker image ls -q --no-trunc | sort -u | xargs -r docker image inspect --format '{{json .}}'"
    found = (json.loads(line) for line in inside("sh", "-c", script, host=host).splitlines())
    return {item["Id"]: [*(item["RepoTags"] or []), *(item["RepoDigests"] or [])] for item in found}


def accept(*rules: str) -> list[str]:
    """The flags that accept these guards."""
    return [word for rule in rules for word in ("--accept", rule)]


def wait_until(what: str, probe: Any, seconds: float = 60, every: float = 0.2) -> Any:
    """Ask until the answer is truthy, and return it; fail after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = probe()
        if answer:
            return answer
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds:g} s")


@dataclass
class Watch:
    """Looks at the arguments of every process on this machine, the host's and its containers' among them.

    Attributes:
        values: what must not be seen.
        seen: command lines in which one was.
        sweeps: how often all were looked at; a watch that never looked proves nothing.
    """

    values: Iterable[str]
    seen: set[str] = field(default_factory=set)
    sweeps: int = 0

    def __enter__(self) -> Watch:
        self._wanted = [value.encode() for value in self.values]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.01):
            for entry in os.scandir("/proc"):
                if entry.name.isdigit():
                    try:
                        line = Path(entry.path, "cmdline").read_bytes()
                    except OSError:
                        continue
                    if any(value in line for value in self._wanted):
                        self.seen.add(line.decode("utf-8", "replace"))
            self.sweeps += 1
