"""The certificate: what is installed, when a new one is needed, and putting it where nginx reads it."""

from __future__ import annotations

import calendar
import fcntl
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host import acme, compose, durable, health, live, releases
from host.config import Config
from host.errors import Failure, from_os_error
from host.events import Step
from host.manifest import Manifest, Service
from host.process import run

EDGE = "nginx"  # the service that reads the certificate
RELEASE_VARIABLE = "HOST_RELEASE"  # tells the deploy hook which release is being applied
_SERVED = 15.0  # seconds until the workers of a reloaded nginx answer
# what `openssl x509 -text` leaves out, so that the key remains
_KEY_ALONE = (
    "no_header,no_version,no_serial,no_signame,no_validity,no_subject,no_issuer,no_sigdump,no_aux,no_extensions"
)


def installed(config: Config) -> bool:
    """Is there a certificate and a key where nginx reads them?"""
    return (config.tls / "fullchain.pem").is_file() and (config.tls / "privkey.pem").is_file()


def facts(path: Path) -> dict[str, Any] | None:
    """{"names", "not_before", "not_after" (unix), "issuer", "serial", "key"} of a file, None without a certificate."""
    if not path.is_file():
        return None
    done = run(
        ["openssl", "x509", "-in", str(path), "-noout", "-startdate", "-enddate", "-serial", "-issuer",
         "-nameopt", "RFC2253", "-ext", "subjectAltName", "-text", "-certopt", _KEY_ALONE],
        deadline=20, check=False,
    )  # fmt: skip
    return parse_facts(done.text) if done.status == 0 else None


def parse_facts(text: str) -> dict[str, Any] | None:
    """The facts in the output of `openssl x509`, None when it holds no dates."""
    fields = dict(re.findall(r"^(notBefore|notAfter|serial|issuer)=(.*)$", text, re.M))
    if "notAfter" not in fields:
        return None
    return {
        "names": sorted(set(re.findall(r"DNS:([^,\s]+)", text))),
        "not_before": _unix(fields["notBefore"]) if "notBefore" in fields else None,
        "not_after": _unix(fields["notAfter"]),
        "issuer": fields.get("issuer", "").strip(),
        "serial": fields.get("serial", "").strip(),
        "key": _key(text),
    }


def _key(text: str) -> str:
    """The kind of key in the output of `openssl x509 -text`, such as "EC 256"; "" when it does not say."""
    kind, size = re.search(r"Public Key Algorithm: (\S+)", text), re.search(r"Public-Key: \((\d+) bit\)", text)
    if kind is None or size is None:
        return ""
    short = {"id-ecPublicKey": "EC", "rsaEncryption": "RSA"}
    return f"{short.get(kind[1], kind[1])} {size[1]}"


def _unix(text: str) -> int:
    return calendar.timegm(time.strptime(text.strip(), "%b %d %H:%M:%S %Y GMT"))


def lineage(config: Config) -> Path:
    """Where certbot keeps the certificate of this application."""
    return config.letsencrypt / "live" / config.app


def authority(config: Config) -> str | None:
    """The ACME server the present certificate comes from, None when certbot has none."""
    try:
        return acme.server_of((config.letsencrypt / "renewal" / f"{config.app}.conf").read_text())
    except OSError:
        return None


def needed(config: Config, manifest: Manifest, now: float) -> str:
    """Why certbot has to run, "" when it does not."""
    found = facts(config.tls / "fullchain.pem")
    settings = manifest.settings
    if found is None or not installed(config):
        return "there is no certificate yet"
    lacking = sorted(set(settings.domains) - set(found["names"]))
    if lacking:
        return f"it does not cover {', '.join(lacking)}"
    surplus = sorted(set(found["names"]) - set(settings.domains))
    if surplus:
        return f"it still covers {', '.join(surplus)}"
    if found["not_after"] < now:
        return "it has expired"
    if not (lineage(config) / "fullchain.pem").is_file():
        return "certbot has none (revoked or deleted), so nothing would renew it"
    before = authority(config)
    if before is not None and before != settings.acme_server:
        return f"it comes from another authority ({before})"
    return ""


