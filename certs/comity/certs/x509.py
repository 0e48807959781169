"""Each agency's own CA, the leaves it issues, and the check that a leaf is its own domain's.

Without this, with the CAs of all agencies in one bundle, any one agency's CA could mint another's name
or the broker's, and TLS would believe it. So a CA is constrained, critically, to its own domain's names,
and whoever accepts a leaf verifies it again against *that domain's* CA alone.

Chains are verified by OpenSSL (through pyOpenSSL) with `X509_STRICT`, because the verifier of
`cryptography` refuses URI constraints; then the leaf's shape is checked (`profile`), because
verification accepts more than one spelling of a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from comity.certs.errors import CertificateRejected, KeyUnusable
from comity.certs.files import read_private, read_public, require_at_hand
from comity.certs.profile import (
    ALL_ADDRESSES,
    BOTH_USAGES,
    CURVES,
    check_key_and_signature,
    check_leaf,
    constrained_domain,
    load_certificate,
    verify_ca,
)
from comity.certs.spiffe import SpiffeId, is_dns_name, is_within

BACKDATE: Final = timedelta(minutes=1)
"""Certificates begin this long before they are issued, so that a peer's slower clock accepts them."""

MAX_CHAIN: Final = 5
"""A longer chain is refused unread."""

MAX_CERTIFICATE_BYTES: Final = 16 * 1024
"""A larger certificate is refused unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedLeaf:
    """A fresh leaf and its private key. Its repr shows no key."""

    certificate: x509.Certificate
    """The leaf."""
    chain_pem: bytes
    """The leaf, then the CA that issued it, PEM: the content of `leaf.pem`."""
    key_pem: bytes = field(repr=False)
    """The private key, unencrypted PKCS#8 PEM: the content of `leaf.key`, secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLeaf:
    """A leaf that its own domain's CA vouches for and that has a leaf's shape."""

    spiffe_id: str
    """Its SPIFFE id, byte for byte as in the certificate."""
    domain: str
    """The id's trust domain, such as `cbp.example`."""
    path: str
    """The id's path with its leading slash, such as `/adapter`."""
    dns_names: tuple[str, ...]
    """Its DNS names, all within the domain."""
    not_after: datetime
    """When the leaf or the first of its issuers expires; what rests on it ends then."""
    fingerprint: bytes
    """SHA-256 of the leaf's DER, 32 bytes: RFC 8705's `x5t#S256`."""


