"""What went wrong while connecting, in the user's words: exception and first bytes in, one line out."""

import socket
from dataclasses import dataclass

import paramiko

from tasks.core.errors import AuthenticationFailed, InfraError, Unreachable
from tasks.core.login import KeyLogin
from tasks.core.sshconfig import Hop

BANNER_SECONDS = 10.0
KEX_SECONDS = 10.0
AUTH_SECONDS = 14.0  # sshd may look up our name before it answers
CHANNEL_SECONDS = 14.0


@dataclass(frozen=True)
class Peer:
    """What is known of the other side: what it said first, whether it hung up, what a ProxyCommand complained of."""

    head: bytes = b""
    closed: bool = False
    complaint: str = ""


NOBODY = Peer()


def explain(error: Exception, hop: Hop, peer: Peer = NOBODY, login: KeyLogin | None = None) -> InfraError:
    """Translate an exception of connecting to `hop`. `login` is what was tried to get in.

    Raises the exception itself when it is not one of connecting, i.e. a bug.
    """
    where = f"{hop.address}:{hop.port}"
    if isinstance(error, InfraError):
        return error
    if isinstance(error, paramiko.AuthenticationException):
        return _not_accepted(hop, login)
    if peer.head and not peer.head.startswith(b"SSH-"):
        return _no_banner(peer.head, where, hop)
    if isinstance(error, socket.gaierror):
        return Unreachable(
            f"the name {hop.address} does not resolve", host=hop.alias, hint=f"check HostName: ssh -G {hop.alias}"
        )
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(f"{where} refuses connections", host=hop.alias, hint="is sshd running, is the port right?")
    if isinstance(error, TimeoutError) and not peer.head:
        return Unreachable(
            f"no answer from {where} within {hop.connect_timeout:g} s",
            host=hop.alias,
            hint="is the host up, does a firewall drop the port?",
        )
    if isinstance(error, paramiko.ChannelException):
        return Unreachable(
            f"the gateway cannot reach {where}: {error.text}", host=hop.alias, hint="try it from the gateway"
        )
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return Unreachable(
            f"no common algorithm with {where}: {error}", host=hop.alias, hint=f"compare with: ssh -v {hop.alias} true"
        )
    if isinstance(error, OSError) and not isinstance(error, TimeoutError) and error.strerror:
        return Unreachable(f"{where}: {error.strerror}", host=hop.alias, hint="check the address and the network")
    if isinstance(error, (paramiko.SSHException, EOFError, OSError)):
        return _silent(error, peer, where, hop)
    raise error


def _not_accepted(hop: Hop, login: KeyLogin | None) -> AuthenticationFailed:
    tried = login.tried if login else 0
    offered = f"{tried} key{'' if tried == 1 else 's'} offered, none accepted" if tried else "there is no key to offer"
    unusable = [note for note in (login.notes if login else []) if not note.endswith("authentication failed")]
    detail = f" ({'; '.join(unusable)})" if unusable else ""
    encrypted = any("encrypted" in note for note in unusable)
    hint = "ssh-add the key" if encrypted else f"check User and IdentityFile: ssh -v {hop.alias} true"
    return AuthenticationFailed(
        f"{hop.user}@{hop.address} refused the login: {offered}{detail}", host=hop.alias, hint=hint
    )


def _no_banner(head: bytes, where: str, hop: Hop) -> Unreachable:
    said = head.decode("utf-8", "replace").strip().splitlines()[0][:80]
    if "Not allowed at this time" in said:
        return Unreachable(
            f"sshd at {where} shuts this address out for a while, after failed logins (PerSourcePenalties)",
            host=hop.alias,
            hint="wait some minutes, then try once; each attempt prolongs it",
        )
    if "MaxStartups" in said or "Exceeded" in said:
        return Unreachable(f"sshd at {where} is busy: {said}", host=hop.alias, hint="try again in a moment")
    return Unreachable(f"{where} does not speak SSH, it says {said!r}", host=hop.alias, hint="check the port")


def _silent(error: Exception, peer: Peer, where: str, hop: Hop) -> Unreachable:
    if peer.complaint and not peer.head:
        return Unreachable(
            f"the ProxyCommand says: {peer.complaint[:200]}",
            host=hop.alias,
            hint=f"try it by hand: {hop.proxy_command}",
        )
    if not peer.head:
        what = "closed the connection without a word" if peer.closed else f"said nothing for {BANNER_SECONDS:g} s"
        return Unreachable(
            f"{where} accepted the connection and {what}", host=hop.alias, hint="is that sshd, and is it overloaded?"
        )
    return Unreachable(
        f"{where} broke off the key exchange: {str(error) or type(error).__name__}",
        host=hop.alias,
        hint=f"ssh -v {hop.alias} true",
    )
