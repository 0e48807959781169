"""Whether a receipt is stamped: every check between a `ReceiptDelivery` and its stamp.

A receipt is the provider's word, so it counts only if that provider's own statement key signed it
and it came on that provider's own link; only for the question that the order's leaf names; and
only under the ceiling marking that was lodged for the pair, byte for byte. A marking computed from
the content would tell a hit from none, so a receipt with any other marking is refused (design 2).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from comity.broker.errors import ReceiptRejected
from comity.broker.exchange import SIGNED_KINDS, AcceptedOrder, Asked
from comity.broker.orders import DIGEST_BYTES, ID_BYTES
from comity.certs.envelope import Opened, open_envelope
from comity.certs.errors import EnvelopeInvalid
from comity.certs.instants import CLOCK_SKEW, to_instant
from comity.certs.keys import VerifyKey
from comity.v1 import common_pb2, link_pb2, result_pb2

MAX_RECEIPT_BYTES: Final = 16 << 10
"""A receipt holds digests, a ceiling and at most one checkpoint."""


def verify_receipt(
    delivery: link_pb2.ReceiptDelivery,
    *,
    order: AcceptedOrder,
    asked: Asked,
    statement_keys: Iterable[VerifyKey],
    now: datetime,
) -> Opened[result_pb2.Receipt]:
    """Return the receipt that `asked.provider` delivered on its own link.

    `statement_keys` are that provider's keys valid at `now`. Raises ReceiptRejected, which the
    account tells as BAD_RECEIPT.
    """
    if len(delivery.receipt.payload) > MAX_RECEIPT_BYTES:
        raise ReceiptRejected("the receipt is too large")
    try:
        opened = open_envelope(delivery.receipt, result_pb2.Receipt, statement_keys)
    except EnvelopeInvalid as error:
        raise ReceiptRejected(str(error)) from error
    receipt = opened.message
    _same("exchange id", receipt.exchange_id, order.exchange_id)
    _same("provider", receipt.provider, asked.provider)
    _same("requester", receipt.requester, order.requester)
    _same("query digest", receipt.query_digest, asked.query_digest)
    _same("ceiling marking", receipt.ceiling_marking, asked.ceiling)
    _same("agreement digest", receipt.agreement_digest, asked.agreement_digest)
    if receipt.kind not in SIGNED_KINDS:
        raise ReceiptRejected("the outcome is none that a provider signs")
    _check_evidence(receipt)
    _check_time(receipt, order, now)
    return opened


def _same(name: str, found: object, expected: object) -> None:
    if found != expected:
        raise ReceiptRejected(f"the receipt's {name} is not the one expected")


def _check_evidence(receipt: result_pb2.Receipt) -> None:
    if len(receipt.nonce) != ID_BYTES:
        raise ReceiptRejected("the receipt's nonce is not 16 bytes")
    if len(receipt.content_root) != DIGEST_BYTES:
        raise ReceiptRejected("the receipt's content root is not 32 bytes")
    if receipt.kind != common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE and not receipt.HasField("promise"):
        raise ReceiptRejected("the receipt promises no log entry")


def _check_time(receipt: result_pb2.Receipt, order: AcceptedOrder, now: datetime) -> None:
    try:
        signed_at = to_instant(receipt, "signed_at")
    except ValueError as error:
        raise ReceiptRejected("the receipt's time is missing or out of range") from error
    if not order.issued_at - 2 * CLOCK_SKEW <= signed_at <= now + CLOCK_SKEW:
        raise ReceiptRejected("the receipt was not signed within its exchange")
