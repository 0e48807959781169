"""Certificates that no builder makes: a good one taken apart, changed, and signed again by its CA."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, KEY = range(1, 7)
"""Where the parts of a version 3 certificate stand; 0 is the version, the last one the extensions."""

SHA1_ECDSA = bytes.fromhex("300906072a8648ce3d0401")
SHA256_ECDSA = bytes.fromhex("300a06082a8648ce3d040302")


Change = Callable[[list[bytes]], None]
"""What is done to the parts of a certificate before it is signed again."""


def tlv(tag: int, *content: bytes) -> bytes:
    """One DER element."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def parts(element: bytes) -> list[bytes]:
    """The elements within a constructed element."""
    _, body = _split(element)
    found = []
    while body:
        size = _size(body)
        found.append(body[:size])
        body = body[size:]
    return found


def operated(
    der: bytes,
    key: ec.EllipticCurvePrivateKey,
    change: Change,
    *,
    outer: bytes = SHA256_ECDSA,
    hash_: hashes.HashAlgorithm | None = None,
) -> bytes:
    """A certificate whose parts `change` changed, signed by `key`; `outer`: the algorithm outside of them."""
    found = parts(x509.load_der_x509_certificate(der).tbs_certificate_bytes)
    change(found)
    tbs = tlv(0x30, *found)
    signature = key.sign(tbs, ec.ECDSA(hash_ or hashes.SHA256()))
    return tlv(0x30, tbs, outer, tlv(0x03, b"\x00", signature))


def explicit_p256(spki: bytes) -> bytes:
    """A P-256 key whose curve is written out as parameters (CVE-2020-0601), in the place of its name."""
    numbers = {
        "p": "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        "a": "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
        "b": "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
        "n": "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    }
    raw = {name: bytes.fromhex(value) for name, value in numbers.items()}
    base = bytes.fromhex(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    parameters = tlv(
        0x30,
        b"\x02\x01\x01",
        tlv(0x30, bytes.fromhex("06072a8648ce3d0101"), tlv(0x02, b"\x00" + raw["p"])),
        tlv(0x30, tlv(0x04, raw["a"]), tlv(0x04, raw["b"])),
        tlv(0x04, base),
        tlv(0x02, b"\x00" + raw["n"]),
        b"\x02\x01\x01",
    )
    return tlv(0x30, tlv(0x30, bytes.fromhex("06072a8648ce3d0201"), parameters), parts(spki)[1])


def _split(element: bytes) -> tuple[int, bytes]:
    size = element[1]
    start = 2 if size < 0x80 else 2 + (size & 0x7F)
    return element[0], element[start:]


def _size(data: bytes) -> int:
    if data[1] < 0x80:
        return 2 + data[1]
    count = data[1] & 0x7F
    return 2 + count + int.from_bytes(data[2 : 2 + count], "big")


def put(index: int, value: bytes) -> Change:
    """Put `value` in the place of a part."""

    def change(found: list[bytes]) -> None:
        found[index] = value

    return change


def with_extension(oid: bytes, *, critical: bool, value: bytes) -> Change:
    """Add an extension behind those that are there."""

    def change(found: list[bytes]) -> None:
        (extensions,) = parts(found[-1])
        flag = b"\x01\x01\xff" if critical else b""
        added = tlv(0x30, tlv(0x06, oid), flag, tlv(0x04, value))
        found[-1] = tlv(0xA3, tlv(0x30, *parts(extensions), added))

    return change


def without_extension(oid: bytes) -> Change:
    """Take an extension out."""

    def change(found: list[bytes]) -> None:
        (extensions,) = parts(found[-1])
        kept = [one for one in parts(extensions) if parts(one)[0] != tlv(0x06, oid)]
        assert len(kept) == len(parts(extensions)) - 1
        found[-1] = tlv(0xA3, tlv(0x30, *kept))

    return change


def as_version_1(found: list[bytes]) -> None:
    """Take version and extensions out."""
    del found[0], found[-1]


def swapped_times(found: list[bytes]) -> None:
    """Let it end before it begins."""
    begin, end = parts(found[VALIDITY])
    found[VALIDITY] = tlv(0x30, end, begin)


def with_explicit_curve(found: list[bytes]) -> None:
    """Write its key's curve out."""
    found[KEY] = explicit_p256(found[KEY])


def with_signature(der: bytes, signature: bytes) -> bytes:
    """A certificate under another signature."""
    tbs, algorithm, _ = parts(der)
    return tlv(0x30, tbs, algorithm, tlv(0x03, b"\x00", signature))