def make_ca(
    domain: str, now: datetime, lifetime: timedelta, *, path_length: int = 0
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return a self-signed CA for `domain` and its key (P-256).

    Its critical name constraints permit URIs of host `domain`, DNS names and mail addresses of `domain`, and
    exclude every IP address. With `path_length` 0 it issues leaves only, with 1 issuing CAs as well.
    Directory names are not constrained, because Go's verifier refuses a CA that constrains them; `profile`
    takes none in a SAN, and nobody is known by the subject of a leaf.
    Raises `CertificateRejected` for a `domain` that is not a lower-case DNS name.
    """
    if not is_dns_name(domain):
        raise CertificateRejected(f"domain {domain[:300]!a} is not a lower-case DNS name")
    key = ec.generate_private_key(ec.SECP256R1())
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain)
    subject = x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, "Comity CA")])
    constraints = x509.NameConstraints(
        permitted_subtrees=[
            x509.UniformResourceIdentifier(domain),
            x509.DNSName(domain),
            x509.RFC822Name(domain),
        ],
        excluded_subtrees=list(ALL_ADDRESSES),
    )
    skid = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(subject, subject, key.public_key(), now, _whole(now + lifetime))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(digital_signature=False, ca=True), critical=True)
        .add_extension(constraints, critical=True)
        .add_extension(skid, critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def make_issuing_ca(
    ca_certificate: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    *,
    now: datetime,
    lifetime: timedelta,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return an issuing CA under a CA that can then be offline: as constrained as it, for leaves only.

    It never outlives its CA. Raises `CertificateRejected` for a CA that may have none below it.
    """
    domain = constrained_domain(ca_certificate)
    basic = ca_certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    if basic.path_length is not None and basic.path_length < 1:
        raise CertificateRejected(f"CA of `{domain}` may issue leaves only: a CA with path length 1 is right")
    key = ec.generate_private_key(ec.SECP256R1())
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain)
    name = x509.NameAttribute(NameOID.COMMON_NAME, f"Comity issuing CA {now:%Y-%m-%d %H:%M}")
    constraints = ca_certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    end = min(_whole(now + lifetime), ca_certificate.not_valid_after_utc)
    if end <= now:
        raise CertificateRejected(
            f"issuing CA of `{domain}` would expire at once, as its lifetime or its CA does"
        )
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    certificate = (
        _builder(x509.Name([organization, name]), ca_certificate.subject, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(digital_signature=False, ca=True), critical=True)
        .add_extension(constraints, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return certificate, key


def issue_leaf(
    ca_certificate: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    *,
    spiffe_id: str,
    dns_names: Sequence[str] = (),
    now: datetime,
    lifetime: timedelta,
) -> IssuedLeaf:
    """Return a leaf with a fresh P-256 key, as `profile` describes it: empty subject, critical SAN.

    It never outlives its CA: a longer `lifetime` is cut. What is returned has passed `verify_leaf`. Raises
    `CertificateRejected` for names outside the CA's domain, an expired CA, or a key that isn't the CA's.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign_leaf(
        ca_certificate,
        ca_key,
        public_key=key.public_key(),
        spiffe_id=spiffe_id,
        dns_names=dns_names,
        now=now,
        lifetime=lifetime,
    )
    ca_der = certificate_der(ca_certificate)
    verify_leaf([certificate_der(certificate)], ca_certificates=[ca_der], spiffe_id=spiffe_id, now=now)
    return IssuedLeaf(
        certificate=certificate,
        chain_pem=certificate_pem(certificate) + certificate_pem(ca_certificate),
        key_pem=private_key_pem(key),
    )


def sign_leaf(
    ca_certificate: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    *,
    public_key: ec.EllipticCurvePublicKey,
    spiffe_id: str,
    dns_names: Sequence[str],
    now: datetime,
    lifetime: timedelta,
) -> x509.Certificate:
    """Return a leaf for a key that somebody else holds; as `issue_leaf`, raises as it does."""
    domain = constrained_domain(ca_certificate)
    outside = [name for name in dns_names if not is_dns_name(name) or not is_within(name, domain)]
    if SpiffeId.parse(spiffe_id).domain != domain or outside:
        raise CertificateRejected(f"leaf `{spiffe_id}`: names are not all within `{domain}`")
    names = [x509.UniformResourceIdentifier(spiffe_id), *map(x509.DNSName, dns_names)]
    end = min(_whole(now + lifetime), ca_certificate.not_valid_after_utc)
    if end <= now:
        raise CertificateRejected(f"leaf `{spiffe_id}`: would expire at once, as its lifetime or its CA does")
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    certificate = (
        _builder(x509.Name([]), ca_certificate.subject, public_key, now, end)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True, ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(BOTH_USAGES), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(authority_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    check_leaf(certificate)
    return certificate


def verify_leaf(
    chain_der: Sequence[bytes], *, ca_certificates: Sequence[bytes], spiffe_id: str | None, now: datetime
) -> VerifiedLeaf:
    """Return the leaf `chain_der[0]`, verified against `ca_certificates` alone.

    `chain_der` is DER, the leaf first; certificates after it help to find a path and are trusted in
    nothing. `ca_certificates` are the DER roots of the *one* domain that the leaf must belong to. The leaf's
    only URI must equal `spiffe_id` byte for byte; None accepts any id in the domain to which those CAs are
    constrained (the caller then judges the path). `now` is aware.

    Raises `CertificateRejected` if there is no CA (all are revoked), one isn't constrained to the leaf's
    domain, the chain doesn't verify at `now` under OpenSSL's strict rules with every name constraint, or the
    leaf isn't shaped as `profile` says; `ValueError` for a naive `now`.
    """
    if now.tzinfo is None:
        raise ValueError("verifying a leaf needs an aware time")
    if not ca_certificates:
        raise CertificateRejected("its domain has no CA that counts: all are revoked")
    if not chain_der or len(chain_der) > MAX_CHAIN:
        raise CertificateRejected(f"chain has {len(chain_der)} certificates, expected 1 to {MAX_CHAIN}")
    if any(len(der) > MAX_CERTIFICATE_BYTES for der in chain_der):
        raise CertificateRejected(f"certificate is larger than {MAX_CERTIFICATE_BYTES} bytes")
    leaf, *others = (load_certificate(der) for der in chain_der)
    names = check_leaf(leaf)
    if spiffe_id is not None and str(names.spiffe_id) != spiffe_id:
        raise CertificateRejected(f"leaf names `{names.spiffe_id}`, expected `{spiffe_id}`")
    roots = [load_certificate(der) for der in ca_certificates]
    for root in roots:
        verify_ca(root, domain=names.spiffe_id.domain)
    path = _verify_chain(leaf, others, roots, now)
    return VerifiedLeaf(
        spiffe_id=str(names.spiffe_id),
        domain=names.spiffe_id.domain,
        path=names.spiffe_id.path,
        dns_names=names.dns_names,
        not_after=min(certificate.not_valid_after_utc for certificate in path),
        fingerprint=leaf.fingerprint(hashes.SHA256()),
    )


def _verify_chain(
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> list[x509.Certificate]:
    """Return the path, leaf to root, that OpenSSL verified; raise `CertificateRejected` if there is none."""
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    store.set_time(now.astimezone(UTC))
    try:
        for root in roots:
            store.add_cert(crypto.X509.from_cryptography(root))
        chain = [crypto.X509.from_cryptography(certificate) for certificate in others]
        context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), chain)
        path = [certificate.to_cryptography() for certificate in context.get_verified_chain()]
    except crypto.X509StoreContextError as error:
        raise CertificateRejected(f"chain doesn't verify: {error}") from error
    except crypto.Error as error:
        raise CertificateRejected("chain doesn't verify: a certificate is malformed") from error
    for certificate in path:
        check_key_and_signature(certificate, "chain")
    return path


def load_ca(certificate: Path, key: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return the CA in the PEM file `certificate` and its key in the private PEM file `key`, to issue with.

    Raises `FileUnusable` or `FileExposed` for the files, `CertificateRejected` unless it is a constrained CA
    and `key` is its key.
    """
    roots = split_pem(read_public(certificate))
    root = load_certificate(roots[0])
    constrained_domain(root)
    require_at_hand(key, f"the key of the CA `{certificate}`")
    private = load_private_key(read_private(key))
    if len(roots) != 1 or private.public_key() != root.public_key():
        raise CertificateRejected(f"CA `{certificate}`: is not one certificate whose key is `{key}`")
    return root, private


def load_private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Return a leaf's or CA's key (P-256 or P-384) from unencrypted PKCS#8 PEM; raise `KeyUnusable`."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable("private key: not an unencrypted PKCS#8 PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, CURVES):
        raise KeyUnusable("private key: not P-256 or P-384")
    return key


def split_pem(pem: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a PEM file as DER, in their order; raise `CertificateRejected` if none."""
    try:
        return tuple(certificate_der(found) for found in x509.load_pem_x509_certificates(pem))
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateRejected("no certificate in PEM") from error


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def certificate_der(certificate: x509.Certificate) -> bytes:
    """Return a certificate as DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS#8 PEM: secret."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    """Return a builder with the fields that CA and leaf share."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_whole(now - BACKDATE))
        .not_valid_after(end)
    )


def _key_usage(*, digital_signature: bool, ca: bool) -> x509.KeyUsage:
    """Return a key usage: signing handshakes for a leaf, certificates and lists for a CA."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _whole(moment: datetime) -> datetime:
    """Return `moment` in UTC without fractions of a second, which X.509 can't hold."""
    return moment.astimezone(UTC).replace(microsecond=0)
