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


def test_connecting_and_one_command_take_at_most_fourteen_turns(
    far: DelayProxy, connect: Callable[..., Session]
) -> None:
    with far:
        session = connect()
        session.run(Command("true"))
        assert far.counts.turns <= 14
        assert far.counts.round_trips <= 7
        assert session.counters.channels == 1


def test_a_second_command_takes_two_round_trips_on_the_same_connection(
    far: DelayProxy, connect: Callable[..., Session]
) -> None:
    with far:
        session = connect()
        session.run(Command("true"))
        time.sleep(0.2)
        before = far.counts.round_trips
        session.run(Command("true"))
        assert far.counts.round_trips - before <= 2
        assert far.counts.connections == 1


def test_the_session_counts_the_bytes_that_were_on_the_wire(far: DelayProxy, connect: Callable[..., Session]) -> None:
    with far:
        session = connect()
        session.run(Command("cat"), stdin=bytes(200_000))
        assert session.counters.bytes_sent <= far.counts.bytes_up + 1000
        # the last packets may still be on their way to us: the proxy counts before it delays
        end = time.monotonic() + 5
        while session.counters.bytes_received != far.counts.bytes_down and time.monotonic() < end:
            time.sleep(0.05)
        assert session.counters.bytes_received == far.counts.bytes_down
