"""Patches that several checks share."""

from __future__ import annotations

from tests.patched_out.patching import Body

ANY_SIGNATURE = Body("comity.certs.envelope:_signers", "return tuple(key.key_id for key in keys)")
"""Whatever an envelope carries counts as signed, by every key that is trusted."""
