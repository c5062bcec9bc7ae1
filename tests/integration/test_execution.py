"""One primitive executes: bytes in, bytes out, constant memory, an exit status, and nothing left behind."""

import hashlib
import io
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tasks.core.command import Command, Secret
from tasks.core.errors import ExitStatus, HostFailed, TimedOut, UsageError
from tasks.core.session import Session

_HUNDRED = 100 * 2**20


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text()


def _wait_until(condition: object, seconds: float = 5) -> bool:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def test_a_command_returns_its_bytes_its_status_and_its_stderr(session: Session) -> None:
    result = session.run(Command.shell("printf 'a\\0\\377'; echo oops >&2; exit 3"), check=False)
    assert (result.status, result.stdout, result.stderr) == (3, b"a\0\xff", "oops\n")


def test_arguments_arrive_exactly_as_given(session: Session) -> None:
    hostile = ["two words", "$(id)", "`id`", "'", '"', "a\nb", "*", "\\", "-n", "", "é"]
    result = session.run(Command("printf", "%s\\0", *hostile))
    assert result.stdout.decode().split("\0")[:-1] == hostile


def test_a_failing_command_names_itself_its_status_and_its_last_words(session: Session) -> None:
    with pytest.raises(HostFailed) as caught:
        session.run(Command.shell("echo first >&2; echo last words >&2; exit 7", label="the check"))
    assert caught.value.one_line() == "error: [vps] the check ended with status 7: last words"
    assert (caught.value.exit_status, caught.value.status) == (7, ExitStatus.HOST_FAILED)


def test_a_command_killed_by_a_signal_has_the_status_a_shell_gives_it(session: Session) -> None:
    assert session.run(Command.shell("sh -c 'kill -KILL $$'"), check=False).status == 137


def test_a_missing_program_is_127_not_a_lost_connection(session: Session) -> None:
    assert session.run(Command("no-such-program"), check=False).status == 127