def obtain(config: Config, manifest: Manifest, step: Step, *, force: bool = False, again: str = acme.DEPLOY) -> None:
    """Run certbot and install what it got; `force` also when it has a good one. Raises Failure with the cause."""
    settings = manifest.settings
    before = authority(config)
    words = acme.argv(config, settings, force=force or (before is not None and before != settings.acme_server))
    acme.certbot(words, settings.domains, again=again, env={RELEASE_VARIABLE: manifest.release})
    # certbot before 5.3 does not run directory hooks at first issuance, and no hook when it kept the certificate.
    exchange(config, manifest, lineage(config))
    found = facts(config.tls / "fullchain.pem") or {}
    step.done(f"certificate for {', '.join(found.get('names', []))} installed", certificate=found)


def _edge(manifest: Manifest) -> Service | None:
    return manifest.services.get(EDGE)


def install(config: Config, manifest: Manifest, source: Path) -> bool:
    """Copy certificate and key of certbot's directory `source` to shared/tls; True when that changed anything."""
    try:
        chain, key = (source / "fullchain.pem").read_bytes(), (source / "privkey.pem").read_bytes()
    except OSError as error:
        raise from_os_error(error, "reading the certificate that certbot made") from error
    _check_pair(source)
    edge = _edge(manifest)
    group = edge.owner[1] if edge and edge.owner else 0
    owner = (0, group) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    changed = False
    try:
        # The key first: whoever reads between the two renames must not find a new certificate without its key.
        for name, data, mode, who in (("privkey.pem", key, 0o640, owner), ("fullchain.pem", chain, 0o644, None)):
            target = config.tls / name
            if not target.is_file() or target.read_bytes() != data or target.stat().st_mode & 0o777 != mode:
                durable.write(target, data, mode, who)
                changed = True
        durable.sync_directory(config.tls)
    except OSError as error:
        raise from_os_error(error, "installing the certificate") from error
    return changed


def exchange(config: Config, manifest: Manifest, source: Path) -> bool:
    """As `install`, and the old pair comes back when nginx does not accept the new one: what is served goes on."""
    old = {name: _bytes(config.tls / name) for name in ("privkey.pem", "fullchain.pem")}
    modes = {name: (config.tls / name).stat() for name, data in old.items() if data is not None}
    changed = install(config, manifest, source)
    if not changed:
        return False
    try:
        _accepted(config, manifest)
    except Failure:
        for name, data in old.items():
            if data is not None:
                durable.write(
                    config.tls / name, data, modes[name].st_mode & 0o777, (modes[name].st_uid, modes[name].st_gid)
                )
        raise
    return True


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def is_pair(folder: Path) -> bool:
    """Do the certificate and the key in `folder` belong together?"""
    try:
        _check_pair(folder)
    except Failure:
        return False
    return True


