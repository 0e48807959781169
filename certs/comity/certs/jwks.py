"""The ES256 keys of an agency's identity provider, read from its JWK set (RFC 7517).

Other keys of the set are passed over: a real provider also publishes RSA keys. Nothing here needs
pyjwt, so the broker can check a roster without it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from comity.certs.errors import KeyUnusable
from comity.certs.keys import VerifyKey

MAX_JWKS_BYTES: Final = 64 * 1024
"""A JWK set larger than this is refused unread."""

_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def read_es256_keys(jwks: bytes) -> Mapping[str, VerifyKey]:
    """Return the P-256 signature keys of a JWK set by their `kid`.

    Raises `KeyUnusable` if it isn't a JWK set, has no such key, names one `kid` twice, or holds a private
    part (RFC 7518, section 6): such a file must not be published.
    """
    if len(jwks) > MAX_JWKS_BYTES:
        raise KeyUnusable(f"JWK set is larger than {MAX_JWKS_BYTES} bytes")
    try:
        document: object = json.loads(jwks.decode())
    except (ValueError, RecursionError) as error:
        raise KeyUnusable("JWK set is not JSON") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise KeyUnusable("JWK set: expected an object with a list `keys` (RFC 7517, section 5)")
    found: dict[str, VerifyKey] = {}
    for entry in entries:
        if _PRIVATE_MEMBERS & entry.keys():
            raise KeyUnusable("JWK set holds a private or symmetric key, expected public keys alone")
        if not _is_es256(entry):
            continue
        kid = entry.get("kid")
        if not isinstance(kid, str) or not kid or kid in found:
            raise KeyUnusable("JWK set: each ES256 key needs a `kid` of its own")
        found[kid] = VerifyKey(_public_key(entry))
    if not found:
        raise KeyUnusable("JWK set has no ES256 key (kty EC, crv P-256)")
    return MappingProxyType(found)


@lru_cache(maxsize=256)
def es256_keys(jwks: bytes) -> Mapping[str, VerifyKey]:
    """Return what `read_es256_keys` does, remembered: for sets that somebody signed, which are few."""
    return read_es256_keys(jwks)


def to_jwks(keys: Mapping[str, VerifyKey]) -> bytes:
    """Return a JWK set of `keys` by their `kid`, with `alg` and `use`."""
    return json.dumps({"keys": [_to_jwk(kid, key) for kid, key in keys.items()]}, indent=2).encode() + b"\n"


def _is_es256(entry: Mapping[str, object]) -> bool:
    """Return whether a JWK is a P-256 key that may verify ES256 signatures."""
    return (
        entry.get("kty") == "EC"
        and entry.get("crv") == "P-256"
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", "ES256") == "ES256"
    )


def _public_key(entry: Mapping[str, object]) -> ec.EllipticCurvePublicKey:
    """Return the key of a P-256 JWK (RFC 7518, section 6.2.1); raise `KeyUnusable` if it is no point."""
    x, y = (_coordinate(entry.get(name)) for name in ("x", "y"))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError as error:
        raise KeyUnusable("JWK: `x` and `y` are no point of P-256") from error


def _coordinate(value: object) -> int:
    """Return a coordinate: 32 bytes in base64url without padding."""
    if isinstance(value, str) and len(value) == 43 and value.isascii():
        try:
            return int.from_bytes(base64.b64decode(value + "=", altchars=b"-_", validate=True), "big")
        except binascii.Error:
            pass
    raise KeyUnusable("JWK: `x` and `y` are not 32 bytes in base64url without padding")


def _to_jwk(kid: str, key: VerifyKey) -> dict[str, str]:
    """Return one key as a JWK."""
    point = key.der[-64:]
    x, y = (base64.urlsafe_b64encode(half).rstrip(b"=").decode() for half in (point[:32], point[32:]))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig", "alg": "ES256"}
