"""The certificate: renewed under load, issued again for other names, and told apart when something is wrong with it."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tasks.core.presented import presented
from tests.e2e.http11 import Site
from tests.e2e.load import undisturbed
from tests.e2e.world import APP, SITE, Project, audit, inside, visit, wait_until
from tests.lab.names import GRAFANA_DOMAIN, address

TLS = f"/opt/{APP}/shared/tls"
LIVE = f"/etc/letsencrypt/live/{APP}"
WWW = f"www.{SITE}"
RELOAD = ("docker", "exec", f"{APP}-nginx-1", "nginx", "-s", "reload", "-c", "/etc/edge/nginx.conf")
BROKEN = f"/opt/{APP}/live/nginx/tls/zz-broken.conf"  # nginx reads every file there


def told(project: Project, *, well: bool) -> dict[str, Any]:
    report: dict[str, Any] = project.json("ssl.status", "-H", "lab", expect=0 if well else 9)
    assert report["ok"] is well
    return report


def serial() -> str:
    """The number of the certificate that visitors get now."""
    found = presented(address(1), 443, SITE)
    assert not found.error, found.error
    return found.serial


def faults(project: Project) -> str:
    return "; ".join(finding["what"] for finding in told(project, well=False)["findings"])


def test_a_renewal_under_load_loses_no_request_and_is_served(ground: Project, site: Site) -> None:
    before = serial()
    with undisturbed(site, rate=100) as load:
        time.sleep(1)
        done = ground.fab("ssl.renew", "-H", "lab", "--force")
        time.sleep(3)
    assert "the renewed certificate is served" in done.stdout
    after = told(ground, well=True)["facts"]["serial"]
    assert after == serial() != before
    stored = inside("openssl", "x509", "-in", f"{TLS}/fullchain.pem", "-noout", "-serial").strip().partition("=")[2]
    assert stored.lstrip("0") == after.lstrip("0")
    assert load.achieved >= 80, load.describe()
    assert audit()[-1]["what"] == "certificate renew"


def test_the_timer_renews_with_the_same_hook(ground: Project) -> None:
    """What certbot's own timer runs, on a certificate that is due."""
    before = serial()
    inside("certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew", "-q")
    assert serial() != before


def test_a_rehearsal_changes_nothing_and_tries_the_hook(ground: Project) -> None:
    before = serial()
    done = ground.fab("ssl.renew", "-H", "lab", "--dry-run")
    assert "a renewal would succeed, and its hook works" in done.stdout
    assert "nginx reloaded" in done.stdout
    assert serial() == before


def test_it_is_not_renewed_before_its_time_nor_issued_twice(ground: Project) -> None:
    before = serial()
    assert "not due yet" in ground.fab("ssl.renew", "-H", "lab").stdout
    assert "nothing to do" in ground.fab("ssl.issue", "-H", "lab").stdout
    assert serial() == before


def test_a_name_that_is_added_or_taken_away_makes_another_certificate(ground: Project) -> None:
    """And on the way: no deploy goes on without the timer that renews."""
    ground.set(SITE_ALIASES=WWW)
    ground.fab(
        "ssl.issue", "-H", "lab"
    )  # first the certificate, then the site: no visitor of the name finds it without
    report = told(ground, well=False)  # the site does not know the name yet
    assert [finding["what"].partition(":")[0] for finding in report["findings"]] == [WWW]
    before = report["facts"]
    assert before["names"] == sorted([SITE, GRAFANA_DOMAIN, WWW])
    inside("systemctl", "mask", "--now", "certbot.timer")
    try:
        assert "timer is masked" in faults(ground)
        done = ground.fab("deploy", "-H", "lab", "--yes", expect=12)
        assert "certbot's timer is masked" in done.stderr
    finally:
        inside("systemctl", "unmask", "certbot.timer")
    ground.fab("deploy", "-H", "lab", "--yes")  # and it is enabled again by the deploy itself
    assert serial() == before["serial"]
    answer = visit(f"https://{WWW}/a?b=c")
    assert (answer.status, answer.headers["location"]) == (308, f"https://{SITE}/a?b=c")
    ground.set(SITE_ALIASES="")
    ground.fab("deploy", "-H", "lab", "--yes")
    assert told(ground, well=True)["facts"]["names"] == sorted([SITE, GRAFANA_DOMAIN])


@contextmanager
def resolves_to(address: str) -> Iterator[None]:
    """The host takes its site for another machine."""
    inside("sh", "-c", f"cp /etc/hosts /etc/hosts.kept && echo '{address} {SITE}' >> /etc/hosts")
    try:
        yield
    finally:
        inside("sh", "-c", "cat /etc/hosts.kept > /etc/hosts && rm /etc/hosts.kept")


