"""Patches that several checks share."""

from __future__ import annotations

from tests.patched_out.patching import Instead, Without

ANY_SIGNATURE = (
    Instead(
        "comity.certs.envelope:_signers",
        "trusted.get(signature.key_id)",
        "trusted.get(signature.key_id) or next((key for key in trusted.values() if key.key_id not in signers), None)",
    ),
    Without("comity.certs.envelope:_signers", "key.verify(signature.signature, encoded)"),
)
"""Whatever signature an envelope carries counts as one of a key that is trusted."""
