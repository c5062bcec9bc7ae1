"""Whether the authority will find us: the question it is going to ask, asked before it counts a failure against us."""

from __future__ import annotations

import http.client
import ipaddress
import secrets
import socket

from host import durable
from host.config import Config
from host.errors import Failure, from_os_error
from host.events import Step
from host.manifest import Manifest

_REACH = 5.0  # seconds for one look at one address
_UNKNOWN = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))  # the answer is: there is none


def every(config: Config, manifest: Manifest, step: Step) -> None:
    """See that every name leads to this host's port 80: one file, fetched by each name.

    That proves name, port and server at once. What cannot be told from here is a remark, for the authority stands
    elsewhere: no resolver, no answer, or any answer but ours behind a router that need not let a host reach itself.
    Raises Failure for a name that nobody knows, that leads to a closed port, or that somebody else answers.
    """
    token = secrets.token_hex(16)
    folder = config.webroot / ".well-known" / "acme-challenge"
    try:
        for path in (config.webroot / ".well-known", folder):
            if not path.is_dir():
                path.mkdir(mode=0o755)
                path.chmod(0o755)
        durable.write(folder / token, token.encode(), 0o644)
    except OSError as error:
        raise from_os_error(error, "writing into the directory for challenges") from error
    try:
        found = [name for name in manifest.settings.domains if _leads_here(name, token, step)]
    finally:
        (folder / token).unlink(missing_ok=True)
    step.done(f"found this server by {', '.join(found)}" if found else "no name could be checked from here")


def _leads_here(name: str, token: str, step: Step) -> bool:
    """True when the name was seen to lead here, False when that could not be told. Raises Failure when it does not."""
    try:
        addresses = sorted({str(item[4][0]) for item in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)})
    except OSError as error:
        if isinstance(error, socket.gaierror) and error.errno in _UNKNOWN:
            raise Failure(
                f"{name} does not resolve",
                hint="make an A or AAAA record for it that points to this server, wait, try again",
            ) from None
        step.output(f"{name} could not be looked up from here: {error.strerror or error}")
        return False
    ours, closed = False, None
    for address in addresses:
        where, fault = f"{name} ({address})", None
        try:
            status, body = _get(address, name, f"/.well-known/acme-challenge/{token}")
        except ConnectionRefusedError:
            fault = closed = Failure(
                f"port 80 of {where} is closed", hint="does nginx run? fab health; is it let in? fab firewall"
            )
        except (OSError, http.client.HTTPException) as error:
            step.output(f"{where} could not be asked from here: {error or type(error).__name__}")
            continue
        else:
            if body == token:
                ours = True
                continue
            fault = Failure(
                f"{where} is answered by something other than this server (status {status})",
                hint="check its A and AAAA records and any proxy before this server; --skip-check when that is meant",
            )
        if _behind_a_router(address):
            step.output(f"{fault.cause}, seen from behind a router: the authority will tell")
            closed = None
        elif fault is not closed:
            raise fault  # authorities may come by any of the addresses
    if closed and not ours:
        raise closed
    if closed:
        step.output(closed.cause)  # they try the other address then
    return ours


def _behind_a_router(address: str) -> bool:
    """Is `address` public and this host without a public one of that kind? Then a router stands between, and what it
    answers to its own side (often its own pages, or nothing) says nothing about visitors."""
    wanted = ipaddress.ip_address(address.partition("%")[0])
    if not wanted.is_global:
        return False
    family = socket.AF_INET if wanted.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as unsent:  # only asks the kernel for the way there
            unsent.connect((address, 80))
            return not ipaddress.ip_address(unsent.getsockname()[0]).is_global
    except OSError:
        return True


def _get(address: str, name: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, 80, timeout=_REACH)
    try:
        connection.request("GET", path, headers={"Host": name})
        answer = connection.getresponse()
        return answer.status, answer.read(1024).decode("utf-8", "replace").strip()
    finally:
        connection.close()
