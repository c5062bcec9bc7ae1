"""Exits non-zero unless the file is an armoured OpenPGP key, exactly one, with the given fingerprint. No gpg needed."""

import base64
import hashlib
import sys
from collections.abc import Iterator

PUBLIC_KEY, PUBLIC_SUBKEY, USER_ID, SIGNATURE = 6, 14, 13, 2


def dearmour(text: str) -> bytes:
    """The bytes of the one armoured block in the text."""
    begin, end = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError("not one armoured public key")
    lines = text.partition(begin)[2].partition(end)[0].replace("\r", "").split("\n")
    body = lines[lines.index("", 1) + 1 :]  # headers end at the first empty line
    return base64.b64decode("".join(line for line in body if not line.startswith("=")), validate=True)


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of every packet. Partial and indeterminate lengths never occur in keys."""
    at = 0
    while at < len(data):
        header = data[at]
        at += 1
        if not header & 0x80:
            raise ValueError("not an OpenPGP packet")
        if header & 0x40:
            tag, first = header & 0x3F, data[at]
            if first < 192:
                width, length = 1, first
            elif first < 224:
                width, length = 2, ((first - 192) << 8) + data[at + 1] + 192
            elif first == 255:
                width, length = 5, int.from_bytes(data[at + 1 : at + 5], "big")
            else:
                raise ValueError("a partial length")
        else:
            tag, kind = header >> 2 & 0x0F, header & 0x03
            if kind == 3:
                raise ValueError("an indeterminate length")
            width = 1 << kind
            length = int.from_bytes(data[at : at + width], "big")
        at += width
        if at + length > len(data):
            raise ValueError("cut off")
        yield tag, data[at : at + length]
        at += length


def fingerprint(data: bytes) -> str:
    """The fingerprint of the only primary key, a version 4 one, in upper case hexadecimal digits."""
    keys = [body for tag, body in packets(data) if tag == PUBLIC_KEY]
    if len(keys) != 1 or keys[0][:1] != b"\x04":
        raise ValueError("not exactly one version 4 key")
    body = keys[0]
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()


def main(path: str, expected: str) -> str | None:
    """None when the key in the file is the expected one, else what is wrong."""
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123
            found = fingerprint(dearmour(file.read()))
    except (ValueError, IndexError) as error:
        return f"the file fetched as Docker's key is no key: {error}"
    return None if found == expected else f"the key fetched as Docker's has the fingerprint {found}, not {expected}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
