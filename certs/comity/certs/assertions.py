"""Subject assertions: the JWT with which an agency vouches for the person who asks (Q4, L9).

A provider decides on what this says, so `verify_assertion` believes nothing that it hasn't checked:

1. one compact JWS of printable size, `alg` exactly `ES256`, `typ` `JWT` or none, no `crit`, and no key
   that the token brings along (`jwk`, `jku`, `x5c`, `x5u`);
2. the signature, with the key of that `kid` in this member's key set and of the issuer `iss` alone; on the
   first hop, where the gateway follows what its identity provider publishes, that one publishes the key, too;
3. `aud` is `comity` and nothing else;
4. `iat`, `exp` and, if there, `nbf` against the clock that is handed in, and ten minutes at most from
   `iat` to `exp`;
5. `cnf` holds the thumbprint of a certificate (RFC 8705) and no other confirmation, which nobody here could
   check; on the first hop it is the caller's;
6. every claim of `comity` is there and of its kind (`account_reviewed_at` alone may be missing: nobody
   says then that the account was reviewed); `agency` is this member.

pyjwt checks the signature. Everything else is checked here, because it would judge times by the
machine's own clock, and accept what it wasn't told to require.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from comity.certs import words
from comity.certs.claims import (
    ALGORITHM,
    AUDIENCE,
    MAX_ASSERTION_CHARACTERS,
    MAX_LIFETIME,
    Claims,
    certificate_thumbprint,
)
from comity.certs.errors import AssertionInvalid
from comity.certs.identity_provider import DemoIdentityProvider
from comity.certs.instants import CLOCK_SKEW, require_aware
from comity.certs.jwks import es256_keys
from comity.certs.keys import VerifyKey
from comity.certs.roster import MemberView

__all__ = ["Claims", "DemoIdentityProvider", "PublishedBy", "verify_assertion"]

_HEADER: Final = frozenset({"alg", "kid", "typ"})
_JWS: Final = jwt.PyJWS(algorithms=[ALGORITHM])


class PublishedBy(Protocol):
    """What is known of the keys that identity providers publish themselves."""

    def check(self, issuer: str, kid: str, named: VerifyKey | None) -> None:
        """Raise `AssertionInvalid` unless `issuer` publishes `named`, which the roster has under `kid`."""


def verify_assertion(
    assertion: str,
    *,
    member: MemberView,
    now: datetime,
    certificate_der: bytes | None,
    published: PublishedBy | None = None,
) -> Claims:
    """Return the claims of `assertion`, for which `member` vouches at `now`.

    `certificate_der` is the leaf of the caller on the first hop, and `cnf` must name it. None is right only
    behind the gateway that checked it: a provider can't see that certificate. `published`: what the member's
    own gateway knows of the keys that the identity provider publishes; None: the roster alone decides.

    Raises `AssertionInvalid` at the first check of this module's list that fails, its text naming header or
    claim and never a value; `CertificateRejected` if `certificate_der` is no certificate.
    """
    require_aware(now)
    payload = _verified_payload(assertion, member, published)
    _check_audience(payload)
    issued_at, expires_at = _check_times(payload, now)
    _check_confirmation(payload, certificate_der)
    return _claims(payload, member, issued_at, expires_at)


def _verified_payload(
    assertion: str, member: MemberView, published: PublishedBy | None
) -> Mapping[str, object]:
    """Return the payload of an assertion whose signature is that of the member's issuer (checks 1 and 2)."""
    if len(assertion) > MAX_ASSERTION_CHARACTERS or not assertion.isascii() or assertion.count(".") != 2:
        raise AssertionInvalid("assertion is not a compact JWS of at most 8,192 characters")
    header = _object(assertion.split(".")[0], "header")
    strange = header.keys() - _HEADER
    if strange:
        raise AssertionInvalid("assertion: header has other fields than `alg`, `kid` and `typ`")
    if header.get("alg") != ALGORITHM:
        raise AssertionInvalid(f"assertion: `alg` is not `{ALGORITHM}`")
    if header.get("typ", "JWT") not in ("JWT", "at+jwt"):
        raise AssertionInvalid("assertion: `typ` is not `JWT`")
    kid = header.get("kid")
    issuer = _object(assertion.split(".")[1], "payload").get("iss")
    for provider in member.key_set.identity_providers:
        if provider.issuer == issuer:
            key = es256_keys(provider.jwks).get(kid) if isinstance(kid, str) else None
            if published is not None and isinstance(kid, str):
                published.check(provider.issuer, kid, key)
            break
    else:
        raise AssertionInvalid(f"assertion: `iss` is not an identity provider of `{member.agency}`")
    if key is None:
        raise AssertionInvalid("assertion: `kid` names no key of its issuer")
    try:
        payload = _JWS.decode(assertion, _public_key(key.der), algorithms=[ALGORITHM])
    except jwt.InvalidTokenError as error:
        raise AssertionInvalid("assertion: signature is not that of its issuer's key") from error
    return _json_object(payload, "payload")


