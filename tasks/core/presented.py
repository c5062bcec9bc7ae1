"""The certificate a server presents, read without judging it: also one that nobody would trust."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

_SECONDS = 10.0
_LARGEST = 20 << 20  # bytes of a list of revoked certificates


@dataclass(frozen=True)
class Presented:
    """What was presented.

    Attributes:
        names: the names in it.
        issuer: the common name of who signed it, or its organisation.
        serial: its number, in hexadecimal digits.
        not_before: seconds since the epoch.
        not_after: seconds since the epoch.
        self_signed: whether it is its own issuer.
        revoked: whether its issuer has taken it back; None when that cannot be known.
        key: the kind of its key, such as "EC 256".
        error: one line when there was none.
    """

    names: tuple[str, ...] = ()
    issuer: str = ""
    serial: str = ""
    not_before: float = 0.0
    not_after: float = 0.0
    self_signed: bool = False
    revoked: bool | None = None
    key: str = ""
    error: str = ""


def presented(address: str, port: int, name: str) -> Presented:
    """Fetch the certificate for `name` from `address`; what went wrong is in its `error`."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is looked at, nothing is trusted
    try:
        with (
            socket.create_connection((address, port), _SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            der = secured.getpeercert(binary_form=True) or b""
    except OSError as error:
        return Presented(error=_reason(error))
    return parse(der)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return "TLS is refused: there is no certificate for this name"
    return error.strerror or str(error)


def parse(der: bytes) -> Presented:
    """Read a certificate. An error when it is none."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        found = x509.load_der_x509_certificate(der)
    except ValueError:
        return Presented(error="what is presented is no certificate")
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        listed = tuple(sorted(names.get_values_for_type(x509.DNSName)))
    except x509.ExtensionNotFound:
        listed = ()
    public = found.public_key()
    kind = type(public).__name__
    if isinstance(public, ec.EllipticCurvePublicKey):
        kind = f"EC {public.curve.key_size}"
    elif isinstance(public, rsa.RSAPublicKey):
        kind = f"RSA {public.key_size}"
    return Presented(
        listed, _name(found.issuer), f"{found.serial_number:X}", found.not_valid_before_utc.timestamp(),
        found.not_valid_after_utc.timestamp(), found.issuer == found.subject, _revoked(found), kind,
    )  # fmt: skip


def _name(name: object) -> str:
    from cryptography import x509

    assert isinstance(name, x509.Name)
    for oid in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(oid):
            return str(attribute.value)
    return name.rfc4514_string()


def _revoked(found: object) -> bool | None:
    """Ask the list that the certificate names; authorities have stopped answering for single ones (OCSP)."""
    import requests
    from cryptography import x509

    assert isinstance(found, x509.Certificate)
    try:
        points = found.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return None
    addresses = [name.value for point in points for name in point.full_name or [] if str(name.value).startswith("http")]
    for address in addresses:
        try:
            answer = requests.get(address, timeout=_SECONDS)
            answer.raise_for_status()
            crl = x509.load_der_x509_crl(answer.content[:_LARGEST])
        except (requests.RequestException, ValueError):
            continue
        if crl.issuer == found.issuer:
            return crl.get_revoked_certificate_by_serial_number(found.serial_number) is not None
    return None
