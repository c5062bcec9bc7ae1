"""`fab ssl.status`, `fab ssl.issue` and `fab ssl.renew`."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task

_WAIT = "seconds to wait when something else is running on the host; without it that is exit code 8"
_JSON = "one JSON document at the end; progress goes to stderr"


@host_task(default=True, help={"json": "one JSON document"})
def status(s: Session, json: bool = False) -> Report:
    """Compare the certificate that is served with the one that is stored; exit code 9 when something is wrong.

    Issuer, names, days left, whether it was revoked, when certbot renews it, and whether its timer is alive.
    """
    from tasks.operations import ssl as operation

    return operation.status(s)


@host_task(
    help={
        "force": "also when the present one is good; authorities limit how often that can be done",
        "skip-check": "do not look first whether every name leads to this host",
        "wait": _WAIT,
        "json": _JSON,
    }
)
def issue(s: Session, *, force: bool = False, skip_check: bool = False, wait: int = 0, json: bool = False) -> Report:
    """Get one certificate for every name of the settings (SITE_ALIASES among them), and serve it.

    First every name is asked for at port 80, as the authority will. What is served goes on until the new one is
    accepted by nginx, and is seen to be served. Nothing to do when the present one covers the names. One that the
    current release still serves stays in it; the next deploy takes that out.
    """
    from tasks.operations import ssl as operation

    return operation.issue(s, force=force, check=not skip_check, wait=wait)


@host_task(
    help={
        "force": "although it is not due",
        "dry-run": "try it with the authority's staging environment, the hook included; the certificate stays",
        "wait": _WAIT,
        "json": _JSON,
    }
)
def renew(s: Session, *, force: bool = False, dry_run: bool = False, wait: int = 0, json: bool = False) -> Report:
    """Have certbot renew the certificate when it is due, and serve it. Its timer on the host does that by itself."""
    from tasks.operations import ssl as operation

    return operation.renew(s, force=force, dry_run=dry_run, wait=wait)
