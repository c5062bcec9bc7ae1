"""Reading a certificate without judging it."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tasks.core import presented

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def certificate(crl: str = "", issuer: str = "An Authority") -> tuple[x509.Certificate, Any]:
    authority = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    made = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(name)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key()).serial_number(0xABC)
        .not_valid_before(NOW).not_valid_after(NOW + timedelta(days=45))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("b.test"), x509.DNSName("a.test")]), critical=True)
    )  # fmt: skip
    if crl:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl)], None, None, None)
        made = made.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    return made.sign(authority, hashes.SHA256()), authority


def der(found: x509.Certificate) -> bytes:
    return found.public_bytes(serialization.Encoding.DER)


def test_it_is_read_as_it_stands() -> None:
    found = presented.parse(der(certificate()[0]))
    assert (found.names, found.issuer, found.serial, found.key) == (
        ("a.test", "b.test"),
        "An Authority",
        "ABC",
        "EC 256",
    )
    assert found.not_after - found.not_before == 45 * 86400
    assert found.self_signed is False
    assert found.revoked is None, "it names no list"


@pytest.mark.parametrize(("serial", "revoked"), [(0xABC, True), (0xDEF, False)])
def test_the_list_it_names_is_asked(monkeypatch: pytest.MonkeyPatch, serial: int, revoked: bool) -> None:
    import requests

    found, authority = certificate("http://crl.test/list")
    gone = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()
    made = x509.CertificateRevocationListBuilder().issuer_name(found.issuer).last_update(NOW)
    crl = made.next_update(NOW + timedelta(days=1)).add_revoked_certificate(gone).sign(authority, hashes.SHA256())

    class Answer:
        content = crl.public_bytes(serialization.Encoding.DER)

        def raise_for_status(self) -> None:
            pass

    monkeypatch.setattr(requests, "get", lambda url, timeout: Answer())
    assert presented.parse(der(found)).revoked is revoked


def test_a_list_that_cannot_be_had_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def refuse(url: str, timeout: float) -> None:
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "get", refuse)
    assert presented.parse(der(certificate("http://crl.test/list")[0])).revoked is None


def test_what_is_no_certificate_and_who_does_not_answer_are_errors() -> None:
    assert presented.parse(b"nonsense").error == "what is presented is no certificate"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert "refused" in presented.presented("127.0.0.1", closed.getsockname()[1], "a.test").error
