"""The shell lines around a command."""

import os
import signal
import subprocess
import time

import pytest

from tasks.core.envelope import Opening, stop_line, wrap


def _run(line: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["sh", "-c", line], capture_output=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_the_pid_comes_first_and_is_taken_off() -> None:
    done = _run(wrap("printf out", "tok"))
    opening = Opening("tok")
    assert opening.feed(done.stdout) == b"out"
    assert opening.pid is not None


def test_the_opening_is_found_whatever_the_chunks() -> None:
    opening = Opening("tok")
    taken = [opening.feed(bytes([byte])) for byte in b"welcome!\ntok:123\ntok:9\n"]
    assert b"".join(taken) == b"tok:9\n"
    assert (opening.pid, opening.noise) == (123, b"welcome!\n")


def test_what_a_login_script_prints_is_not_the_commands_output() -> None:
    opening = Opening("tok")
    assert opening.feed(b"motd\n" * 50_000) == b""
    assert len(opening.noise) <= 65_536
    assert opening.feed(b"tok:7\n{}") == b"{}"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_status_and_stdin_pass_through(shell: str) -> None:
    line = wrap("cat >&2; exit 42", "tok")
    done = subprocess.run([shell, "-c", line], input=b"in", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (42, b"in")


def test_a_signal_becomes_a_status_over_128() -> None:
    assert _run(wrap("sh -c 'kill -KILL $$'", "tok")).returncode == 137


def test_a_comment_at_the_end_of_the_command_does_not_swallow_the_exit() -> None:
    assert _run(wrap("false # comment", "tok")).returncode == 1


def test_too_long_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match="over stdin"):
        wrap("x" * 100_001, "tok")


def _group(script: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    return process


def test_stopping_ends_the_whole_group() -> None:
    process = _group("sleep 60 & echo ready; sleep 60")
    _run(stop_line(process.pid), timeout=10)
    assert process.wait(timeout=5) == -signal.SIGTERM


def test_stopping_kills_what_ignores_the_request() -> None:
    process = _group("trap '' TERM; echo ready; while :; do sleep 0.2; done")
    began = time.monotonic()
    _run(stop_line(process.pid), timeout=20)
    assert process.wait(timeout=5) == -signal.SIGKILL
    assert time.monotonic() - began < 10


def test_stopping_what_has_gone_is_quiet() -> None:
    process = _group("echo ready")
    process.wait()
    done = _run(stop_line(process.pid), timeout=10)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert os.getpid()  # and we are still here
