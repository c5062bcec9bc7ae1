"""Lines are whole and prefixed, colour is for terminals, JSON has stdout to itself."""

import io
import threading

import pytest

from tasks.core.errors import HostFailed, UsageError
from tasks.core.output import Console, Output
from tasks.core.progress import describe, size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def streams() -> tuple[io.StringIO, io.StringIO]:
    return io.StringIO(), io.StringIO()


def test_every_line_has_the_hosts_prefix(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    voice = Output(Console(stdout=out, stderr=err), "vps")
    voice.info("one\ntwo")
    voice.raw("three\n")
    voice.warn("four")
    assert out.getvalue() == "[vps] one\n[vps] two\n[vps] three\n"
    assert err.getvalue() == "[vps] warning: four\n"


def test_a_single_host_has_no_prefix(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    Output(Console(stdout=out, stderr=err)).step("one")
    assert out.getvalue() == "one\n"


def test_progress_leaves_stdout_to_a_json_document(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    voice = Output(Console(stdout=out, stderr=err, quiet_stdout=True))
    voice.step("one")
    with voice.progress("push", 10) as progress:
        progress(10)
    assert out.getvalue() == ""
    assert "one\n" in err.getvalue()
    assert "push 10 B" in err.getvalue()


def test_an_error_does_not_name_the_host_twice(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    Output(Console(stdout=out, stderr=err), "vps").report(HostFailed("it broke", host="vps"))
    assert err.getvalue() == "[vps] error: it broke\n"


def test_a_terminal_gets_colour_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = Terminal(), io.StringIO()
    Output(Console(stdout=terminal)).step("x")
    Output(Console(stdout=pipe)).step("x")
    assert "\033[" in terminal.getvalue()
    assert "\033[" not in pipe.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_when_the_environment_asks_for_none(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    terminal = Terminal()
    Output(Console(stdout=terminal)).error("x")
    Output(Console(stdout=terminal)).step("x")
    assert "\033[" not in terminal.getvalue()


def test_threads_do_not_tear_each_others_lines() -> None:
    out = io.StringIO()
    console = Console(stdout=out)

    def speak(name: str) -> None:
        for _ in range(200):
            Output(console, name).info("x" * 50 + "\n" + "y" * 50)

    threads = [threading.Thread(target=speak, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 1600
    assert {line[4:] for line in lines} == {"x" * 50, "y" * 50}
    assert all(lines[i][:3] == lines[i + 1][:3] for i in range(0, 1600, 2))


def test_a_question_without_a_terminal_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match="--yes"):
        Output().confirm("sure?")


@pytest.mark.parametrize(
    ("typed", "answer"), [("y\n", True), ("Yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_only_yes_is_yes(typed: str, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    err = io.StringIO()
    assert Output(Console(stderr=err), "vps").confirm("sure?") is answer
    assert err.getvalue() == "[vps] sure? [y/N] "


def test_yes_in_advance_asks_nothing() -> None:
    assert Output(assume_yes=True).confirm("sure?")


def test_progress_on_a_terminal_redraws_one_line() -> None:
    terminal = Terminal()
    console = Console(stdout=terminal)
    console.draw("10%", terminal)
    console.draw("20%", terminal)
    console.write("done", terminal)
    assert terminal.getvalue() == "\r\033[K10%\r\033[K20%\r\033[Kdone\n"


def test_progress_tells_bytes_rate_and_time_left() -> None:
    mib = 2**20
    assert describe("push", 10 * mib, 40 * mib, 5) == "push 10.0 MiB of 40.0 MiB (25%) 2.0 MiB/s 0:15 left"
    assert describe("push", 10 * mib, None, 5) == "push 10.0 MiB 2.0 MiB/s"
    assert describe("push", 0, 40 * mib, 0) == "push 0 B of 40.0 MiB (0%)"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB"), (2**41, "2.0 TiB")]
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size(count) == text
