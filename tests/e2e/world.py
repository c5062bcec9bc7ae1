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
        return self.root / ".lab" / "env"

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


def in_container(service: str, *words: str, stdin: str | None = None) -> str:
    """Run a command in one of the application's containers."""
    flag = ["-i"] if stdin is not None else []
    return inside("docker", "exec", *flag, f"{APP}-{service}-1", *words, stdin=stdin)


def containers() -> dict[str, tuple[str, str]]:
    """Id and start time of every container of the application: a restart changes one, a recreation both."""
    listed = inside(
        "sh",
        "-c",
        f"docker ps -aq --filter label=com.docker.compose.project={APP} | xargs -r docker inspect --format "
        "'{{index .Config.Labels \"com.docker.compose.service\"}} {{.Id}} {{.State.StartedAt}}'",
    )
    return {line.split()[0]: (line.split()[1], line.split()[2]) for line in listed.splitlines()}


def touched(before: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """What happened to containers since `before`: recreated, restarted, created or removed, by service."""
    after = containers()
    changes = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            changes[name] = "created" if old is None else "removed"
        elif old[0] != new[0]:
            changes[name] = "recreated"
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


def current() -> str:
    """The release that `current` points to."""
    return inside("readlink", f"/opt/{APP}/current").strip().rsplit("/", 1)[-1]


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
