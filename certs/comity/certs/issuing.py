"""Leaves for requests: an end's private key never leaves its host.

The end makes a key and a request (PKCS#10, RFC 2986); whoever holds the agency's CA, or an issuing CA under
it, checks the request and signs. A folder that issues holds `ca.key`, and `ca.pem`: the CA that signs, then
what is above it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID

from comity.certs.errors import CertificateRejected, KeyUnusable, SetupRefused
from comity.certs.files import is_there, read_private, read_public, write_private, write_public
from comity.certs.pairs import DNS_ROLES, MAX_LEAF_LIFETIME
from comity.certs.profile import CURVES, constrained_domain, load_certificate
from comity.certs.spiffe import SpiffeId
from comity.certs.x509 import (
    certificate_der,
    certificate_pem,
    load_ca,
    load_private_key,
    make_issuing_ca,
    private_key_pem,
    sign_leaf,
    split_pem,
    verify_leaf,
)

MAX_REQUEST_BYTES: Final = 16 * 1024
"""A larger request is refused unread."""

_MALFORMED: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)

ISSUING_CA_LIFETIME: Final = timedelta(days=14)
"""How long an issuing CA lives unless told otherwise."""

SETTLE_SECONDS: Final = 0.2
"""How long a CA and a key that don't belong together are given: between two writes they never do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRequest:
    """A request whose own signature and shape are right; that says nothing of who sent it."""

    spiffe_id: SpiffeId
    dns_names: tuple[str, ...]
    public_key: ec.EllipticCurvePublicKey


def expected_names(spiffe_id: SpiffeId) -> tuple[str, ...]:
    """Return the DNS names that the leaf of this id has: that of an end which is dialled, or none."""
    role = spiffe_id.path.removeprefix("/")
    return (f"{role}.{spiffe_id.domain}",) if role in DNS_ROLES else ()


def make_request(spiffe_id: str) -> tuple[bytes, bytes]:
    """Return a request for a leaf of this id, PEM, and its fresh private key, PEM: secret.

    Raises `CertificateRejected` for an id that is none.
    """
    parsed = SpiffeId.parse(spiffe_id)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.UniformResourceIdentifier(spiffe_id), *map(x509.DNSName, expected_names(parsed))]
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM), private_key_pem(key)


