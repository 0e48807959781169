"""Certificates as hostile or careless CAs make them: whatever can be wrong is a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from comity.certs.x509 import certificate_der, make_ca

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
GATEWAY = "spiffe://cbp.example/gateway"
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
ALL_IPV4, ALL_IPV6 = (x509.IPAddress(ip_network(every)) for every in ("0.0.0.0/0", "::/0"))
P256 = ec.generate_private_key(ec.SECP256R1())
URI, DNS = x509.UniformResourceIdentifier, x509.DNSName


@dataclass(frozen=True)
class Issuer:
    """A CA of a test, whatever its shape."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return certificate_der(self.certificate)


CBP, DEA, OPERATOR = (
    Issuer(*make_ca(domain, NOW - DAY, 365 * DAY))
    for domain in ("cbp.example", "dea.example", "operator.example")
)


def usage(**set_bits: bool) -> x509.KeyUsage:
    names = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{name: set_bits.get(name, False) for name in names})


def mint(
    issuer: Issuer = CBP,
    *names: x509.GeneralName,
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    key: Any = P256,
    subject: x509.Name | None = None,
    critical_san: bool = True,
    extended: Sequence[ObjectIdentifier] | None = (SERVER, CLIENT),
    key_usage: x509.KeyUsage | None = None,
    basic: x509.BasicConstraints | None = None,
    constraints: x509.NameConstraints | None = None,
) -> bytes:
    """Make a certificate as a hostile or careless CA could: everything that can be wrong is a parameter."""
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name([]))
        .issuer_name(issuer.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(basic or x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage or usage(digital_signature=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=critical_san)
    if extended is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return certificate_der(builder.sign(issuer.key, hashes.SHA256()))


def root(
    *permitted: x509.GeneralName,
    excluded: Sequence[x509.GeneralName] = (ALL_IPV4, ALL_IPV6),
    critical: bool = True,
    constrained: bool = True,
) -> Issuer:
    """A self-signed CA with any name constraints, or none, and no path length."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = named("a root of a test")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 365 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if constrained:
        extension = x509.NameConstraints(permitted or None, excluded or None)
        builder = builder.add_extension(extension, critical=critical)
    return Issuer(builder.sign(key, hashes.SHA256()), key)


def intermediate(issuer: Issuer, constraints: x509.NameConstraints | None = None) -> Issuer:
    """A CA below `issuer`."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = mint(
        issuer,
        key=key,
        subject=named("an intermediate of a test"),
        extended=None,
        key_usage=usage(key_cert_sign=True),
        basic=x509.BasicConstraints(ca=True, path_length=None),
        constraints=constraints,
    )
    return Issuer(x509.load_der_x509_certificate(der), key)


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
