"""What a subject assertion says, in words that its verifier and its issuer share. No pyjwt here."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives import hashes

from comity.certs.profile import load_certificate

AUDIENCE: Final = "comity"
"""The only `aud` that is accepted."""

ALGORITHM: Final = "ES256"
"""The only `alg` that is accepted."""

MAX_LIFETIME: Final = timedelta(minutes=10)
"""From `iat` to `exp` at most."""

MAX_ASSERTION_CHARACTERS: Final = 8_192
"""A longer assertion is refused unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Whom an agency vouches for (Q4): the claims of an assertion that verified. Its repr names nobody."""

    user: str
    """As the agency names them; unique within the agency."""
    agency: str
    office: str
    """For example `ERO` or `HSI`; may be empty."""
    duty_station: str
    """May be empty."""
    roles: tuple[str, ...]
    trained_at: datetime
    """When last trained (Q4: before access, then each year)."""
    rules_accepted_at: datetime
    """When the rules of behaviour were accepted at this logon."""
    rules_digest: bytes
    """SHA-256 of the text of those rules, 32 bytes."""
    good_standing: bool
    """Whether the agency says that the user is employed and in good standing."""
    protections_attested: bool
    """Whether the user attested to Q9 at this logon."""
    account_reviewed_at: datetime | None = None
    """When the agency last reviewed this user's account (L9); None: it doesn't say."""
    issued_at: datetime
    expires_at: datetime
    jti: str
    """The assertion's own id."""

    def __repr__(self) -> str:
        return f"Claims(agency={self.agency!r})"


def certificate_thumbprint(certificate_der: bytes) -> str:
    """Return `x5t#S256` of a certificate (RFC 8705, section 3.1): SHA-256 of its DER, base64url.

    Raises `CertificateRejected` for bytes that hold no certificate.
    """
    return to_base64url(load_certificate(certificate_der).fingerprint(hashes.SHA256()))


def to_base64url(data: bytes) -> str:
    """Return `data` in base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