def read_request(pem: bytes) -> LeafRequest:
    """Return the request in `pem`; raise `CertificateRejected` unless it is right and signed by its own key.

    Its one extension is a SAN of exactly one SPIFFE id and the DNS name of that end, if it is dialled; its
    key is P-256 or P-384. Everything else of the leaf is the CA's to say.
    """
    if len(pem) > MAX_REQUEST_BYTES:
        raise CertificateRejected(f"request is larger than {MAX_REQUEST_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(pem)
        is_signed = request.is_signature_valid
        key = request.public_key()
        extensions = list(request.extensions)
    except (
        ValueError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise CertificateRejected("request is not a PKCS#10 request in PEM") from error
    if not is_signed:
        raise CertificateRejected("request is not signed by the key that it is for")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, CURVES):
        raise CertificateRejected("request: key is not P-256 or P-384")
    if [extension.oid for extension in extensions] != [ExtensionOID.SUBJECT_ALTERNATIVE_NAME]:
        raise CertificateRejected("request: expected exactly one extension, the SAN")
    san = extensions[0].value
    assert isinstance(san, x509.SubjectAlternativeName)
    uris = san.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise CertificateRejected(f"request: SAN has {len(uris)} URIs, expected exactly one")
    spiffe_id = SpiffeId.parse(uris[0])
    names = expected_names(spiffe_id)
    if tuple(san.get_values_for_type(x509.DNSName)) != names or len(list(san)) != 1 + len(names):
        raise CertificateRejected(
            f"request: beside its id the SAN of `{spiffe_id}` has {' and '.join(names) or 'no other name'}"
        )
    return LeafRequest(spiffe_id=spiffe_id, dns_names=names, public_key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuingFolder:
    """A CA that issues, with its key. Its repr shows no key."""

    certificate: x509.Certificate
    above: tuple[bytes, ...]
    """What is above it, DER; empty for an agency's CA itself."""
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> IssuingFolder:
        """Return the CA in `folder`; raise `CertificateRejected`, `KeyUnusable`, `FileUnusable`.

        A folder without a CA is `SetupRefused`. One whose CA is just being replaced is looked at twice.
        """
        missing = [name for name in ("ca.pem", "ca.key") if not is_there(folder / name)]
        if missing:
            raise SetupRefused(
                f"`{folder}` has no {' and no '.join(missing)}: a folder with a CA and its key is right, an "
                "agency's, or one that `comity certs issuing` made"
            )
        try:
            return cls._read(folder)
        except KeyUnusable:
            time.sleep(SETTLE_SECONDS)
            return cls._read(folder)

    @classmethod
    def _read(cls, folder: Path) -> IssuingFolder:
        chain = split_pem(read_public(folder / "ca.pem"))
        certificate = load_certificate(chain[0])
        constrained_domain(certificate)
        key = load_private_key(read_private(folder / "ca.key"))
        if key.public_key() != certificate.public_key():
            raise KeyUnusable(f"`{folder / 'ca.key'}` is not the key of the CA in `ca.pem`")
        return cls(certificate=certificate, above=chain[1:], key=key)

    @property
    def domain(self) -> str:
        """The one domain whose names it issues."""
        return constrained_domain(self.certificate)

    def issue(self, request: LeafRequest, *, now: datetime, lifetime: timedelta) -> bytes:
        """Return the chain for a request: leaf, this CA, and what is above it, PEM.

        The leaf never outlives a CA of its chain. Raises `CertificateRejected` for a name that isn't of this
        CA's domain, a lifetime that isn't within `MAX_LEAF_LIFETIME`, or a chain that peers would not take.
        """
        if not timedelta(minutes=1) <= lifetime <= MAX_LEAF_LIFETIME:
            raise CertificateRejected(
                f"lifetime `{lifetime}`: a minute to {MAX_LEAF_LIFETIME.days} days is right"
            )
        above = [load_certificate(der) for der in self.above]
        ends = [certificate.not_valid_after_utc for certificate in (self.certificate, *above)]
        leaf = sign_leaf(
            self.certificate,
            self.key,
            public_key=request.public_key,
            spiffe_id=str(request.spiffe_id),
            dns_names=request.dns_names,
            now=now,
            lifetime=min(lifetime, min(ends) - now),
        )
        chain = (certificate_der(leaf), certificate_der(self.certificate), *self.above)
        verify_leaf(chain, ca_certificates=chain[-1:], spiffe_id=str(request.spiffe_id), now=now)
        return b"".join(certificate_pem(one) for one in (leaf, self.certificate, *above))


def make_issuing_folder(
    agency: Path, folder: Path, *, now: datetime, lifetime: timedelta, replace: bool = False
) -> IssuingFolder:
    """Make an issuing CA in `folder` under the CA in an agency's (or the operator's) folder; return it.

    `replace`: in the place of an issuing CA there, whose leaves go on until their own end. Raises
    `SetupRefused` if something else stands there, `CertificateRejected` for a CA that may have none below.
    """
    if not timedelta(hours=1) <= lifetime <= timedelta(days=366):
        raise SetupRefused("issuing CA: lifetime, an hour to 366 days is right")
    if replace:
        _check_replaceable(folder)
    else:
        for path in (folder / "ca.key", folder / "ca.pem"):
            if path.exists():
                raise SetupRefused(
                    f"`{path}` is there already and isn't overwritten: choose another folder, or say "
                    "`--replace` if an issuing CA is there"
                )
    root, root_key = load_ca(agency / "ca.pem", agency / "ca.key")
    certificate, key = make_issuing_ca(root, root_key, now=now, lifetime=lifetime)
    write_private(folder / "ca.key", private_key_pem(key))
    write_public(folder / "ca.pem", certificate_pem(certificate) + certificate_pem(root))
    return IssuingFolder.load(folder)


def _check_replaceable(folder: Path) -> None:
    """Raise `SetupRefused` unless an issuing CA is in `folder`; its key need not be whole, nor its own."""
    chain = split_pem(read_public(folder / "ca.pem")) if is_there(folder / "ca.pem") else ()
    if len(chain) < 2:  # an agency's own CA stands alone in its file
        raise SetupRefused(f"`{folder}` holds no issuing CA that could be replaced: leave out `--replace`")
