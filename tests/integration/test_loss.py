"""A lost connection is reported as lost, soon, and never as a failed check."""

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tasks.core.command import Command
from tasks.core.errors import ConnectionLost, ExitStatus
from tasks.core.session import Session
from tests.bench.proxy import DelayProxy
from tests.integration.conftest import Desk
from tests.integration.server import PrivateSshd

Connect = Callable[..., Session]


@pytest.fixture
def own_session(own_server: PrivateSshd, desk: Desk, connect: Connect) -> Session:
    desk.add_host(own_server)
    desk.know(own_server.known_line())
    session = connect()
    session.run(Command("true"))
    return session


def _signal_sessions(server: PrivateSshd, number: int) -> None:
    for pid in server.session_pids():
        os.kill(pid, number)


def test_a_killed_connection_is_lost_not_failed(own_server: PrivateSshd, own_session: Session) -> None:
    threading.Timer(1, _signal_sessions, (own_server, signal.SIGKILL)).start()
    began = time.monotonic()
    with pytest.raises(ConnectionLost) as caught:
        own_session.run(Command("sleep", "5"), check=False)
    assert time.monotonic() - began < 4
    assert caught.value.status is ExitStatus.CONNECTION_LOST
    assert "the connection was lost during sleep 5" in caught.value.one_line()


def test_after_a_loss_nothing_reconnects_silently(own_server: PrivateSshd, own_session: Session) -> None:
    _signal_sessions(own_server, signal.SIGKILL)
    with pytest.raises(ConnectionLost):
        own_session.run(Command("true"))
    with pytest.raises(ConnectionLost):
        own_session.run(Command("true"))
    own_session.close()
    assert own_session.run(Command("true")).status == 0


def test_a_frozen_server_is_noticed_within_fifteen_seconds(own_server: PrivateSshd, own_session: Session) -> None:
    # Its kernel still acknowledges every packet: only an answer from sshd itself proves that it lives.
    threading.Timer(0.5, _signal_sessions, (own_server, signal.SIGSTOP)).start()
    began = time.monotonic()
    with pytest.raises(ConnectionLost, match="no sign of life for 12 s"):
        own_session.run(Command("sleep", "60"), deadline=None)
    assert time.monotonic() - began < 15.5


def test_a_cut_cable_while_sending_is_noticed_within_fifteen_seconds(
    own_server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    with DelayProxy("127.0.0.1", own_server.port) as proxy:
        desk.add_host(own_server, port=proxy.listen_port)
        desk.know(own_server.known_line(port=proxy.listen_port))
        session = connect()
        session.run(Command("true"))

        def endless() -> "object":
            while True:
                yield bytes(65_536)
                time.sleep(0.01)

        threading.Timer(0.5, proxy.fall_silent).start()
        began = time.monotonic()
        with pytest.raises(ConnectionLost):
            session.run(Command.shell("cat >/dev/null"), stdin=endless(), deadline=None)  # type: ignore[arg-type]
        assert time.monotonic() - began < 15.5


def test_a_quiet_command_on_a_living_host_is_not_lost(own_server: PrivateSshd, desk: Desk, connect: Connect) -> None:
    desk.add_host(own_server, extra="ServerAliveInterval 1\n  ServerAliveCountMax 2")
    desk.know(own_server.known_line())
    session = connect()
    assert session.target.hop.patience == 2
    assert session.run(Command("sleep", "5")).status == 0


def test_a_sink_that_takes_its_time_does_not_make_the_peer_look_dead(
    own_server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(own_server, extra="ServerAliveInterval 1\n  ServerAliveCountMax 2")
    desk.know(own_server.known_line())

    def slow(data: bytes) -> None:
        time.sleep(3)

    assert connect().run(Command.shell("echo a; sleep 1; echo b"), sink=slow).status == 0
