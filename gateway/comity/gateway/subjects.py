"""Who may ask at this gateway: the caller's certificate, the user's assertion, and rule Q4.

The first hop binds them: the assertion names the SHA-256 of the certificate over which it may be
used (RFC 8705, `x5t#S256`), so a copied assertion is worth nothing on another connection. Where the gateway
follows what its identity provider publishes, a key that this one has withdrawn signs nobody in any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from comity.certs.assertions import Claims, PublishedBy, verify_assertion
from comity.certs.errors import CertsError
from comity.certs.roster import MemberView
from comity.gateway.errors import SubjectRefused, Unauthenticated

TRAINING_VALID = timedelta(days=365)
LOGON_VALID = timedelta(hours=24)
_SCHEME = "bearer "


def authenticate(
    authorization: str | None,
    *,
    certificate_der: bytes,
    member: MemberView,
    published: PublishedBy | None,
    now: datetime,
) -> tuple[Claims, str]:
    """Return the user's verified claims and the assertion itself.

    `published`: what is known of the keys that the identity provider publishes; None where nobody follows
    them. Raises `Unauthenticated` when there is no assertion, or it does not verify for this certificate.
    """
    if not authorization or not authorization.lower().startswith(_SCHEME):
        raise Unauthenticated(
            "no assertion: send metadata `authorization: Bearer <jwt>` of your identity provider"
        )
    assertion = authorization[len(_SCHEME) :].strip()
    try:
        claims = verify_assertion(
            assertion, member=member, now=now, certificate_der=certificate_der, published=published
        )
    except CertsError as error:
        raise Unauthenticated(f"the user's assertion is not accepted: {error}") from error
    return claims, assertion


def require_fit(claims: Claims, *, now: datetime) -> None:
    """Raise `SubjectRefused` unless the user may ask at all (Q4, Q9).

    In good standing; trained before access and then each year; the rules of behaviour accepted at
    this logon; the attestation of Q9 given.
    """
    if not claims.good_standing:
        raise SubjectRefused("your agency does not say that you are in good standing (Q4)")
    if claims.trained_at > now or now - claims.trained_at > TRAINING_VALID:
        raise SubjectRefused("your training is more than a year old: renew it before you ask (Q4)")
    if claims.rules_accepted_at > now + timedelta(seconds=5) or now - claims.rules_accepted_at > LOGON_VALID:
        raise SubjectRefused("accept the rules of behaviour at this logon before you ask (Q4)")
    if not claims.protections_attested:
        raise SubjectRefused(
            "attest that the query is not based solely on a protected ground before you ask (Q9)"
        )
