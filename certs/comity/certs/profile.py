"""The shape of the certificates: what chain verification lets pass and this project does not.

A TLS library that verified a chain still accepts a leaf with two URIs, upper-case hosts, ports, IP
addresses where constraints mention none, or a CA used as a leaf. Each of those was a way to be taken
for somebody else, so a leaf has exactly the shape below or it is refused.

A leaf:
    SAN of URI and DNS names only; exactly one URI, a SPIFFE id in its one spelling; DNS names lower
    case and below the id's domain; critical where the subject is empty. Extended key usage exactly
    serverAuth and clientAuth. Key usage digitalSignature, and neither keyCertSign nor cRLSign. Not a
    CA. A P-256 or P-384 key (gRPC refuses Ed25519 leaves).

Any certificate: a serial number above 0, of 20 bytes at most, because lists of revoked ones go by it.

A CA:
    critical basicConstraints CA:true; keyCertSign; a P-256 or P-384 key; critical name constraints that
    permit as URI host and as DNS subtree the one domain, and exclude every IPv4 and IPv6 address.

Sources: RFC 5280, sections 4.1.2.2, 4.2.1.6, 4.2.1.9, 4.2.1.10, 4.2.1.12; the X.509-SVID
specification, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from comity.certs.errors import CertificateRejected
from comity.certs.spiffe import SpiffeId, is_dns_name, is_within

E = TypeVar("E", bound=x509.ExtensionType)

BOTH_USAGES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
"""The extended key usages of a leaf: every end is server towards one peer and client towards another."""

ALL_ADDRESSES: Final = (x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0")))
"""What a CA's constraints exclude: no end is named by an address."""

CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
"""The curves of leaves and CAs."""

MAX_SERIAL_BYTES: Final = 20
"""The longest serial number, as DER writes it (RFC 5280, 4.1.2.2)."""

_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafNames:
    """The names in a leaf that has the shape above; that says nothing of who signed it."""

    spiffe_id: SpiffeId
    """Its one URI."""
    dns_names: tuple[str, ...]
    """Its DNS names, each within the id's domain; empty for a mere client."""


def load_certificate(der: bytes) -> x509.Certificate:
    """Return the certificate in `der`; raise `CertificateRejected` if it isn't one."""
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateRejected("certificate is not DER X.509, version 3") from error


def check_leaf(certificate: x509.Certificate) -> LeafNames:
    """Return the names of a leaf; raise `CertificateRejected` unless it has a leaf's shape."""
    check_key_and_signature(certificate, "leaf")
    _check_leaf_usage(certificate)
    san = _extension(certificate, x509.SubjectAlternativeName, "leaf")
    if not certificate.subject.rdns and not san.critical:
        raise CertificateRejected("leaf: SAN is not critical though the subject is empty")
    strange = {type(name).__name__ for name in san.value} - {"UniformResourceIdentifier", "DNSName"}
    if strange:
        raise CertificateRejected(f"leaf: SAN has a {min(strange)}, expected URI and DNS names only")
    uris = san.value.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise CertificateRejected(f"leaf: SAN has {len(uris)} URIs, expected exactly one")
    spiffe_id = SpiffeId.parse(uris[0])
    dns_names = tuple(san.value.get_values_for_type(x509.DNSName))
    for name in dns_names:
        if not is_dns_name(name) or not is_within(name, spiffe_id.domain):
            raise CertificateRejected(
                f"leaf: DNS name {name[:300]!a} is not a lower-case name within `{spiffe_id.domain}`"
            )
    return LeafNames(spiffe_id=spiffe_id, dns_names=dns_names)


def verify_ca(certificate: x509.Certificate, *, domain: str) -> None:
    """Raise `CertificateRejected` unless `certificate` is a CA that can name `domain` and nothing else."""
    what = f"CA of `{domain}`"
    check_key_and_signature(certificate, what)
    basic = _extension(certificate, x509.BasicConstraints, what)
    if not basic.value.ca or not basic.critical:
        raise CertificateRejected(f"{what}: basicConstraints is not a critical CA:true")
    if not _extension(certificate, x509.KeyUsage, what).value.key_cert_sign:
        raise CertificateRejected(f"{what}: keyUsage lacks keyCertSign")
    constraints = _extension(certificate, x509.NameConstraints, what)
    if not constraints.critical:
        raise CertificateRejected(f"{what}: name constraints are not critical")
    permitted = constraints.value.permitted_subtrees or []
    wanted = [x509.UniformResourceIdentifier(domain), x509.DNSName(domain)]
    found = [name for name in permitted if isinstance(name, x509.UniformResourceIdentifier | x509.DNSName)]
    if len(found) != len(wanted) or set(found) != set(wanted):
        raise CertificateRejected(f"{what}: name constraints don't permit exactly URI and DNS of `{domain}`")
    if not set(ALL_ADDRESSES) <= set(constraints.value.excluded_subtrees or []):
        raise CertificateRejected(f"{what}: name constraints don't exclude every IP address")


def constrained_domain(certificate: x509.Certificate) -> str:
    """Return the one domain to which a CA is constrained; raise `CertificateRejected` if there is none."""
    constraints = _extension(certificate, x509.NameConstraints, "CA").value
    names = [
        name.value
        for name in constraints.permitted_subtrees or []
        if isinstance(name, x509.UniformResourceIdentifier)
    ]
    if len(names) != 1 or not is_dns_name(names[0]):
        raise CertificateRejected("CA: name constraints don't permit the URIs of exactly one domain")
    verify_ca(certificate, domain=names[0])
    return names[0]


def check_key_and_signature(certificate: x509.Certificate, what: str) -> None:
    """Raise `CertificateRejected` unless key (P-256, P-384), signature hash (SHA-2) and serial are right."""
    if not 0 < certificate.serial_number < 1 << (8 * MAX_SERIAL_BYTES - 1):
        raise CertificateRejected(f"{what}: serial number is not 1 to {MAX_SERIAL_BYTES} bytes above 0")
    try:
        key = certificate.public_key()
        digest = certificate.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateRejected(f"{what}: key or signature is of an unknown kind") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, CURVES):
        raise CertificateRejected(f"{what}: key is not P-256 or P-384")
    if not isinstance(digest, _HASHES):
        raise CertificateRejected(f"{what}: signed with a hash other than SHA-256, SHA-384 or SHA-512")


def _check_leaf_usage(certificate: x509.Certificate) -> None:
    """Raise `CertificateRejected` unless the leaf may serve and call, sign handshakes, and nothing more."""
    basic = _find(certificate, x509.BasicConstraints, "leaf")
    if basic is not None and basic.value.ca:
        raise CertificateRejected("leaf: is a CA")
    usage = _extension(certificate, x509.KeyUsage, "leaf").value
    if not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        raise CertificateRejected("leaf: keyUsage is not digitalSignature without keyCertSign and cRLSign")
    extended = _extension(certificate, x509.ExtendedKeyUsage, "leaf").value
    if set(extended) != set(BOTH_USAGES):
        raise CertificateRejected("leaf: extendedKeyUsage is not exactly serverAuth and clientAuth")


def _extension(certificate: x509.Certificate, kind: type[E], what: str) -> x509.Extension[E]:
    """Return an extension that must be there."""
    found = _find(certificate, kind, what)
    if found is None:
        raise CertificateRejected(f"{what}: has no {kind.oid._name}")
    return found


def _find(certificate: x509.Certificate, kind: type[E], what: str) -> x509.Extension[E] | None:
    """Return an extension, or None; a malformed or repeated one is refused."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CertificateRejected(f"{what}: extensions are malformed") from error