@lru_cache(maxsize=256)
def _public_key(spki: bytes) -> ec.EllipticCurvePublicKey:
    """Return a P-256 key as pyjwt takes it; parsed once a key, not once an assertion."""
    key = serialization.load_der_public_key(spki)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise AssertionInvalid("assertion: its issuer's key is not P-256")
    return key


def _check_audience(payload: Mapping[str, object]) -> None:
    """Raise `AssertionInvalid` unless the assertion is for Comity and nobody else (check 3)."""
    audience = _required(payload, "aud")
    if audience not in (AUDIENCE, [AUDIENCE]):
        raise AssertionInvalid(f"assertion: `aud` is not `{AUDIENCE}` alone")


def _check_times(payload: Mapping[str, object], now: datetime) -> tuple[datetime, datetime]:
    """Return `iat` and `exp`; raise `AssertionInvalid` unless `now` lies between them (check 4)."""
    issued_at, expires_at = _instant(payload, "iat"), _instant(payload, "exp")
    if issued_at > now + CLOCK_SKEW:
        raise AssertionInvalid("assertion: `iat` is still to come")
    if not issued_at < expires_at <= issued_at + MAX_LIFETIME:
        raise AssertionInvalid("assertion: `exp` is not within ten minutes after `iat`")
    if now >= expires_at + CLOCK_SKEW:
        raise AssertionInvalid("assertion: `exp` has passed: log on again")
    if "nbf" in payload and _instant(payload, "nbf") > now + CLOCK_SKEW:
        raise AssertionInvalid("assertion: `nbf` is still to come")
    return issued_at, expires_at


def _check_confirmation(payload: Mapping[str, object], certificate_der: bytes | None) -> None:
    """Raise `AssertionInvalid` unless the assertion is bound to a certificate, and to this one (check 5)."""
    confirmation = _required(payload, "cnf")
    named = confirmation.get("x5t#S256") if isinstance(confirmation, dict) else None
    if not isinstance(named, str) or len(_from_base64url(named, "cnf")) != 32:
        raise AssertionInvalid("assertion: `cnf` has no `x5t#S256` of 32 bytes")
    if confirmation != {"x5t#S256": named}:
        raise AssertionInvalid("assertion: `cnf` holds another confirmation beside `x5t#S256`")
    if certificate_der is None:
        return
    if not hmac.compare_digest(named.encode(), certificate_thumbprint(certificate_der).encode()):
        raise AssertionInvalid(
            "assertion: `cnf` names another certificate than the caller's; if that was renewed, log on again"
        )


