"""What a far host costs: round trips and channels, counted on the wire at 50 ms."""

import json
import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.core import project, settings
from tasks.core.command import Command
from tasks.core.session import Session
from tasks.model import bundle, facts, manifest
from tasks.model.images import Pin
from tasks.operations import deploy
from tasks.operations.prepare import Options
from tests.bench.proxy import DelayProxy
from tests.integration.conftest import Desk
from tests.integration.server import PrivateSshd
from tests.unit.operations.host_in_order import status

ROOT = Path(__file__).resolve().parents[2]


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


def _nothing_to_do(desk: Desk) -> str:
    """What a host says of itself where the settings of the desk are deployed."""
    lines = (ROOT / ".env.production.example").read_text().replace("CHANGE_ME", "a-long-password-1")
    env = desk.root / ".env"
    env.write_text(lines.replace("example.com", "site.test"))
    env.chmod(0o600)
    chosen = settings.load(env)
    sources = project.read_tree()
    pins = {name: Pin(f"sha256:{'a' * 64}", None) for name in chosen.images.values()}
    origin = manifest.Origin(datetime(2026, 11, 22, tzinfo=UTC), "me@here", None)
    made = manifest.build(bundle.render(sources, chosen, pins), chosen, origin)
    recorded = (ROOT / "tests/fixtures/facts/debian-13-done-sudo.txt").read_text()
    before, _, rest = recorded.partition(" section status\n")
    return f"{before} section status\n{json.dumps(status(made))}\n{rest.partition(chr(10))[2]}"


def test_a_deploy_with_nothing_to_do_takes_eight_round_trips_and_one_channel(
    far: DelayProxy, desk: Desk, connect: Callable[..., Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "facts"
    said.write_text(_nothing_to_do(desk))
    length = len(facts.facts_script("maicivy", "deploy"))
    script = f"cat {shlex.quote(str(said))}\nexit\n".ljust(length, "#")  # as much to send as the real one
    monkeypatch.setattr(facts, "facts_script", lambda app, user: script)
    monkeypatch.setattr(Command, "sudo", lambda command: command)
    with far:
        session = connect()
        report = deploy.deploy(session, Options())
        assert "nothing to do" in report.text
        assert far.counts.round_trips <= 8
        assert session.counters.channels == 1
