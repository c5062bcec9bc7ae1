"""known_hosts is read as OpenSSH reads it."""

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from tasks.core.errors import HostKeyError
from tasks.core.hostkeys import HostKey, KnownHosts, Verdict, check, parse

FILE = Path("/k")
KEY = HostKey("ssh-ed25519", b"key one")
OTHER = HostKey("ssh-ed25519", b"key two")
RSA = HostKey("ssh-rsa", b"key three")


def _line(names: str, key: HostKey, marker: str = "") -> str:
    return f"{marker + ' ' if marker else ''}{names} {key.kind} {base64.b64encode(key.blob).decode()} a comment\n"


def _hashed(name: str) -> str:
    salt = bytes(range(20))
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def _known(*lines: str) -> KnownHosts:
    return KnownHosts(parse("".join(lines), FILE))


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ("vps", "vps"),
        ("VPS.Example.com", "vps.example.com"),
        ("other,vps", "vps"),
        ("*.example.com", "vps.example.com"),
        ("vps?", "vps1"),
        ("[vps]:2222", "[vps]:2222"),
        ("[*.example.com]:2222", "[a.example.com]:2222"),
        (_hashed("vps"), "vps"),
        (_hashed("[vps]:2222"), "[vps]:2222"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_a_line_speaks_of_the_host(names: str, name: str) -> None:
    assert _known(_line(names, KEY)).judge(name, KEY)[0] is Verdict.TRUSTED


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ("vps", "vps2"),
        ("vps", "[vps]:2222"),
        ("[vps]:2222", "vps"),
        ("[vps]:2222", "[vps]:2223"),
        ("*.example.com,!bad.example.com", "bad.example.com"),
        ("[a-z]", "b"),
        ("v.s", "vps"),
        (_hashed("vps"), "vps2"),
        ("|1|broken|hash", "vps"),
        ("|1|x", "vps"),
    ],
)
def test_a_line_does_not_speak_of_another_host(names: str, name: str) -> None:
    assert _known(_line(names, KEY)).judge(name, KEY)[0] is Verdict.UNKNOWN


def test_another_key_is_a_change_that_names_the_line_of_the_same_type() -> None:
    verdict, entry = _known("# comment\n\n", _line("vps", RSA), _line("vps", OTHER)).judge("vps", KEY)
    assert verdict is Verdict.CHANGED
    assert entry
    assert entry.place == "/k:4"


def test_a_new_type_of_key_on_a_known_host_is_a_change() -> None:
    assert _known(_line("vps", RSA)).judge("vps", KEY)[0] is Verdict.CHANGED


def test_one_of_several_known_keys_is_enough() -> None:
    assert _known(_line("vps", OTHER), _line("vps", KEY)).judge("vps", KEY)[0] is Verdict.TRUSTED


def test_a_revoked_key_beats_a_trusted_one() -> None:
    known = _known(_line("vps", KEY), _line("*", KEY, "@revoked"))
    assert known.judge("vps", KEY)[0] is Verdict.REVOKED
    assert known.judge("vps", OTHER)[0] is Verdict.CHANGED


def test_a_certificate_authority_vouches_for_no_plain_key() -> None:
    assert _known(_line("*", KEY, "@cert-authority")).judge("vps", KEY)[0] is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "text", ["\n", "# x\n", "vps\n", "vps ssh-rsa\n", "vps ssh-rsa !!!\n", "@what vps ssh-rsa AAAA\n"]
)
def test_lines_nobody_can_read_are_passed_over(text: str) -> None:
    assert parse(text, FILE) == []


def test_the_key_type_that_is_known_is_asked_for_first() -> None:
    supported = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"]
    known = _known(_line("vps", RSA))
    assert known.signature_preference("vps", supported)[:2] == ["rsa-sha2-512", "rsa-sha2-256"]
    assert known.signature_preference("other", supported) == supported


def test_the_fingerprint_is_the_one_ssh_keygen_prints() -> None:
    digest = base64.b64encode(hashlib.sha256(KEY.blob).digest()).decode().rstrip("=")
    assert KEY.fingerprint == f"SHA256:{digest}"
    assert (KEY.family, RSA.family, HostKey("ecdsa-sha2-nistp256", b"").family) == ("ED25519", "RSA", "ECDSA")


def test_files_that_are_not_there_are_no_hindrance_and_unreadable_ones_are(tmp_path: Path) -> None:
    assert KnownHosts.load([tmp_path / "none"]).judge("vps", KEY)[0] is Verdict.UNKNOWN
    with pytest.raises(HostKeyError, match="cannot be read"):
        KnownHosts.load([tmp_path])


def test_a_trusted_key_passes_and_the_others_say_what_to_type() -> None:
    check("vps", KEY, _known(_line("vps", KEY)), alias="vps")
    with pytest.raises(HostKeyError, match="fab trust -H web"):
        check("vps", KEY, _known(), alias="web")
    with pytest.raises(HostKeyError, match="remove line 1 of /k, then fab trust -H web"):
        check("vps", KEY, _known(_line("vps", OTHER)), alias="web")
    with pytest.raises(HostKeyError, match="revoked: ED25519"):
        check("vps", KEY, _known(_line("vps", KEY, "@revoked")), alias="web")