def _claims(
    payload: Mapping[str, object], member: MemberView, issued_at: datetime, expires_at: datetime
) -> Claims:
    """Return the claims, each there and of its kind (check 6)."""
    subject = _required(payload, "comity")
    if not isinstance(subject, dict):
        raise AssertionInvalid("assertion: `comity` is not an object")
    if _text(subject, "agency") != member.agency:
        raise AssertionInvalid(f"assertion: `agency` is not `{member.agency}`")
    roles = _required(subject, "roles")
    if not isinstance(roles, list) or not all(_is_line(role) for role in roles):
        raise AssertionInvalid("assertion: `roles` is not a list of lines")
    claims = Claims(
        user=_text(payload, "sub"),
        agency=member.agency,
        office=_text(subject, "office", empty=True),
        duty_station=_text(subject, "duty_station", empty=True),
        roles=tuple(roles),
        trained_at=_instant(subject, "trained_at"),
        rules_accepted_at=_instant(subject, "rules_accepted_at"),
        rules_digest=_from_base64url(_text(subject, "rules_digest"), "rules_digest"),
        good_standing=_flag(subject, "good_standing"),
        protections_attested=_flag(subject, "protections_attested"),
        account_reviewed_at=_instant(subject, "account_reviewed_at")
        if subject.get("account_reviewed_at") is not None
        else None,
        issued_at=issued_at,
        expires_at=expires_at,
        jti=_text(payload, "jti"),
    )
    if len(claims.rules_digest) != 32:
        raise AssertionInvalid("assertion: `rules_digest` is not 32 bytes")
    for name, instant in (
        ("trained_at", claims.trained_at),
        ("rules_accepted_at", claims.rules_accepted_at),
        ("account_reviewed_at", claims.account_reviewed_at),
    ):
        if instant is not None and instant > issued_at + CLOCK_SKEW:
            raise AssertionInvalid(f"assertion: `{name}` is later than `iat`")
    if member.revoked.user(member.agency, claims.user) is not None:
        raise AssertionInvalid("assertion: its user is revoked")
    return claims


def _required(values: Mapping[str, object], name: str) -> object:
    """Return a claim that must be there."""
    value = values.get(name)
    if value is None:
        raise AssertionInvalid(f"assertion: claim `{name}` is missing")
    return value


def _text(values: Mapping[str, object], name: str, *, empty: bool = False) -> str:
    """Return a claim that is one printable line."""
    value = _required(values, name)
    if isinstance(value, str) and (_is_line(value) or (empty and not value)):
        return value
    raise AssertionInvalid(f"assertion: `{name}` is not one printable line")


def _is_line(value: object) -> bool:
    """Return whether `value` is one printable line."""
    try:
        return isinstance(value, str) and bool(words.line(value, "claim"))
    except ValueError:
        return False


def _flag(values: Mapping[str, object], name: str) -> bool:
    """Return a claim that is true or false."""
    value = _required(values, name)
    if not isinstance(value, bool):
        raise AssertionInvalid(f"assertion: `{name}` is not true or false")
    return value


def _instant(values: Mapping[str, object], name: str) -> datetime:
    """Return a claim that is a NumericDate (RFC 7519, section 2)."""
    value = _required(values, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):  # NaN and infinity are among them
            pass
    raise AssertionInvalid(f"assertion: `{name}` is not a time in seconds since 1970")


def _object(segment: str, what: str) -> Mapping[str, object]:
    """Return the JSON object in one segment of a compact JWS."""
    return _json_object(_from_base64url(segment, what), what)


def _json_object(data: bytes, what: str) -> Mapping[str, object]:
    """Return a JSON object in which no name stands twice."""
    try:
        document: object = json.loads(data.decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise AssertionInvalid(f"assertion: {what} is not JSON") from error
    if not isinstance(document, dict):
        raise AssertionInvalid(f"assertion: {what} is not an object")
    return document


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object of `pairs`; two readers must not see two values of one claim."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _from_base64url(text: str, what: str) -> bytes:
    """Return the bytes of canonical base64url without padding (RFC 7515, section 2)."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise AssertionInvalid(f"assertion: {what} is not base64url") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise AssertionInvalid(f"assertion: {what} is not canonical base64url")
    return data
