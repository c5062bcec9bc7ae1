"""Closing the site and opening it again."""

from __future__ import annotations

import json
import stat

import pytest
from host_world import World

from host import maintenance
from host.errors import Failure


def test_the_pages_are_there_before_the_flag_and_can_be_read_by_nginx(world: World) -> None:
    maintenance.close(world.config, "Back at 10", "me@here")
    folder = world.config.maintenance
    for name in ("page.html", "page.json", "on"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o644
    assert "<p>Back at 10</p>" in (folder / "page.html").read_text()


def test_a_message_is_text_whatever_is_in_it(world: World) -> None:
    message = "é <b>bold</b> & \"quotes\" 'x' $HOME\nsecond line"
    maintenance.close(world.config, message, "me")
    page = (world.config.maintenance / "page.html").read_text()
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &quot;quotes&quot;" in page
    assert json.loads((world.config.maintenance / "page.json").read_text())["message"] == message


def test_another_message_keeps_the_time_it_was_closed_at(world: World) -> None:
    first = maintenance.close(world.config, "", "me")
    second = maintenance.close(world.config, "another", "you")
    assert second["since"] == first["since"]
    assert maintenance.state(world.config) == second


def test_it_is_opened_once(world: World) -> None:
    assert maintenance.state(world.config) is None
    maintenance.close(world.config, "", "me")
    assert maintenance.open_again(world.config) is True
    assert maintenance.open_again(world.config) is False
    assert maintenance.state(world.config) is None


def test_a_flag_that_somebody_made_by_hand_counts(world: World) -> None:
    world.config.prepare()
    (world.config.maintenance / "on").write_text("")
    assert (maintenance.state(world.config) or {})["since"] > 0


def test_too_long_a_message_closes_nothing(world: World) -> None:
    with pytest.raises(Failure, match="more than 2000 characters"):
        maintenance.close(world.config, "x" * 2001, "me")
    assert maintenance.state(world.config) is None


def test_a_full_disk_leaves_the_site_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(maintenance.durable, "write", full)
    with pytest.raises(Failure, match="no space left"):
        maintenance.close(world.config, "x", "me")
    assert maintenance.state(world.config) is None


def test_the_commands_leave_a_line_in_the_audit(world: World) -> None:
    world.run("maintenance", "on", "--by", "me@here", stdin=b"Back soon")
    world.run("maintenance", "off", "--by", "me@here")
    entries = json.loads(world.run("audit").stdout)["entries"]
    assert [(entry["what"], entry["by"]) for entry in entries] == [
        ("maintenance on", "me@here"), ("maintenance off", "me@here"),
    ]  # fmt: skip