def _check_pair(source: Path) -> None:
    public = run(
        ["openssl", "x509", "-in", str(source / "fullchain.pem"), "-noout", "-pubkey"], deadline=20, check=False
    )
    private = run(["openssl", "pkey", "-in", str(source / "privkey.pem"), "-pubout"], deadline=20, check=False)
    if public.status or private.status or public.stdout.strip() != private.stdout.strip():
        raise Failure(
            f"certificate and key in {source} do not belong together", hint="certbot certificates; fab ssl.issue"
        )


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Not the big lock: certbot calls the hook while `apply` holds that one."""
    config.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(config.run / "certificate.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def deploy_hook(config: Config, environment: dict[str, str]) -> str:
    """What certbot calls after each issuance: install, check, reload. Returns what was done, in one line."""
    source = Path(environment.get("RENEWED_LINEAGE") or lineage(config))
    if source.name != config.app:
        return f"{source.name} is not the certificate of {config.app}: nothing to do"
    release = releases.load(config, environment.get(RELEASE_VARIABLE) or "current")
    with _alone(config):
        config.prepare()
        changed = exchange(config, release.manifest, source)
        reloaded = reload_edge(config, release.manifest) + confirm_served(config, release.manifest)
    return f"certificate {'installed' if changed else 'was installed already'}, {reloaded}"


def put_to_use(config: Config, manifest: Manifest, step: Step, *, reload: bool = False) -> None:
    """Have nginx serve what certbot has; with `reload` it is told to read its files also when it serves that already.

    Raises Failure when it does not.
    """
    with _alone(config):
        changed = exchange(config, manifest, lineage(config))
        if not changed and not reload and serves(config, manifest) is not False:
            step.skip("it is what nginx serves")
            return
        told = reload_edge(config, manifest) + confirm_served(config, manifest)
    step.done(f"{'installed, ' if changed else ''}{told}")


def _presented(address: str, name: str) -> bytes | None:
    """The certificate (DER) that is presented for `name`, b"" when the handshake fails; None when nobody listens."""
    context = ssl.create_default_context()  # which one it is, is the question, not whether it is trusted
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, 443), 5) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            return tls.getpeercert(binary_form=True) or b""
    except ConnectionRefusedError:
        return None
    except OSError:
        return b""


def serves(config: Config, manifest: Manifest) -> bool | None:
    """Does nginx present the installed certificate? None when there is nobody to ask: it does not run or listen, or
    TLS is not set up yet."""
    domains = manifest.settings.domains
    nginx = health.of_service(compose.containers(config), EDGE)
    address = next(iter(nginx.addresses.values()), "") if nginx and nginx.state == "running" else ""
    if not (address and domains and installed(config) and any((config.live / live.TLS).glob("*"))):
        return None
    now = _presented(address, domains[0])
    if now is None:
        return None
    first = re.search(
        r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", _text(config.tls / "fullchain.pem"), re.S
    )
    return bool(first and ssl.PEM_cert_to_DER_cert(first[0]) == now)


def _text(path: Path) -> str:
    return (_bytes(path) or b"").decode("ascii", "replace")


def confirm_served(config: Config, manifest: Manifest) -> str:
    """Return when nginx presents the installed certificate: ", and served", or "" when there is nobody to ask.

    Raises Failure when it goes on with another one, or with none.
    """
    ends = time.monotonic() + _SERVED  # the old workers may take a connection or two while the new ones start
    while (found := serves(config, manifest)) is False:
        if time.monotonic() > ends:
            raise Failure(
                "nginx was told to reload and does not serve the new certificate",
                hint="read its log: docker logs nginx",
            )
        time.sleep(0.2)
    return ", and served" if found else ""


def _accepted(config: Config, manifest: Manifest) -> None:
    """Raise Failure unless the running nginx accepts the files as they are now."""
    edge = _edge(manifest)
    container = health.of_service(compose.containers(config), EDGE)
    if edge is None or container is None or container.state != "running" or not edge.check:
        return
    done = run(["docker", "exec", container.id, *edge.check], deadline=60, check=False)
    if done.status != 0:
        raise Failure(
            f"nginx does not accept the new certificate, the old one is back: {done.last_line}",
            hint=f"docker logs {container.name}",
            data={"log": done.stderr.splitlines()[-20:]},
        )


def reload_edge(config: Config, manifest: Manifest) -> str:
    """Have the running nginx check its configuration and read its files again. Raises Failure when it refuses."""
    edge = _edge(manifest)
    container = health.of_service(compose.containers(config), EDGE)
    if edge is None or container is None or container.state != "running":
        return "nginx is not running"
    execute = ["docker", "exec", container.id]
    for words, what in ((edge.check, "does not accept its configuration"), (edge.reload, "could not be reloaded")):
        if not words:
            continue
        done = run([*execute, *words], deadline=60, check=False)
        if done.status != 0:
            raise Failure(
                f"nginx {what}: {done.last_line}",
                hint=f"docker logs {container.name}",
                data={"log": done.stderr.splitlines()[-20:]},
            )
    return f"nginx reloaded at {time.strftime('%H:%M:%S UTC', time.gmtime())}"
