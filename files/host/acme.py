"""Getting a certificate from an ACME authority with certbot, and saying in one line why it did not come."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from host.config import Config
from host.errors import Failure, one_line
from host.manifest import Settings
from host.process import run

_DEADLINE = 600.0  # seconds for one run of certbot
_TRIES = 3  # runs of it, when all that went wrong is a number used once


def argv(config: Config, settings: Settings, *, force: bool) -> list[str]:
    """The command line that issues or renews the certificate; `force` when the present one is of another authority."""
    account = ["-m", settings.acme_email] if settings.acme_email else ["--register-unsafely-without-email"]
    names = [word for domain in settings.domains for word in ("-d", domain)]
    return [
        "certbot", "certonly", "--webroot", "-w", str(config.webroot), "--server", settings.acme_server,
        "--cert-name", config.app, "--key-type", "ecdsa", *names, "--non-interactive", "--agree-tos", *account,
        "--renew-with-new-domains", "--force-renewal" if force else "--keep-until-expiring",
        "--deploy-hook", hook(config),
    ]  # fmt: skip


def hook(config: Config) -> str:
    """What certbot runs after each issuance; it notes it for renewals."""
    return f"{config.program} install-certificate"


def certbot(
    words: Sequence[str], domains: tuple[str, ...], *, again: str, env: Mapping[str, str] | None = None
) -> None:
    """Run certbot. Raises Failure with the cause; `again` says what to do once that is mended.

    Authorities may refuse a number that they have just given out (badNonce); certbot asks for another one once. Twice
    in a row is no fault of anybody's, and happens: then all of it is tried again.
    """
    for _ in range(_TRIES):
        done = run(words, deadline=_DEADLINE, check=False, env=dict(env or {}))
        said = done.text + done.stderr
        if done.status == 0:
            return
        if "error:badNonce" not in said:
            break
    raise explain(said, domains, again=again)


def server_of(renewal: str) -> str | None:
    """The authority a certbot renewal configuration (its text) names, or None."""
    match = re.search(r"^server\s*=\s*(\S+)\s*$", renewal, re.M)
    return match[1] if match else None


DEPLOY = "run the deploy again"
_DNS = "make an A (or AAAA) record for it that points to this server, wait for it to spread, then {again}"
# What certbot and the authority say -> the cause -> what to do; {name} is the domain, {retry} when to come back,
# {again} what to do then. The first that fits counts.
_RULES = (
    (
        r"rateLimited|too many (?:certificates|failed authorizations|new orders|registrations|currently pending)",
        "the certificate authority limits how often it issues{retry}",
        "{again} after that; try things out with the authority's staging server (ACME_SERVER)",
    ),
    (
        r"invalidEmail|invalidContact|not a valid e-?mail|contact (?:e-?mail )?address|email address is invalid"
        r"|unsupportedContact|is an invalid e-?mail",
        "the certificate authority does not accept the e-mail address",
        "correct ACME_EMAIL in the settings, then {again}",
    ),
    (
        r"CAA record|error:caa",
        "a CAA record of {name} forbids this certificate authority",
        "change the CAA record, then {again}",
    ),
    (
        r"looking up CAA",
        "the name servers of {name} do not answer when asked for CAA records",
        "have whoever runs them mend that (no CAA record is a good answer, an error is none), then {again}",
    ),
    (
        r"--break-my-certs",
        "the present certificate is a real one: certbot does not put one of a staging server in its place",
        "put ACME_SERVER back; try things out on a host or with a name that has none",
    ),
    (
        r"externalAccountRequired|external account binding",
        "this certificate authority wants an account made with it beforehand",
        "use another ACME_SERVER, or register by hand: certbot register --eab-kid ... --eab-hmac-key ...",
    ),
    (
        r"userActionRequired",
        "the certificate authority wants its terms agreed to by a person",
        "read what it says in /var/log/letsencrypt/letsencrypt.log",
    ),
    (
        r"error:accountDoesNotExist|Account is not valid|error:unauthorized :: .*account",
        "the certificate authority does not know this host's account any more",
        "certbot unregister --server ACME_SERVER, then {again}",
    ),
    (
        r"No space left on device",
        "no space is left on the disk",
        "free some: docker system df; then {again}",
    ),
    (
        r"NXDOMAIN|no valid A(?:AAA)? records|DNS problem|error:dns|No such host|looking up A",
        "{name} does not resolve",
        _DNS,
    ),
    (
        r"Timeout during connect|likely firewall problem|error:connection|Fetching \S+: (?:Connection|Timeout|Error)",
        "port 80 of {name} cannot be reached by the certificate authority",
        "check that {name} points to this server and that port 80 is open (fab firewall), then {again}",
    ),
    (
        r"Invalid response from|error:unauthorized|did not match this challenge",
        "{name} is answered by something other than this server",
        "check its A and AAAA records and any proxy before this server, then {again}",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "the certificate authority's own certificate is not trusted here",
        "set TRUSTED_CA_FILE and run fab setup",
    ),
    (
        r"Max retries exceeded|NewConnectionError|Temporary failure in name|Network is unreachable|Name or service not",
        "the certificate authority cannot be reached from this host",
        "check ACME_SERVER and the host's network, then {again}",
    ),
    (
        r"error:serverInternal|Service Unavailable|down for maintenance|error:badNonce",
        "the certificate authority has a problem of its own",
        "wait a while, then {again}",
    ),
    (
        r"rejectedIdentifier|policy forbids issuing",
        "the certificate authority refuses {name} by policy",
        "use a public domain name of your own",
    ),
    (
        r"Another instance of Certbot is already running",
        "certbot is already running",
        "wait a minute, then {again}",
    ),
)


_TALK = r"(Saving debug log|Ask for help|See the logfile|Some challenges|\d+ renew failure|- - -)"


def explain(output: str, domains: tuple[str, ...], *, again: str = DEPLOY) -> Failure:
    """Why certbot failed, from its whole output."""
    named = re.search(r"Domain:\s*(\S+)", output)
    name = named[1] if named else next((d for d in domains if d in output), domains[0] if domains else "the domain")
    later = re.search(r"retry after (\d{4}-\d\d-\d\d[ T][\d:]+\d(?: ?UTC|Z)?)", output)
    detail = re.search(r"Detail:\s*(.+)", output)
    for pattern, cause, hint in _RULES:
        if re.search(pattern, output, re.I):
            said = cause.format(name=name, retry=f" until {later[1].strip()}" if later else "")
            return Failure(
                f"no certificate: {said}",
                hint=hint.format(name=name, again=again),
                data={"detail": one_line(detail[1]) if detail else ""},
            )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if not re.match(_TALK, line)]
    named = re.search(r"Failed to renew certificate \S+ with error: (.+)", output)
    said = detail[1] if detail else named[1] if named else (telling or ["certbot failed"])[-1]
    return Failure(
        f"no certificate: {one_line(said)}",
        hint=f"read /var/log/letsencrypt/letsencrypt.log, then {again}",
    )