def test_a_hundred_megabytes_go_both_ways_in_constant_memory(session: Session) -> None:
    sent, received, count = hashlib.sha256(), hashlib.sha256(), 0
    block = bytes(range(256)) * 4096

    def source() -> Iterator[bytes]:
        for _ in range(_HUNDRED // len(block)):
            sent.update(block)
            yield block

    def sink(data: bytes) -> None:
        nonlocal count
        count += len(data)
        received.update(data)

    session.run(Command("true"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = session.run(Command("cat"), stdin=source(), sink=sink, deadline=300)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (count, received.digest(), result.stdout) == (_HUNDRED, sent.digest(), b"")
    assert grown < 32 * 1024  # KiB


def test_four_megabytes_of_stderr_neither_hang_nor_pile_up(session: Session) -> None:
    script = "head -c 4194304 /dev/zero | tr '\\0' x >&2; echo end >&2; echo out"
    result = session.run(Command.shell(script))
    assert result.text == "out\n"
    assert result.stderr.endswith("xend\n")
    assert len(result.stderr) == 65_536


def test_a_command_that_exits_early_ends_the_feeding(session: Session) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(65_536)

    began = time.monotonic()
    result = session.run(Command.shell("echo enough >&2; exit 3"), stdin=endless(), check=False)
    assert (result.status, result.stderr) == (3, "enough\n")
    assert time.monotonic() - began < 5


def test_a_command_without_stdin_reads_an_empty_one(session: Session) -> None:
    assert session.run(Command("cat"), deadline=10).stdout == b""


@pytest.mark.parametrize("source", [b"abc" * 50_000, io.BytesIO(b"abc" * 50_000), [b"abc"] * 50_000])
def test_stdin_is_bytes_a_file_or_chunks(session: Session, source: object) -> None:
    assert session.run(Command("wc", "-c"), stdin=source).text.strip() == "150000"  # type: ignore[arg-type]


def test_an_error_of_the_stdin_source_reaches_the_caller_and_stops_the_command(session: Session) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        session.run(Command.shell("exec sleep 60"), stdin=broken())
    assert session.run(Command("true")).status == 0


def test_lines_come_one_by_one_with_the_last_unfinished_one(session: Session) -> None:
    seen: list[str] = []
    session.lines(Command("printf", "é1\\n2\\n3"), seen.append)
    assert seen == ["é1", "2", "3"]


def test_a_deadline_kills_the_command_and_its_children_on_the_host(session: Session, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"echo $$ > {pids}; sleep 61 & echo $! >> {pids}; sleep 62"
    began = time.monotonic()
    with pytest.raises(TimedOut) as caught:
        session.run(Command.shell(script, label="slow work"), deadline=1)
    assert time.monotonic() - began < 5
    assert "slow work did not end within 1 s" in caught.value.one_line()
    assert _wait_until(lambda: all(_gone(int(pid)) for pid in pids.read_text().split()))


def test_a_command_that_ignores_the_request_to_end_is_killed(session: Session, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(TimedOut):
        session.run(Command.shell(f"trap '' TERM; echo $$ > {pid}; while :; do sleep 1; done"), deadline=1)
    assert _wait_until(lambda: _gone(int(pid.read_text())))


def test_setting_the_event_stops_the_command_like_ctrl_c(session: Session, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    cancelled = threading.Event()
    session._cancelled = cancelled
    threading.Timer(1.0, cancelled.set).start()
    with pytest.raises(KeyboardInterrupt):
        session.run(Command.shell(f"echo $$ > {pid}; exec sleep 60"))
    assert _wait_until(lambda: _gone(int(pid.read_text())))


def test_the_session_is_usable_after_a_deadline(session: Session) -> None:
    with pytest.raises(TimedOut):
        session.run(Command("sleep", "60"), deadline=0.5)
    assert session.run(Command("echo", "still here")).text == "still here\n"


def test_what_a_command_that_closed_its_output_returns_is_waited_for(session: Session) -> None:
    script = "exec >&- 2>&-; sleep 1; exit 5"
    before = time.process_time()
    assert session.run(Command.shell(script), check=False).status == 5
    assert time.process_time() - before < 0.5


def test_a_command_longer_than_the_kernel_allows_is_refused_here(session: Session) -> None:
    with pytest.raises(UsageError, match="send the script over stdin"):
        session.run(Command("echo", "x" * 150_000))


def test_secrets_are_masked_in_errors_and_in_stderr(session: Session) -> None:
    secret = Secret("hunter2-hunter2")
    command = Command.shell('read -r line; echo "bad password $line" >&2; exit 1', label="login")
    with pytest.raises(HostFailed) as caught:
        session.run(command, stdin=b"hunter2-hunter2\n", secrets=[secret])
    assert "hunter2" not in caught.value.one_line() + caught.value.stderr + repr(caught.value)
    assert "bad password ***" in caught.value.one_line()


def test_a_secret_on_stdin_is_in_no_process_list(session: Session, tmp_path: Path) -> None:
    scan = "read -r s; for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f 2>/dev/null; echo; done"
    shown = session.run(Command.shell(scan), stdin=b"hunter2-hunter2\n").text
    assert "read -r s" in shown
    assert "hunter2-hunter2" not in shown


def test_a_locale_and_the_system_directories_are_set_for_what_is_parsed(session: Session) -> None:
    locale, path = session.run(Command.shell('echo "$LC_ALL"; echo "$PATH"')).text.splitlines()
    assert locale == "C.UTF-8"
    assert {"/usr/sbin", "/sbin"} <= set(path.split(":"))


def test_counters_tell_channels_and_bytes(session: Session) -> None:
    assert session.counters.channels == 0
    session.run(Command("true"))
    session.run(Command("cat"), stdin=bytes(100_000))
    counters = session.counters
    assert counters.channels == 2
    assert counters.bytes_sent > 100_000
    assert counters.bytes_received > 100_000


def test_the_cipher_is_one_that_needs_no_mac_besides_and_keys_change_on_the_way(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paramiko.packet.Packetizer, "REKEY_BYTES", 4 * 2**20)
    transport = session.open().transport
    assert transport.remote_cipher == transport.local_cipher == "aes256-gcm@openssh.com"
    exchanges: list[None] = []
    begin = transport._send_kex_init
    monkeypatch.setattr(transport, "_send_kex_init", lambda: (exchanges.append(None), begin())[1])
    block = bytes(range(256)) * 4096
    digest = hashlib.sha256(block * 32).hexdigest()
    arrived = hashlib.sha256()
    session.run(Command("cat"), stdin=iter([block] * 32), sink=arrived.update)
    assert arrived.hexdigest() == digest
    assert len(exchanges) > 3
