"""Fetching a backup and sending a dump, against plain OpenSSH with the same bytes."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from tasks.core import settings
from tasks.core.output import Console, Output
from tasks.core.session import Session
from tasks.core.target import Workplace, resolve
from tasks.operations import restore
from tests.bench.compared import Comparison
from tests.bench.ground import BACKUPS, DATABASE, USER, Ground
from tests.lab import names

PLAIN = ("ssh", "-F", str(names.STATE / "ssh_config"))


def download_dump(ground: Ground, to: Path) -> None:
    """Write a plain dump of the database into a file here."""
    to.parent.mkdir(parents=True, exist_ok=True)
    words = ["docker", "exec", ground.host, "docker", "exec", ground.server, "pg_dump", "-U", USER, DATABASE]
    with to.open("wb") as out:
        subprocess.run(words, stdout=out, check=True)


class Transfers:
    """The newest backup down, a dump up."""

    def __init__(self, ground: Ground, work: Path) -> None:
        self.ground, self.work = ground, work
        self.dump = work / "much" / "dump.sql"
        self.pulled = Comparison("fab backup.pull", "ssh host cat > file", 1.3)
        self.sent = Comparison("sending a dump (fab restore.postgres)", "ssh host 'cat > file'", 1.3)
        manifest = ground.newest()
        self.files = [f"{BACKUPS}/postgres/{manifest['id']}/{each['path']}" for each in manifest["files"]]
        self.described = (
            f"{manifest['bytes'] / 1e6:,.0f} MB down, {self.dump.stat().st_size / 1e6:,.0f} MB up; ciphers: "
            f"fab {self._session_cipher()}, ssh {self._ssh_cipher()}"
        )

    @property
    def rows(self) -> list[Comparison]:
        """What was measured."""
        return [self.pulled, self.sent]

    def round(self) -> None:
        """Each once, ours and theirs in turn."""
        plain = self.work / "plain"
        self.pulled.pairs.append((self._pull(), self._timed(f"cat {shlex.join(self.files)}", to=plain)))
        plain.unlink()
        self.sent.pairs.append((self._send(), self._timed("sh -c 'cat > /root/bench'", source=self.dump)))
        self.ground.inside(f"rm -f /root/bench {BACKUPS}/.incoming/*")

    def _pull(self) -> float:
        to = self.work / "pull"
        self.ground.quiet()
        took = self.ground.fab("backup.pull", "--to", str(to)).seconds
        shutil.rmtree(to)
        return took

    def _send(self) -> float:
        """What `fab restore.postgres --file FILE` does before it asks: connect, send, compare."""
        self.ground.quiet()
        began = time.perf_counter()
        session = self._session()
        restore._on_host(session, settings.load(session.settings_file).app_name, str(self.dump))
        took = time.perf_counter() - began
        session.close()
        return took

    def _timed(self, command: str, *, source: Path | None = None, to: Path | None = None) -> float:
        """The seconds of plain ssh with a command as root; its stdin and stdout are files."""
        self.ground.quiet()
        began = time.perf_counter()
        with (source or Path("/dev/null")).open("rb") as given, (to or Path("/dev/null")).open("wb") as taken:
            subprocess.run([*PLAIN, self.ground.alias, f"sudo -n {command}"], stdin=given, stdout=taken, check=True)
        return time.perf_counter() - began

    def _session(self) -> Session:
        silent = Output(Console(stdout=io.StringIO(), stderr=io.StringIO()))
        return Session(resolve(self.ground.alias, Workplace(names.ROOT)), out=silent)

    def _session_cipher(self) -> str:
        session = self._session()
        cipher: str = session.open().transport.remote_cipher
        session.close()
        return cipher

    def _ssh_cipher(self) -> str:
        done = subprocess.run([*PLAIN, "-v", self.ground.alias, "true"], capture_output=True, text=True, check=True)
        found = re.search(r"server->client cipher: (\S+)", done.stderr)
        return found[1] if found else "unknown"
