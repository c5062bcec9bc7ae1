"""`fab trust`: pin a host's key, once, with a person or a known fingerprint to vouch for it."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from tasks.core.errors import HostKeyError, UsageError
from tasks.core.task import Report, host_task

if TYPE_CHECKING:
    from tasks.core.session import Session


@host_task(
    help={
        "yes": "Accept the key that is shown without asking.",
        "fingerprint": "Accept the key only if its fingerprint is this one (SHA256:...), without asking.",
        "json": "Print the key as JSON.",
    }
)
def trust(s: Session, yes: bool = False, fingerprint: str = "", json: bool = False) -> Report:
    """Fetch the host's key, show its fingerprint and remember it in .fab/known_hosts. A known key is never replaced."""
    from tasks.core.connect import fetch_host_key
    from tasks.core.hostkeys import KnownHosts, Verdict, check
    from tasks.core.truststore import remember

    if fingerprint and not fingerprint.startswith("SHA256:"):
        raise UsageError(f"{fingerprint!r} is not a fingerprint", host=s.name, hint="--fingerprint SHA256:...")
    hop = s.target.hop
    key = fetch_host_key(s.target, s.credentials)
    known = KnownHosts.load(hop.known_hosts)
    verdict, entry = known.judge(hop.key_name, key)
    shown = f"{hop.key_name} {key.family} {key.fingerprint}"
    data = {"host": s.name, "name": hop.key_name, "type": key.kind, "fingerprint": key.fingerprint}
    if fingerprint and not hmac.compare_digest(fingerprint.rstrip("="), key.fingerprint):
        raise HostKeyError(
            f"the host shows {shown}, not {fingerprint}",
            host=s.name,
            hint="ask who gave you the fingerprint; on the host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )
    if verdict is Verdict.TRUSTED and entry:
        return Report({**data, "added": False}, f"already trusted: {shown} ({entry.place})")
    if verdict is not Verdict.UNKNOWN:
        check(hop.key_name, key, known, alias=s.name)
    s.out.info(shown)
    if not fingerprint and not yes and not s.out.confirm("Is that the fingerprint of the host's own key?"):
        raise HostKeyError("not trusted", host=s.name, hint="nothing was written")
    remember(s.target.trust_file, hop.key_name, key)
    return Report({**data, "added": True}, f"trusted: {shown} ({s.target.trust_file})")
