"""ssh_config is honoured: Include, ProxyJump, ProxyCommand, IdentityFile, the agent; and failures say what to do."""

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.core.command import Command
from tasks.core.errors import AuthenticationFailed, Unreachable, UsageError
from tasks.core.session import Session
from tasks.core.target import resolve
from tests.integration.conftest import Desk
from tests.integration.server import PrivateSshd, free_port, generate_key

Connect = Callable[..., Session]


def test_a_host_from_an_included_file_is_reached(
    server: PrivateSshd, desk: Desk, connect: Connect, tmp_path: Path
) -> None:
    desk.add_host(server)
    desk.config.rename(tmp_path / "more")
    desk.config.write_text(f"Include {tmp_path / 'more'}\n")
    desk.know(server.known_line())
    session = connect()
    assert (session.name, session.address, session.port) == ("vps", "127.0.0.1", server.port)
    assert session.run(Command("true")).status == 0


def test_a_host_is_reached_through_two_gateways_in_a_row(
    server: PrivateSshd, own_server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(own_server, "outer")
    desk.add_host(server, "inner")
    desk.add_host(own_server, extra="ProxyJump outer,inner")
    desk.know(server.known_line() + own_server.known_line())
    session = connect()
    assert [hop.alias for hop in session.target.gateways] == ["outer", "inner"]
    assert session.run(Command("cat"), stdin=b"x" * 300_000).stdout == b"x" * 300_000


def test_closing_closes_the_gateways_too(
    server: PrivateSshd, own_server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(own_server, "bastion")
    desk.add_host(server, extra="ProxyJump bastion")
    desk.know(server.known_line() + own_server.known_line())
    session = connect()
    session.run(Command("true"))
    assert own_server.session_pids()
    session.close()
    for _ in range(100):
        if not own_server.session_pids():
            break
        threading.Event().wait(0.05)
    assert not own_server.session_pids()


def test_a_host_that_the_gateway_cannot_reach_is_told_so(
    own_server: PrivateSshd, server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(own_server, "bastion")
    desk.add_host(server, extra="ProxyJump bastion", port=free_port())
    desk.know(own_server.known_line())
    with pytest.raises(Unreachable, match="the gateway cannot reach"):
        connect().run(Command("true"))


def test_a_proxy_command_carries_the_connection(server: PrivateSshd, desk: Desk, connect: Connect) -> None:
    relay = (
        "import socket,sys,threading,os;s=socket.create_connection((sys.argv[1],int(sys.argv[2])));"
        "t=threading.Thread(target=lambda:[s.sendall(d) for d in iter(lambda:os.read(0,65536),b'')],daemon=True);"
        "t.start();[os.write(1,d) for d in iter(lambda:s.recv(65536),b'')]"
    )
    program = desk.root / "relay.py"
    program.write_text(relay)
    desk.add_host(server, extra=f"ProxyCommand python3 {program} %h %p")
    desk.know(server.known_line())
    assert connect().run(Command("cat"), stdin=b"y" * 300_000).stdout == b"y" * 300_000


def test_a_proxy_command_that_fails_is_unreachable(server: PrivateSshd, desk: Desk, connect: Connect) -> None:
    desk.add_host(server, extra="ProxyCommand sh -c 'exit 1'")
    with pytest.raises(Unreachable, match="closed the connection without a word"):
        connect().run(Command("true"))


def test_what_a_failing_proxy_command_complains_of_is_passed_on(
    server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    desk.add_host(server, extra="ProxyCommand sh -c 'echo cannot find the way >&2; exit 1'")
    with pytest.raises(Unreachable, match="the ProxyCommand says: cannot find the way"):
        connect().run(Command("true"))


def test_an_identity_file_that_is_missing_is_skipped(
    server: PrivateSshd, desk: Desk, connect: Connect, tmp_path: Path
) -> None:
    missing = replace(server, key=tmp_path / "missing")
    desk.add_host(missing, extra=f"IdentityFile {server.key}")
    desk.know(server.known_line())
    assert connect().run(Command("true")).status == 0


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = Path(f"/tmp/fab-agent-{os.getpid()}")  # a socket's path must be short
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    for _ in range(100):  # its socket is there before it listens
        if subprocess.run(["ssh-add", "-l"], capture_output=True, check=False).returncode != 2:  # "cannot be reached"
            break
        threading.Event().wait(0.05)
    yield path
    process.terminate()
    process.wait()
    path.unlink(missing_ok=True)


def _add_to_agent(key: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], check=True, stdin=subprocess.DEVNULL)


def test_a_key_that_only_the_agent_can_use_is_used(
    server: PrivateSshd, desk: Desk, connect: Connect, agent: Path, tmp_path: Path
) -> None:
    _add_to_agent(server.key)
    public_only = tmp_path / "public_only"
    Path(f"{public_only}.pub").write_text(Path(f"{server.key}.pub").read_text())
    desk.add_host(replace(server, key=public_only))
    desk.know(server.known_line())
    assert connect().run(Command("true")).status == 0


def test_the_right_key_is_offered_first_however_many_the_agent_holds(
    server: PrivateSshd, desk: Desk, connect: Connect, agent: Path, tmp_path: Path
) -> None:
    for number in range(8):  # sshd gives up after six
        _add_to_agent(generate_key(tmp_path / f"other{number}"))
    desk.add_host(server)
    desk.know(server.known_line())
    assert connect().run(Command("true")).status == 0


def test_an_identity_agent_of_the_configuration_is_used(
    server: PrivateSshd, desk: Desk, connect: Connect, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _add_to_agent(server.key)
    monkeypatch.delenv("SSH_AUTH_SOCK")
    desk.add_host(replace(server, key=tmp_path / "none"), extra=f"IdentityAgent {agent}\n  IdentitiesOnly no")
    text = desk.config.read_text().replace("  IdentitiesOnly yes\n", "")
    desk.config.write_text(text)
    desk.know(server.known_line())
    assert connect().run(Command("true")).status == 0


def test_an_encrypted_key_outside_the_agent_is_named(
    server: PrivateSshd, desk: Desk, connect: Connect, tmp_path: Path
) -> None:
    key = generate_key(tmp_path / "locked", passphrase="correct horse")
    desk.add_host(replace(server, key=key))
    desk.know(server.known_line())
    with pytest.raises(AuthenticationFailed) as caught:
        connect().run(Command("true"))
    assert f"{key} is encrypted and not in the agent" in caught.value.one_line()
    assert caught.value.hint == "ssh-add the key"


def test_a_refused_login_says_who_and_how_many_keys(
    server: PrivateSshd, desk: Desk, connect: Connect, tmp_path: Path
) -> None:
    desk.add_host(replace(server, key=generate_key(tmp_path / "stranger")))
    desk.know(server.known_line())
    with pytest.raises(AuthenticationFailed, match=r"refused the login: 1 key offered, none accepted"):
        connect().run(Command("true"))


def test_a_closed_port_is_told_as_refused(server: PrivateSshd, desk: Desk, connect: Connect) -> None:
    port = free_port()
    desk.add_host(server, port=port)
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} refuses connections"):
        connect().run(Command("true"))


def test_a_name_that_does_not_resolve_is_told_so(desk: Desk, connect: Connect) -> None:
    desk.config.write_text("Host vps\n  HostName no-such-host.invalid\n  GlobalKnownHostsFile none\n")
    with pytest.raises(Unreachable, match=r"the name no-such-host.invalid does not resolve"):
        connect().run(Command("true"))


def _one_shot(says: bytes) -> int:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = listener.accept()
        with contextlib.suppress(OSError):
            peer.sendall(says)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(4096):  # what stayed unread would make the end a reset, and the peer lose what we said
                pass
        peer.close()
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (b"Not allowed at this time\r\n", "shuts this address out for a while"),
        (b"Exceeded MaxStartups\r\n", "is busy"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak SSH, it says 'HTTP/1.1 400 Bad Request'"),
        (b"", "closed the connection without a word"),
        (b"SSH-2.0-broken\r\n", "broke off the key exchange"),
    ],
)
def test_what_a_peer_says_instead_of_ssh_is_explained(
    server: PrivateSshd, desk: Desk, connect: Connect, says: bytes, told: str
) -> None:
    desk.add_host(server, port=_one_shot(says))
    with pytest.raises(Unreachable) as caught:
        connect().run(Command("true"))
    assert told in caught.value.one_line()


def test_a_port_that_accepts_and_says_nothing_is_given_up_within_fifteen_seconds(
    server: PrivateSshd, desk: Desk, connect: Connect
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    desk.add_host(server, port=listener.getsockname()[1])
    with listener, pytest.raises(Unreachable, match="said nothing for 10 s"):
        connect().run(Command("true"))


def test_a_server_without_a_common_key_exchange_is_unreachable(
    desk: Desk, connect: Connect, user_key: Path, tmp_path: Path
) -> None:
    sshd = PrivateSshd(tmp_path / "old", user_key, extra="KexAlgorithms sntrup761x25519-sha512@openssh.com").start()
    try:
        desk.add_host(sshd)
        desk.know(sshd.known_line())
        with pytest.raises(Unreachable, match="no common algorithm"):
            connect().run(Command("true"))
    finally:
        sshd.stop()


def test_jumps_that_go_in_a_circle_are_a_usage_error(server: PrivateSshd, desk: Desk) -> None:
    desk.add_host(server, "a", "ProxyJump b")
    desk.add_host(server, "b", "ProxyJump a")
    with pytest.raises(UsageError, match="circle"):
        resolve("a", desk.place)


def test_a_gateway_for_every_host_is_not_its_own_gateway(server: PrivateSshd, desk: Desk) -> None:
    desk.add_host(server, "bastion")
    desk.config.write_text(desk.config.read_text() + "Host *\n  ProxyJump bastion\n")
    assert resolve("bastion", desk.place).gateways == ()
    assert [hop.alias for hop in resolve("elsewhere", desk.place).gateways] == ["bastion"]
