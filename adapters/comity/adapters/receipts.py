"""The provider's signed word: one receipt an exchange, for the requester and for the broker.

A receipt holds no content and tells a hit from no hit by nothing: neither by its fields nor by the number
of pages. It is signed only over what the log promises; the one exception says so itself
(`AUDIT_UNAVAILABLE`: the last checkpoint in the promise's place, and no data).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from comity.audit.log import Promise
from comity.certs.clock import Clock
from comity.certs.envelope import seal
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.v1.audit_pb2 import LogPromise
from comity.v1.common_pb2 import OutcomeKind
from comity.v1.envelope_pb2 import Envelope
from comity.v1.result_pb2 import Receipt

NONCE_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What an outcome stands on: the policy in force, and the agreement if there is one."""

    policy_digest: bytes
    policy_version: str
    agreement_digest: bytes = b""
    """Empty: no agreement is in force."""
    ceiling: bytes = field(default=b"", repr=False)
    """The agreement's constant ceiling, byte for byte; empty without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is said of one exchange."""

    exchange_id: bytes
    query_digest: bytes
    requester: str
    kind: OutcomeKind
    grounds: Grounds
    content_root: bytes


class ReceiptSigner:
    """Signs this provider's receipts with its statement key."""

    def __init__(
        self,
        agency: str,
        key: SigningKey,
        *,
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._agency = agency
        self.key = key
        """The statement key in force."""
        self._clock = clock
        self._random = random

    def promised(self, outcome: Outcome, promise: Promise) -> Envelope:
        """Return the receipt of an outcome that stands in the log at `promise`."""
        receipt = self._receipt(outcome)
        receipt.promise.CopyFrom(
            LogPromise(origin=promise.origin, index=promise.index, leaf_hash=promise.leaf_hash)
        )
        return seal(receipt, self.key)

    def unpromised(self, outcome: Outcome, last_checkpoint: bytes) -> Envelope:
        """Return the receipt that says that the log can't be written; raise `ValueError` for another kind."""
        if outcome.kind != OutcomeKind.OUTCOME_KIND_AUDIT_UNAVAILABLE:
            raise ValueError("a receipt without a promise is only ever one of audit-unavailable")
        receipt = self._receipt(outcome)
        receipt.last_checkpoint = last_checkpoint
        return seal(receipt, self.key)

    def _receipt(self, outcome: Outcome) -> Receipt:
        """Return the receipt's common part."""
        return Receipt(
            nonce=self._random(NONCE_BYTES),
            exchange_id=outcome.exchange_id,
            query_digest=outcome.query_digest,
            provider=self._agency,
            requester=outcome.requester,
            kind=outcome.kind,
            policy_digest=outcome.grounds.policy_digest,
            policy_version=outcome.grounds.policy_version,
            agreement_digest=outcome.grounds.agreement_digest,
            ceiling_marking=outcome.grounds.ceiling,
            content_root=outcome.content_root,
            signed_at=from_instant(self._clock()),
        )
