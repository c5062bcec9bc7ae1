"""Fixtures over a private sshd: a host that is trusted, and sessions to it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.core.session import Session
from tasks.core.target import Workplace, resolve
from tests.integration.server import PrivateSshd, generate_key


@pytest.fixture(scope="session")
def user_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_key(tmp_path_factory.mktemp("user") / "id_ed25519")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, user_key: Path) -> Iterator[PrivateSshd]:
    """One server for the tests that only talk to it."""
    sshd = PrivateSshd(tmp_path_factory.mktemp("sshd"), user_key, ("ed25519", "rsa")).start()
    yield sshd
    sshd.stop()


@pytest.fixture
def own_server(tmp_path: Path, user_key: Path) -> Iterator[PrivateSshd]:
    """A server of the test's own, to be frozen or killed."""
    sshd = PrivateSshd(tmp_path / "sshd", user_key).start()
    yield sshd
    sshd.stop()


@dataclass
class Desk:
    """A workstation: a project root, an ssh_config and a user's known_hosts file, all in a temporary directory."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.root / "user_known_hosts"

    @property
    def project_known_hosts(self) -> Path:
        return self.root / ".fab" / "known_hosts"

    @property
    def place(self) -> Workplace:
        return Workplace(self.root, ssh_config=self.config)

    def add_host(self, server: PrivateSshd, alias: str = "vps", extra: str = "", port: int | None = None) -> None:
        with self.config.open("a") as stream:
            stream.write(server.ssh_config(alias, self.known_hosts, extra, port))

    def know(self, line: str) -> None:
        with self.known_hosts.open("a") as stream:
            stream.write(line)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "fabfile").mkdir()
    return Desk(tmp_path / "project")


@pytest.fixture
def connect(desk: Desk) -> Iterator[Callable[..., Session]]:
    """Makes sessions from the desk and closes them."""
    made: list[Session] = []

    def make(name: str = "vps") -> Session:
        made.append(Session(resolve(name, desk.place)))
        return made[-1]

    yield make
    for session in made:
        session.close()


@pytest.fixture
def session(server: PrivateSshd, desk: Desk, connect: Callable[..., Session]) -> Session:
    """A session to the shared server, whose key is known."""
    desk.add_host(server)
    desk.know(server.known_line())
    return connect()
