"""Kinds of bad certificate, chain, name and time, in one table: none is accepted, each for its own fault.

What judges them is what every handshake asks: `verify_leaf`, for links, sessions and the first hop, and
`verify_ca`, for what a roster names. Each kind is told by the words that an admin then reads; beside them
stand honest ones. More spellings of names, and every bit of a certificate: `test_leaf_verification.py`. Keys,
signatures and lists: `test_bad_keys_and_lists.py`. NIST's paths: `test_pkits.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from comity.certs.errors import CertificateRejected
from comity.certs.x509 import certificate_pem, make_ca, verify_ca, verify_leaf
from tests.support.minting import (
    ALL_IPV4,
    CBP,
    DAY,
    DEA,
    DNS,
    GATEWAY,
    NOW,
    P256,
    URI,
    Issuer,
    intermediate,
    mint,
    named,
    root,
    usage,
)
from tests.support.surgery import (
    SERIAL,
    Change,
    as_version_1,
    operated,
    put,
    swapped_times,
    with_extension,
    without_extension,
)

Kind = tuple[str, str, Callable[[], object]]
"""What is bad, the words of the refusal, and what is judged."""

OURS = (URI("cbp.example"), DNS("cbp.example"))
AUTHORITY_KEY_ID, KEY_USAGE, NAME_CONSTRAINTS = b"\x55\x1d\x23", b"\x55\x1d\x0f", b"\x55\x1d\x1e"
HOUR = timedelta(hours=1)
CA_TRUE = x509.BasicConstraints(ca=True, path_length=None)
CA_FALSE = x509.BasicConstraints(ca=False, path_length=None)


def judge(*chain: bytes, ca: Issuer = CBP, now: datetime = NOW) -> object:
    """What every peer asks of the chain that CBP's gateway sends."""
    return verify_leaf(chain, ca_certificates=[ca.der], spiffe_id=GATEWAY, now=now)


def leaf(**how: Any) -> object:
    return judge(mint(CBP, URI(GATEWAY), **how))


def names(*found: x509.GeneralName, **how: Any) -> object:
    return judge(mint(CBP, *found, **how))


def altered(change: Change) -> object:
    """A good leaf, taken apart, changed, and signed again by its CA."""
    return judge(operated(mint(CBP, URI(GATEWAY)), CBP.key, change))


@cache
def top() -> Issuer:
    """A good root that may issue intermediates."""
    return root(*OURS)


@cache
def namesake() -> Issuer:
    """A CA that calls itself as ours does, with a key of its own."""
    return Issuer(*make_ca("cbp.example", NOW - DAY, 365 * DAY))


@cache
def line(depth: int) -> tuple[Issuer, ...]:
    """So many intermediates, each below the one before."""
    found = [top()]
    for _ in range(depth):
        found.append(intermediate(found[-1]))
    return tuple(reversed(found[1:]))


def under(key: Any = None, **how: Any) -> object:
    """A good leaf of an intermediate that has a fault."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    good: dict[str, Any] = {
        "subject": named("an intermediate of a test"),
        "extended": None,
        "key_usage": usage(key_cert_sign=True),
        "basic": CA_TRUE,
    }
    der = mint(top(), key=key, **(good | how))
    return judge(mint(Issuer(x509.load_der_x509_certificate(der), key), URI(GATEWAY)), der, ca=top())


def from_an_end() -> object:
    """A leaf that another end's leaf signed."""
    der = mint(CBP, URI("spiffe://cbp.example/adapter"), subject=named("adapter"))
    end = Issuer(x509.load_der_x509_certificate(der), P256)
    return judge(mint(end, URI(GATEWAY)), der)


def self_signed() -> object:
    me = Issuer(x509.load_der_x509_certificate(mint(CBP, URI(GATEWAY))), P256)
    return judge(mint(me, URI(GATEWAY)))


def constrained(ca: Issuer) -> object:
    """What every end asks of a CA that a roster names for CBP."""
    return verify_ca(ca.certificate, domain="cbp.example")