def test_a_name_that_leads_elsewhere_is_found_before_the_authority_is_asked(ground: Project) -> None:
    before = serial()
    with resolves_to("172.31.213.3"):  # nobody listens at port 80 there
        done = ground.fab("ssl.issue", "-H", "lab", "--force", expect=12)
    assert f"port 80 of {SITE} (172.31.213.3) is closed" in done.stderr
    assert "letsencrypt" not in done.stderr
    assert serial() == before
    image = inside("docker", "inspect", "-f", "{{.Config.Image}}", f"{APP}-nginx-1").strip()
    inside("docker", "run", "-d", "--name", "other", image)
    try:
        address = inside("docker", "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "other").strip()
        wait_until("a server", lambda: "HTTP/1.1" in inside("curl", "-sI", f"http://{address}/", check=False))
        with resolves_to(address):
            done = ground.fab("ssl.issue", "-H", "lab", "--force", expect=12)
        assert "answered by something other than this server" in done.stderr
    finally:
        inside("docker", "rm", "-f", "other")


def pair(*, names: list[str], start: timedelta, end: timedelta, crl: str = "") -> tuple[bytes, bytes, Any, Any]:
    """A certificate chain and key in PEM, signed by an authority of the moment; and that authority."""
    authority, key, now = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
        datetime.now(UTC),
    )
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority of the moment")])
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([])).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now + start).not_valid_after(now + end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
    )  # fmt: skip
    if crl:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl)], None, None, None)
        made = made.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    signed = made.sign(authority, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return signed.public_bytes(serialization.Encoding.PEM), secret, signed, authority


@contextmanager
def served_instead(chain: bytes, key: bytes) -> Iterator[None]:
    """nginx serves this pair for a while."""
    inside("cp", "-a", TLS, "/root/tls.kept")
    try:
        for name, data in (("privkey.pem", key), ("fullchain.pem", chain)):
            inside("sh", "-c", f"cat > {TLS}/{name}", stdin=data.decode())
        inside(*RELOAD)
        time.sleep(1)
        yield
    finally:
        inside("sh", "-c", f"cp -a /root/tls.kept/. {TLS}/ && rm -rf /root/tls.kept")
        inside(*RELOAD)
        time.sleep(1)


def test_one_that_has_expired_is_said_to_have(ground: Project) -> None:
    chain, key, _, _ = pair(names=[SITE, GRAFANA_DOMAIN], start=timedelta(days=-60), end=timedelta(days=-3))
    with served_instead(chain, key):
        found = faults(ground)
        assert "has expired 3.0 days ago" in found
        assert "certbot's certificate is not the one installed" in found
        ground.fab("ssl.renew", "-H", "lab")  # certbot has a good one
        told(ground, well=True)


def test_one_that_was_revoked_is_said_to_be(ground: Project, tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    address = f"http://127.0.0.1:{server.server_port}/list.crl"
    chain, key, signed, authority = pair(
        names=[SITE, GRAFANA_DOMAIN], start=timedelta(days=-1), end=timedelta(days=40), crl=address
    )
    now = datetime.now(UTC)
    gone = x509.RevokedCertificateBuilder().serial_number(signed.serial_number).revocation_date(now).build()
    crl = (
        x509.CertificateRevocationListBuilder().issuer_name(signed.issuer).last_update(now)
        .next_update(now + timedelta(days=1)).add_revoked_certificate(gone).sign(authority, hashes.SHA256())
    )  # fmt: skip
    content = crl.public_bytes(serialization.Encoding.DER)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_words: object) -> None:
            pass

    server.RequestHandlerClass = Handler
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with served_instead(chain, key):
            assert "has been revoked by its issuer" in faults(ground)
    finally:
        server.shutdown()


def test_one_that_certbot_revoked_is_said_to_be_gone_and_issued_again(ground: Project) -> None:
    """The test authority publishes no list; but certbot lets go of what it revokes, and that is seen."""
    before = serial()
    inside("certbot", "revoke", "--cert-name", APP, "--non-interactive", "--server", "https://lab-pebble:14000/dir")
    report = told(ground, well=False)
    assert [finding["what"] for finding in report["findings"]] == [
        "certbot has no certificate: nothing will be renewed"
    ]
    assert report["facts"]["revoked"] is None
    assert visit(f"https://{SITE}/health").status == 200
    assert "the new certificate is served" in ground.fab("ssl.issue", "-H", "lab").stdout
    assert serial() != before


def test_an_nginx_that_refuses_keeps_the_old_pair_and_goes_on(ground: Project) -> None:
    before = serial()
    inside("sh", "-c", f"echo 'nonsense;' > {BROKEN}")
    try:
        done = ground.fab("ssl.renew", "-H", "lab", "--force", expect=12)
        assert "nginx does not accept the new certificate, the old one is back" in done.stderr
        report = told(ground, well=False)
        assert report["facts"]["serial"] == before
        assert report["facts"]["installed"]["serial"].lstrip("0") == before.lstrip("0")
        assert [finding["what"] for finding in report["findings"]] == [
            "certbot's certificate is not the one installed: the hook has failed"
        ]
        assert visit(f"https://{SITE}/health").status == 200
    finally:
        inside("rm", BROKEN)
    ground.fab("ssl.renew", "-H", "lab")
    assert serial() != before


def test_one_that_is_missing_is_said_to_be_and_what_is_served_goes_on(ground: Project) -> None:
    inside("mv", f"{TLS}/fullchain.pem", "/root/kept.pem")
    try:
        assert "no certificate is installed for nginx" in faults(ground)
        assert visit(f"https://{SITE}/health").status == 200
    finally:
        inside("mv", "/root/kept.pem", f"{TLS}/fullchain.pem")
    told(ground, well=True)


def test_a_key_of_another_certificate_is_not_installed_and_what_is_served_goes_on(ground: Project) -> None:
    before = serial()
    path = inside("readlink", "-f", f"{LIVE}/privkey.pem").strip()
    inside("cp", "-p", path, "/root/kept.key")
    _, key, _, _ = pair(names=[SITE], start=timedelta(days=-1), end=timedelta(days=9))
    try:
        inside("sh", "-c", f"cat > {path}", stdin=key.decode())
        out = inside("env", f"RENEWED_LINEAGE={LIVE}", f"/usr/local/bin/{APP}", "install-certificate", check=False)
        assert "do not belong together" in out
        assert serial() == before
    finally:
        inside("cp", "-p", "/root/kept.key", path)
    told(ground, well=True)
