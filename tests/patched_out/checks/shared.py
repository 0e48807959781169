"""Patches that several checks share."""

from __future__ import annotations

from tests.patched_out.patching import Body, Instead, Without

ANY_SIGNATURE = Body("comity.certs.envelope:_signers", "return tuple(key.key_id for key in keys)")
"""Whatever an envelope carries counts as signed, by every key that is trusted."""

ANY_LEAF = Body(
    "comity.certs.x509:verify_leaf",
    """
    leaf, claimed = load_certificate(chain_der[0]), SpiffeId.parse(spiffe_id)
    return VerifiedLeaf(
        spiffe_id=spiffe_id, domain=claimed.domain, path=claimed.path, dns_names=(),
        not_after=leaf.not_valid_after_utc, fingerprint=leaf.fingerprint(hashes.SHA256()),
    )
    """,
)
"""A leaf is whatever end its bearer says."""

ANY_TOKEN_KEY = Instead(
    "comity.certs.assertions:_verified_payload",
    "_JWS.decode(assertion, _public_key(key.der), algorithms=[ALGORITHM])",
    "_from_base64url(assertion.split('.')[1], 'payload')",
)
"""Whatever key signed a token, or none."""

ANYBODY = (
    Instead("comity.links.sessions.tls:make_context", "ssl.CERT_REQUIRED", "ssl.CERT_NONE"),
    Body(
        "comity.links.sessions.tls:TlsEnd._judge",
        """
        end = self._clock().replace(year=9999)
        return VerifiedLeaf(
            spiffe_id=self._expected.spiffe_id,
            domain="",
            path="",
            dns_names=(),
            not_after=end,
            fingerprint=bytes(32),
        )
        """,
    ),
    Without("comity.links.sessions.hub:GatewaySessions._judged", "self._check_ready(session, first.ready)"),
)
"""Whoever speaks in a session is the peer that was expected."""

IN_CLEAR = (
    Body("comity.links.sessions.tls:TlsEnd.seal", "self._out.write(plaintext)"),
    Body("comity.links.sessions.tls:TlsEnd._decrypt", "return self._in.read()"),
)
"""After its handshake a session goes on without encryption."""

ANY_NUMBER = Without("comity.links.flow:Flow.accept", "if sequence != self.sequence:")
"""A session's frames come in any order, some of them twice or never."""
