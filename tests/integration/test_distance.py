"""What a far host costs: round trips and channels, counted on the wire at 50 ms."""

import time
from collections.abc import Callable

import pytest

from tasks.core.command import Command
from tasks.core.session import Session
from tests.bench.proxy import DelayProxy
from tests.integration.conftest import Desk
from tests.integration.server import PrivateSshd


@pytest.fixture
def far(server: PrivateSshd, desk: Desk) -> "DelayProxy":
    proxy = DelayProxy("127.0.0.1", server.port, 0.025)
    desk.add_host(server, port=proxy.listen_port)
    desk.know(server.known_line(port=proxy.listen_port))
    return proxy


def test_connecting_and_one_command_take_at_most_fourteen_turns(far: DelayProxy, connect: Callable[..., Session]) -> None:
    with far:
        session = connect()
        session.run(Command("true"))
        print(f"{far.counts} {session.counters}")
        assert far.counts.turns <= 14
        assert session.counters.channels == 1


def test_a_second_command_takes_two_turns_and_no_second_connection(
    far: DelayProxy, connect: Callable[..., Session]
) -> None:
    with far:
        session = connect()
        session.run(Command("true"))
        time.sleep(0.2)
        before = far.counts.turns
        began = time.monotonic()
        session.run(Command("true"))
        took = time.monotonic() - began
        assert far.counts.turns - before <= 3
        assert far.counts.connections == 1
        assert took < 0.35