CERTIFICATES: list[Kind] = [
    ("of version 1", "no keyUsage|no extKeyUsage|not DER", lambda: altered(as_version_1)),
    ("with a negative serial number", "serial number|not DER", lambda: altered(put(SERIAL, b"\x02\x01\x80"))),
    ("with the serial number 0", "serial number|not DER", lambda: altered(put(SERIAL, b"\x02\x01\x00"))),
    (
        "with a serial number of 21 bytes",
        "serial number|not DER",
        lambda: altered(put(SERIAL, b"\x02\x15\x01" + bytes(20))),
    ),
    (
        "with an extension twice",
        "malformed",
        lambda: altered(with_extension(KEY_USAGE, critical=True, value=b"\x03\x02\x07\x80")),
    ),
    (
        "with an unknown critical extension",
        "unhandled critical extension",
        lambda: altered(with_extension(b"\x2a\x03\x04", critical=True, value=b"\x05\x00")),
    ),
    (
        "with an extension that doesn't parse",
        "malformed|doesn't verify",
        lambda: altered(with_extension(NAME_CONSTRAINTS, critical=True, value=b"\xff")),
    ),
    ("without authority key id", "authority key id", lambda: altered(without_extension(AUTHORITY_KEY_ID))),
    ("without key usage", "has no keyUsage", lambda: altered(without_extension(KEY_USAGE))),
    (
        "that is a CA",
        "is a CA",
        lambda: leaf(basic=CA_TRUE, key_usage=usage(digital_signature=True, key_cert_sign=True)),
    ),
    (
        "that signs certificates",
        "keyUsage is not",
        lambda: leaf(key_usage=usage(digital_signature=True, key_cert_sign=True)),
    ),
    (
        "that signs lists",
        "keyUsage is not",
        lambda: leaf(key_usage=usage(digital_signature=True, crl_sign=True)),
    ),
    ("that only enciphers", "keyUsage is not", lambda: leaf(key_usage=usage(key_encipherment=True))),
    ("for servers alone", "extendedKeyUsage", lambda: leaf(extended=[ExtendedKeyUsageOID.SERVER_AUTH])),
    ("for clients alone", "extendedKeyUsage", lambda: leaf(extended=[ExtendedKeyUsageOID.CLIENT_AUTH])),
    (
        "for any use",
        "extendedKeyUsage",
        lambda: leaf(extended=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
    ),
    ("for no stated use", "extendedKeyUsage", lambda: leaf(extended=None)),
    ("cut off", "not DER X.509", lambda: judge(mint(CBP, URI(GATEWAY))[:-40])),
    ("with bytes after it", "not DER X.509", lambda: judge(mint(CBP, URI(GATEWAY)) + b"\x00")),
    ("in PEM", "not DER X.509", lambda: judge(certificate_pem(CBP.certificate))),
    ("larger than is read", "larger than", lambda: judge(mint(CBP, URI(GATEWAY)) + bytes(20_000))),
]

CHAINS: list[Kind] = [
    ("of an unknown CA", "unable to get local issuer", lambda: judge(mint(DEA, URI(GATEWAY)))),
    ("with its own root", "self-signed certificate", lambda: judge(mint(DEA, URI(GATEWAY)), DEA.der)),
    (
        "of our CA's namesake",
        "unable to get local issuer|signature failure|self-signed",
        lambda: judge(mint(namesake(), URI(GATEWAY)), namesake().der),
    ),
    ("signed by itself", "doesn't verify", self_signed),
    (
        "without its intermediate",
        "unable to get local issuer",
        lambda: judge(mint(line(1)[0], URI(GATEWAY)), ca=top()),
    ),
    (
        "below a CA of path length 0",
        "path length",
        lambda: judge(mint(below_zero := intermediate(CBP), URI(GATEWAY)), below_zero.der),
    ),
    (
        "longer than is read",
        "expected 1 to 5",
        lambda: judge(mint(line(5)[0], URI(GATEWAY)), *(one.der for one in line(5)), ca=top()),
    ),
    ("of no certificate", "0 certificates", judge),
    ("that begins with the CA", "keyUsage|is a CA", lambda: judge(CBP.der, mint(CBP, URI(GATEWAY)))),
    ("of junk behind a leaf", "not DER X.509", lambda: judge(mint(CBP, URI(GATEWAY)), b"\x30\x03junk")),
    ("through no CA", "doesn't verify", lambda: under(basic=CA_FALSE)),
    ("through one that may not sign", "doesn't verify", lambda: under(key_usage=usage(crl_sign=True))),
    ("through one that expired", "expired", lambda: under(end=NOW - HOUR)),
    ("through one to come", "not yet valid", lambda: under(start=NOW + HOUR)),
    (
        "through one of an RSA key",
        "key is not P-256",
        lambda: under(rsa.generate_private_key(65537, 2048)),
    ),
    (
        "through one for another domain",
        "permitted subtree",
        lambda: under(constraints=x509.NameConstraints([URI("dea.example"), DNS("dea.example")], None)),
    ),
    ("through another end's leaf", "doesn't verify", from_an_end),
    ("of a CA without constraints", "no nameConstraints", lambda: constrained(root(constrained=False))),
    ("of a CA with optional constraints", "not critical", lambda: constrained(root(*OURS, critical=False))),
    (
        "of a CA for two domains",
        "don't permit exactly",
        lambda: constrained(root(*OURS, URI("dea.example"))),
    ),
    (
        "of a CA for a wider domain",
        "don't permit exactly",
        lambda: constrained(root(URI("cbp.example"), DNS("example"))),
    ),
    (
        "of a CA for addresses, too",
        "exclude every IP",
        lambda: constrained(root(*OURS, excluded=[ALL_IPV4])),
    ),
    ("of another domain's CA", "don't permit exactly", lambda: constrained(DEA)),
    ("of a leaf as CA", "basicConstraints", lambda: constrained(Issuer(top_leaf(), P256))),
]


def top_leaf() -> x509.Certificate:
    return x509.load_der_x509_certificate(mint(CBP, URI(GATEWAY)))


NAMES: list[Kind] = [
    ("another end's", "expected `spiffe", lambda: names(URI("spiffe://cbp.example/adapter"))),
    ("another domain's", "expected `spiffe", lambda: names(URI("spiffe://dea.example/gateway"))),
    ("two SPIFFE ids", "2 URIs", lambda: names(URI(GATEWAY), URI("spiffe://cbp.example/adapter"))),
    ("an id twice", "2 URIs", lambda: names(URI(GATEWAY), URI(GATEWAY))),
    ("no id", "0 URIs", lambda: names(DNS("gateway.cbp.example"))),
    ("none at all", "no subjectAltName", names),
    ("an id in capitals", "lower-case", lambda: names(URI("spiffe://CBP.example/gateway"))),
    ("an id with a port", "SPIFFE|port|domain", lambda: names(URI("spiffe://cbp.example:443/gateway"))),
    ("an id with a user", "SPIFFE|domain", lambda: names(URI("spiffe://dea@cbp.example/gateway"))),
    ("an id with dots", "SPIFFE|path", lambda: names(URI("spiffe://cbp.example/x/../gateway"))),
    ("an id in percents", "SPIFFE|path", lambda: names(URI("spiffe://cbp.example/%67ateway"))),
    ("an id with a NUL", "SPIFFE|path", lambda: names(URI("spiffe://cbp.example/gateway\x00"))),
    ("a URL", "SPIFFE", lambda: names(URI("https://cbp.example/gateway"))),
    (
        "an id of 3,000 characters",
        "SPIFFE|expected|long",
        lambda: names(URI(GATEWAY + "/" + "a" * 3_000)),
    ),
    ("a wildcard", "lower-case name", lambda: names(URI(GATEWAY), DNS("*.cbp.example"))),
    ("a host elsewhere", "within `cbp", lambda: names(URI(GATEWAY), DNS("broker.operator.example"))),
    (
        "a host with a NUL",
        "lower-case name",
        lambda: names(URI(GATEWAY), DNS("broker.operator.example\x00.cbp.example")),
    ),
    ("a host that only ends alike", "within `cbp", lambda: names(URI(GATEWAY), DNS("notcbp.example"))),
    ("an IP address", "SAN has a IPAddress", lambda: names(URI(GATEWAY), x509.IPAddress(ip_address("::1")))),
    ("an address of mail", "RFC822Name", lambda: names(URI(GATEWAY), x509.RFC822Name("a@cbp.example"))),
    ("a directory name", "DirectoryName", lambda: names(URI(GATEWAY), x509.DirectoryName(named("x")))),
    (
        "another kind of name",
        "OtherName",
        lambda: names(URI(GATEWAY), x509.OtherName(ObjectIdentifier("1.2.3.4"), b"\x05\x00")),
    ),
    ("optional beside no subject", "not critical", lambda: names(URI(GATEWAY), critical_san=False)),
    (
        "a host elsewhere as common name",
        "permitted subtree",
        lambda: names(URI(GATEWAY), subject=named("broker.operator.example")),
    ),
]

TIMES: list[Kind] = [
    ("over", "expired", lambda: leaf(end=NOW - timedelta(seconds=1))),
    ("to come", "not yet valid", lambda: leaf(start=NOW + timedelta(seconds=1))),
    ("over before it began", "expired|not yet valid", lambda: altered(swapped_times)),
    (
        "beyond its CA's",
        "expired",
        lambda: judge(mint(CBP, URI(GATEWAY), end=NOW + 900 * DAY), now=NOW + 400 * DAY),
    ),
    (
        "before its CA's",
        "not yet valid",
        lambda: judge(mint(CBP, URI(GATEWAY), start=NOW - 9 * DAY), now=NOW - 5 * DAY),
    ),
    (
        "of fractions that X.509 doesn't know",
        "not DER|malformed|doesn't verify",
        lambda: altered(put(4, b"\x30\x22\x18\x1120260228120000.1Z\x17\x0d260302120000Z")),
    ),
]

ALL = {
    f"{what} {kind}": (words, judged)
    for what, kinds in (
        ("certificate", CERTIFICATES),
        ("chain", CHAINS),
        ("name", NAMES),
        ("time", TIMES),
    )
    for kind, words, judged in kinds
}


def test_there_are_as_many_kinds_as_lines() -> None:
    """No line of the table hides another of its name."""
    assert len(ALL) == sum(map(len, (CERTIFICATES, CHAINS, NAMES, TIMES))) == 75


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("kind", ALL)
def test_bad_kind_is_refused_in_its_own_words(kind: str) -> None:
    """No kind is accepted, and what is said names its fault."""
    words, judged = ALL[kind]
    with pytest.raises(CertificateRejected, match=f"(?i){words}"):
        judged()


HONEST: dict[str, Callable[[], object]] = {
    "a leaf": leaf,
    "with a host of its domain": lambda: names(URI(GATEWAY), DNS("gateway.cbp.example")),
    "with a P-384 key": lambda: leaf(key=ec.generate_private_key(ec.SECP384R1())),
    "with a subject": lambda: leaf(
        subject=x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "CBP")]), critical_san=False
    ),
    "through one intermediate": lambda: judge(mint(line(1)[0], URI(GATEWAY)), line(1)[0].der, ca=top()),
    "taken apart and put together": lambda: altered(lambda found: None),
    "in its last second": lambda: leaf(end=NOW + timedelta(seconds=1)),
    "in another zone's time": lambda: judge(mint(CBP, URI(GATEWAY)), now=NOW.astimezone(UTC)),
    "with a certificate too many": lambda: judge(mint(CBP, URI(GATEWAY)), DEA.der),
    "of a CA as it should be": lambda: (constrained(CBP), constrained(top())),
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_kind_is_accepted(kind: str) -> None:
    """What has no fault passes, made by the same hands."""
    assert HONEST[kind]() is None or HONEST[kind]()
