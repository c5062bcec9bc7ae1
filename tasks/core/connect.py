"""Opening a connection: through the gateways, host keys checked at every hop, faults told in one line."""

import contextlib
import threading
import time
from dataclasses import dataclass, field

import fabric
import paramiko

from tasks.core.errors import InfraError
from tasks.core.failures import AUTH_SECONDS, BANNER_SECONDS, CHANNEL_SECONDS, KEX_SECONDS, Peer, explain
from tasks.core.hostkeys import HostKey, KnownHosts, check
from tasks.core.login import Credentials, KeyLogin
from tasks.core.sshconfig import Hop
from tasks.core.target import Target
from tasks.core.wire import ProxyProcess, SocketLike, Wire, dial

# paramiko would rather have AES-CTR with a MAC that it computes besides; these are one pass in the crypto library.
_FAST_CIPHERS = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com")


@dataclass
class Link:
    """An open connection: the transport to the host, the wire under it, and what must be closed with it."""

    hop: Hop
    transport: paramiko.Transport
    wire: Wire
    connection: fabric.Connection
    channels: int = 0
    _below: list["Link"] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Start asking the peer for a sign of life whenever it has been silent for the hop's interval."""
        threading.Thread(target=self._ask, name=f"alive-{self.hop.alias}", daemon=True).start()

    def close(self) -> None:
        """Close the connection and the gateways below it. Never raises."""
        self._over.set()
        with contextlib.suppress(Exception):
            self.connection.close()
        self.transport.close()
        self.wire.close()
        for link in reversed(self._below):
            link.close()

    def _ask(self) -> None:
        while not self._over.wait(self.hop.alive_interval / 2):
            if not self.transport.is_active():
                return
            if time.monotonic() - self.wire.last_heard >= self.hop.alive_interval / 2:
                # Any answer will do, and sshd answers what it does not know; paramiko's own keepalive asks for none.
                with contextlib.suppress(Exception):
                    self.transport.global_request("keepalive@openssh.com", wait=True)


class _StrictPolicy(paramiko.MissingHostKeyPolicy):
    """Replaces fabric's AutoAddPolicy. The client is given no known hosts, so every key comes here to be judged."""

    def __init__(self, hop: Hop, known: KnownHosts) -> None:
        self._hop = hop
        self._known = known

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        check(self._hop.key_name, HostKey(key.get_name(), key.asbytes()), self._known, alias=self._hop.alias)


def connect(target: Target, credentials: Credentials) -> Link:
    """Connect and log in to the target through its gateways.

    Raises Unreachable, HostKeyError or AuthenticationFailed; nothing stays open then.
    """
    with contextlib.ExitStack() as opened:
        links: list[Link] = []
        for hop in (*target.gateways, target.hop):
            link = _login(hop, links[-1] if links else None, credentials)
            opened.callback(link.close)
            links.append(link)
        opened.pop_all()
    last = links.pop()
    last._below = links
    last.watch()
    return last


def fetch_host_key(target: Target, credentials: Credentials) -> HostKey:
    """The key the target shows, from one key exchange and without logging in. Gateways must be trusted already.

    Raises as `connect` does.
    """
    hop = target.hop
    with contextlib.ExitStack() as opened:
        below: Link | None = None
        for gateway in target.gateways:
            below = _login(gateway, below, credentials)
            opened.callback(below.close)
        wire = _wire(hop, below)
        opened.callback(wire.close)
        try:
            transport = _transport(wire, hop, KnownHosts.load(hop.known_hosts))
            opened.callback(transport.close)
            transport.start_client(timeout=BANNER_SECONDS + KEX_SECONDS)
            key = transport.get_remote_server_key()
        except Exception as error:
            raise _explained(error, hop, wire) from error
    return HostKey(key.get_name(), key.asbytes())


def _login(hop: Hop, below: Link | None, credentials: Credentials) -> Link:
    known = KnownHosts.load(hop.known_hosts)
    login = KeyLogin(hop, credentials)
    wire = _wire(hop, below)
    connection = fabric.Connection(
        hop.address,
        user=hop.user,
        port=hop.port,
        # Its own Config, empty of ssh_config: `ssh -G` has said it all, and a shared one leaks keys between hosts.
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
        connect_timeout=int(BANNER_SECONDS + KEX_SECONDS),
        connect_kwargs={
            "sock": wire,
            "transport_factory": lambda sock, **_: _transport(sock, hop, known),
            "auth_strategy": login,
            "banner_timeout": BANNER_SECONDS,
            "auth_timeout": AUTH_SECONDS,
            "channel_timeout": CHANNEL_SECONDS,
        },
    )
    connection.client.set_missing_host_key_policy(_StrictPolicy(hop, known))
    try:
        connection.open()
    except BaseException as error:
        explained = _explained(error, hop, wire, login) if isinstance(error, Exception) else error
        connection.client.close()
        wire.close()
        if explained is error:
            raise
        raise explained from error
    return Link(hop, connection.transport, wire, connection)


def _wire(hop: Hop, below: Link | None) -> Wire:
    try:
        if below is not None:
            channel = below.transport.open_channel(
                "direct-tcpip", (hop.address, hop.port), ("", 0), timeout=CHANNEL_SECONDS
            )
            return Wire(channel)
        if hop.proxy_command:
            return ProxyProcess(hop.proxy_command)
        return dial(
            hop.address, hop.port, timeout=hop.connect_timeout, interval=hop.alive_interval, patience=hop.patience
        )
    except Exception as error:
        raise explain(error, hop) from error


def _transport(sock: SocketLike, hop: Hop, known: KnownHosts) -> paramiko.Transport:
    transport = paramiko.Transport(sock)  # type: ignore[arg-type]  # a Wire is all the socket it uses
    transport.banner_timeout = BANNER_SECONDS
    options = transport.get_security_options()
    options.key_types = known.signature_preference(hop.key_name, options.key_types)
    options.ciphers = (*_FAST_CIPHERS, *(each for each in options.ciphers if each not in _FAST_CIPHERS))
    return transport


def _explained(error: Exception, hop: Hop, wire: Wire, login: KeyLogin | None = None) -> InfraError:
    return explain(error, hop, Peer(head=wire.head, closed=wire.ended, complaint=wire.complaint), login)
