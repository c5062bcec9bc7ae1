"""The WebSocket client says truly how long it was echoed to, and who ended it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.websocket import Echo
from tests.unit.load.visited import visited


def test_it_echoes_as_long_as_it_is_held(tmp_path: Path) -> None:
    with visited(tmp_path) as server, Echo(server.site, every=0.05) as echo:
        time.sleep(0.6)
        assert echo.alive
        assert len(echo.echoes) > 5
        assert echo.longest_silence() < 0.5
        assert echo.version == "1.0.0"


def test_it_notes_when_the_server_ended_it_and_how(tmp_path: Path) -> None:
    with visited(tmp_path, sockets=0.5) as server, Echo(server.site, every=0.35) as echo:
        assert echo.wait_closed(5)
        assert echo.closed is not None
        assert abs(echo.closed - time.time()) < 1
        assert echo.how == "close 1001 away"
        assert echo.echoes[-1] <= echo.closed


def test_a_server_that_vanishes_is_noticed(tmp_path: Path) -> None:
    with visited(tmp_path) as server:
        echo = Echo(server.site, every=0.05).__enter__()
    assert echo.wait_closed(6)
    assert echo.how
    echo.__exit__()


def test_nobody_there_is_an_error_at_once(tmp_path: Path) -> None:
    with visited(tmp_path) as server:
        site = server.site
    with pytest.raises(OSError, match=r"."), Echo(site):
        pass
