"""Statement, identity and authority keys: ECDSA P-256 with SHA-256, DER signatures (FIPS 186-5).

P-256 because FIPS 140-3 modules, PIV cards and HSMs speak it. A signature is malleable
(`(r, s)` and `(r, n - s)` are both valid), so nothing may be keyed on a signature's bytes.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from comity.certs.errors import KeyUnusable, SignatureInvalid
from comity.certs.files import read_private, write_private

_ALGORITHM: Final = ec.ECDSA(hashes.SHA256())


class VerifyKey:
    """A P-256 public key: checks signatures, and is named by its RFC 7638 thumbprint."""

    __slots__ = ("_der", "_key", "_key_id")

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        """Wrap `key`; raise `KeyUnusable` unless its curve is P-256."""
        if not isinstance(key.curve, ec.SECP256R1):
            raise KeyUnusable(f"public key: curve is `{key.curve.name}`, expected P-256")
        self._key = key
        self._der = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._key_id = _thumbprint(key.public_numbers())

    @classmethod
    def from_der(cls, spki: bytes) -> VerifyKey:
        """Return the key in a DER SubjectPublicKeyInfo (RFC 5480: named curve, uncompressed point).

        Raises `KeyUnusable` for another kind of key and for any second encoding of the same key:
        pinned keys are compared as bytes.
        """
        try:
            key = serialization.load_der_public_key(spki)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyUnusable("public key: not a DER SubjectPublicKeyInfo") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise KeyUnusable("public key: not an elliptic-curve key, expected P-256")
        found = cls(key)
        if found.der != spki:
            raise KeyUnusable("public key: not encoded as RFC 5480 says (named curve, uncompressed point)")
        return found

    @property
    def der(self) -> bytes:
        """The key as DER SubjectPublicKeyInfo, 91 bytes."""
        return self._der

    @property
    def key_id(self) -> str:
        """The RFC 7638 thumbprint (SHA-256) of the key's JWK, base64url without padding, 43 characters."""
        return self._key_id

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raise `SignatureInvalid` unless `signature` (DER, nothing after it) is this key's over `data`."""
        try:
            self._key.verify(signature, data, _ALGORITHM)
        except InvalidSignature as error:
            raise SignatureInvalid(
                f"signature is not that of key `{self._key_id}` over these bytes"
            ) from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyKey) and self._der == other._der

    def __hash__(self) -> int:
        return hash(self._der)

    def __repr__(self) -> str:
        return f"VerifyKey({self._key_id})"


class SigningKey:
    """A P-256 private key. Its repr, errors and pickles never hold the private part."""

    __slots__ = ("_key", "_public")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Wrap `key`; raise `KeyUnusable` unless its curve is P-256."""
        self._public = VerifyKey(key.public_key())
        self._key = key

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a fresh key from the system's random source."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """Return the key in an unencrypted PKCS#8 PEM; raise `KeyUnusable` if it holds no P-256 key."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyUnusable("private key: not an unencrypted PKCS#8 PEM") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeyUnusable("private key: not an elliptic-curve key, expected P-256")
        return cls(key)

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Return the key in the PEM file at `path`.

        Raises `FileExposed` if others could read it, `FileUnusable` if it isn't there, `KeyUnusable` if it
        holds no P-256 key.
        """
        try:
            return cls.from_pem(read_private(path))
        except KeyUnusable as error:
            raise KeyUnusable(f"key file `{path}`: {error}") from error

    def save(self, path: Path) -> None:
        """Write the key to `path` as PKCS#8 PEM, mode 0600, atomically; raise `FileUnusable` if it can't."""
        write_private(path, self.pem)

    @property
    def pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM: secret."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public(self) -> VerifyKey:
        """The public half."""
        return self._public

    @property
    def key_id(self) -> str:
        """The RFC 7638 thumbprint of the public half."""
        return self._public.key_id

    def sign(self, data: bytes) -> bytes:
        """Return an ECDSA P-256/SHA-256 signature over `data`, DER. Two calls give two signatures."""
        return self._key.sign(data, _ALGORITHM)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"

    def __reduce__(self) -> str:
        raise TypeError("a signing key is not pickled")


def _thumbprint(numbers: ec.EllipticCurvePublicNumbers) -> str:
    """Return the JWK thumbprint as RFC 7638, section 3 defines it: required members, sorted, no spaces."""
    x, y = (_base64url(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
    jwk = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
    return _base64url(hashlib.sha256(jwk.encode()).digest())


def _base64url(data: bytes) -> str:
    """Return `data` in base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
