"""Looking at a site as a visitor does: against a real HTTPS server on loopback, under a name no DNS knows."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tasks.core.visit import Visitor

NAME = "shop.test"


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = 503 if self.path == "/down" else 308 if self.path == "/moved" else 200
        self.send_response(status)
        self.send_header("X-Host", self.headers["Host"])
        if status == 308:
            self.send_header("Location", f"https://{NAME}/")
        self.end_headers()
        self.wfile.write("é ok".encode())

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


def _certificate(directory: Path, *, ends: timedelta = timedelta(days=30)) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    (directory / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def _serve(certificate: Path) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def site(tmp_path: Path) -> Iterator[int]:
    server = _serve(_certificate(tmp_path))
    yield server.server_address[1]
    server.shutdown()


def test_another_address_is_asked_under_the_sites_own_name(site: int, tmp_path: Path) -> None:
    answer = Visitor("127.0.0.1", tmp_path / "ca.pem").get(f"https://{NAME}:{site}/")
    assert (answer.status, answer.body, answer.error) == (200, "é ok", "")
    assert answer.headers["x-host"].split(":")[0] == NAME


def test_redirects_are_told_and_not_followed(site: int, tmp_path: Path) -> None:
    answer = Visitor("127.0.0.1", tmp_path / "ca.pem").get(f"https://{NAME}:{site}/moved")
    assert (answer.status, answer.headers["location"]) == (308, f"https://{NAME}/")


def test_a_certificate_for_another_name_is_refused(site: int, tmp_path: Path) -> None:
    visitor = Visitor("127.0.0.1", tmp_path / "ca.pem")
    answer = visitor.get(f"https://other.test:{site}/")
    assert answer.status == 0
    assert "certificate" in answer.error
    assert "certificate" in visitor.certificate("other.test", site).error


def test_a_certificate_of_an_unknown_authority_is_refused(site: int) -> None:
    answer = Visitor("127.0.0.1").get(f"https://{NAME}:{site}/")
    assert answer.status == 0
    assert "certificate refused" in answer.error


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    server = _serve(_certificate(tmp_path, ends=timedelta(days=-1)))
    served = Visitor("127.0.0.1", tmp_path / "ca.pem").certificate(NAME, server.server_address[1])
    server.shutdown()
    assert "expired" in served.error


def test_the_life_and_the_issuer_of_a_certificate_are_told(site: int, tmp_path: Path) -> None:
    served = Visitor("127.0.0.1", tmp_path / "ca.pem").certificate(NAME, site)
    assert served.error == ""
    assert served.issuer == "Test authority"
    assert 89 < (served.not_after - served.not_before) / 86400 < 91


def test_a_closed_port_is_one_line(tmp_path: Path) -> None:
    answer = Visitor("127.0.0.1").get(f"https://{NAME}:1/")
    assert answer.status == 0
    assert answer.error == "Connection refused"


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        answer = Visitor("127.0.0.1", timeout=0.5).get(f"http://{NAME}:{mute.getsockname()[1]}/")
    assert answer.error == "no answer in time"


def test_a_name_that_does_not_resolve_is_one_line() -> None:
    answer = Visitor(timeout=2).get("http://no-such-host.invalid/")
    assert answer.status == 0
    assert "\n" not in answer.error
    assert answer.error
