"""Getting a certificate from an ACME authority with certbot, and saying in one line why it did not come."""

from __future__ import annotations

import re

from host.config import Config
from host.errors import Failure, one_line
from host.manifest import Settings

DEADLINE = 600.0  # seconds for one run of certbot


def argv(config: Config, settings: Settings, *, force: bool) -> list[str]:
    """The command line that issues or renews the certificate; `force` when the present one is of another authority."""
    account = ["-m", settings.acme_email] if settings.acme_email else ["--register-unsafely-without-email"]
    names = [word for domain in settings.domains for word in ("-d", domain)]
    return [
        "certbot", "certonly", "--webroot", "-w", str(config.webroot), "--server", settings.acme_server,
        "--cert-name", config.app, "--key-type", "ecdsa", *names, "--non-interactive", "--agree-tos", *account,
        "--renew-with-new-domains", "--force-renewal" if force else "--keep-until-expiring",
        "--deploy-hook", f"{config.program} install-certificate",
    ]  # fmt: skip


def server_of(renewal: str) -> str | None:
    """The authority a certbot renewal configuration (its text) names, or None."""
    match = re.search(r"^server\s*=\s*(\S+)\s*$", renewal, re.M)
    return match[1] if match else None


_DNS = "make an A (or AAAA) record for it that points to this server, wait for it to spread, then run the deploy again"
# What certbot and the authority say -> the cause -> what to do; {name} is the domain, {retry} when to come back.
_RULES = (
    (
        r"rateLimited|too many (?:certificates|failed authorizations|new orders|registrations|currently pending)",
        "the certificate authority limits how often it issues{retry}",
        "run the deploy again after that; try things out with the authority's staging server (ACME_SERVER)",
    ),
    (
        r"invalidEmail|invalidContact|not a valid e-?mail|contact (?:e-?mail )?address|email address is invalid",
        "the certificate authority does not accept the e-mail address",
        "correct ACME_EMAIL in the settings, then run the deploy again",
    ),
    (
        r"CAA record|error:caa",
        "a CAA record of {name} forbids this certificate authority",
        "change the CAA record, then run the deploy again",
    ),
    (
        r"NXDOMAIN|no valid A(?:AAA)? records|DNS problem|error:dns|No such host|looking up A",
        "{name} does not resolve",
        _DNS,
    ),
    (
        r"Timeout during connect|likely firewall problem|error:connection|Fetching \S+: (?:Connection|Timeout|Error)",
        "port 80 of {name} cannot be reached by the certificate authority",
        "check that {name} points to this server and that port 80 is open (fab firewall), then run the deploy again",
    ),
    (
        r"Invalid response from|error:unauthorized|did not match this challenge",
        "{name} is answered by something other than this server",
        "check its A and AAAA records and any proxy before this server, then run the deploy again",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "the certificate authority's own certificate is not trusted here",
        "set TRUSTED_CA_FILE and run fab setup",
    ),
    (
        r"Max retries exceeded|NewConnectionError|Temporary failure in name|Network is unreachable|Name or service not",
        "the certificate authority cannot be reached from this host",
        "check ACME_SERVER and the host's network, then run the deploy again",
    ),
    (
        r"rejectedIdentifier|policy forbids issuing",
        "the certificate authority refuses {name} by policy",
        "use a public domain name of your own",
    ),
    (
        r"Another instance of Certbot is already running",
        "certbot is already running",
        "wait a minute, then run the deploy again",
    ),
)


def explain(output: str, domains: tuple[str, ...]) -> Failure:
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
                hint=hint.format(name=name),
                data={"detail": one_line(detail[1]) if detail else ""},
            )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [
        line for line in lines if not re.match(r"(Saving debug log|Ask for help|See the logfile|Some challenges)", line)
    ]
    return Failure(
        f"no certificate: {one_line(detail[1] if detail else (telling or ['certbot failed'])[-1])}",
        hint="read /var/log/letsencrypt/letsencrypt.log, then run the deploy again",
    )
