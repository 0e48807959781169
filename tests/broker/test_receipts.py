"""Which receipts the broker stamps: one good one, and each way in which one is BAD_RECEIPT."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from comity.broker.errors import ReceiptRejected
from comity.broker.receipts import MAX_RECEIPT_BYTES, verify_receipt
from comity.v1 import common_pb2, envelope_pb2, link_pb2, result_pb2

T0 = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def judge(
    statements: Any, order: Any, envelope: envelope_pb2.Envelope, *, link_of: str = "lapd"
) -> result_pb2.Receipt:
    delivery = link_pb2.ReceiptDelivery(exchange_id=order.exchange_id, receipt=envelope)
    asked = next(asked for asked in order.asked if asked.provider == link_of)
    return verify_receipt(
        delivery,
        order=order,
        asked=asked,
        statement_keys=(statements.keys[link_of].public,),
        now=T0 + timedelta(seconds=2),
    ).message


def test_good_receipt_is_stamped(statements: Any) -> None:
    """A receipt over the right question, under the lodged ceiling, by its provider."""
    order = statements.accepted("lapd", "cbp")
    assert judge(statements, order, statements.receipt(order, "lapd")).provider == "lapd"


def test_receipt_signed_by_another_provider_is_bad(statements: Any) -> None:
    """`cbp` can't answer for `lapd`, neither on its own link nor with its own key on another's."""
    order = statements.accepted("lapd", "cbp")
    with pytest.raises(ReceiptRejected):
        judge(statements, order, statements.receipt(order, "lapd", signed_by="cbp"))
    with pytest.raises(ReceiptRejected):
        judge(statements, order, statements.receipt(order, "lapd"), link_of="cbp")


def test_receipt_of_another_provider_relayed_on_this_link_is_bad(statements: Any) -> None:
    """A receipt in another's name on this provider's link settles this provider as BAD_RECEIPT."""
    order = statements.accepted("lapd", "cbp")
    with pytest.raises(ReceiptRejected, match="provider"):
        judge(statements, order, statements.receipt(order, "cbp", signed_by="lapd"))


def _set(name: str, value: object) -> Callable[[result_pb2.Receipt], None]:
    def change(receipt: result_pb2.Receipt) -> None:
        setattr(receipt, name, value)

    return change


def _at(seconds: int) -> Callable[[result_pb2.Receipt], None]:
    def change(receipt: result_pb2.Receipt) -> None:
        receipt.signed_at.FromDatetime(T0 + timedelta(seconds=seconds))

    return change


def _no_promise(receipt: result_pb2.Receipt) -> None:
    receipt.ClearField("promise")


def _no_time(receipt: result_pb2.Receipt) -> None:
    receipt.ClearField("signed_at")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_set("exchange_id", b"x" * 16), id="another exchange"),
        pytest.param(_set("requester", "cbp"), id="another requester"),
        pytest.param(_set("query_digest", b"x" * 32), id="another question"),
        pytest.param(_set("ceiling_marking", b"ceiling of lapd "), id="marking that is not the ceiling"),
        pytest.param(_set("ceiling_marking", b""), id="no marking"),
        pytest.param(_set("agreement_digest", b"x" * 32), id="another agreement"),
        pytest.param(_set("kind", common_pb2.OUTCOME_KIND_TIMED_OUT), id="a kind of the broker's"),
        pytest.param(_set("kind", common_pb2.OUTCOME_KIND_UNSPECIFIED), id="no kind"),
        pytest.param(_set("kind", 77), id="a kind that does not exist"),
        pytest.param(_set("content_root", b""), id="no root"),
        pytest.param(_set("nonce", b""), id="no nonce"),
        pytest.param(_no_promise, id="no promise"),
        pytest.param(_no_time, id="no time"),
        pytest.param(_at(-60), id="signed before its order"),
        pytest.param(_at(60), id="signed in the future"),
        pytest.param(_set("policy_version", "v" * MAX_RECEIPT_BYTES), id="too large"),
    ],
)
def test_receipt_that_differs_in_one_field_is_bad(
    statements: Any, change: Callable[[result_pb2.Receipt], None]
) -> None:
    """Each field that a stamp vouches for is compared; a marking byte for byte."""
    order = statements.accepted("lapd")
    with pytest.raises(ReceiptRejected):
        judge(statements, order, statements.receipt(order, "lapd", change=change))


def test_audit_unavailable_needs_no_promise(statements: Any) -> None:
    """A provider whose log can't be written can promise no entry, and may say so."""
    order = statements.accepted("lapd")

    def change(receipt: result_pb2.Receipt) -> None:
        receipt.kind = common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE
        receipt.ClearField("promise")

    assert judge(statements, order, statements.receipt(order, "lapd", change=change))
