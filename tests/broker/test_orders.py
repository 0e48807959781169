"""Which orders the broker takes: one good one, and each way in which one is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from comity.audit import merkle
from comity.broker.errors import OrderRefusal, OrderRefused
from comity.broker.exchange import AcceptedOrder
from comity.broker.orders import MAX_PROVIDERS, claimed_exchange_id, verify_order
from comity.broker.replay import SeenExchanges
from comity.certs.envelope import payload_type, seal_payload
from comity.v1 import link_pb2, query_pb2, result_pb2

T0 = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass
class Desk:
    """The broker's side of a placement."""

    statements: Any
    seen: SeenExchanges
    agency: str = "sheriff"

    def take(self, placement: link_pb2.OrderPlacement, *, now: datetime = T0) -> AcceptedOrder:
        order = verify_order(
            placement,
            agency=self.agency,
            statement_keys=(self.statements.keys[self.agency].public,),
            seen=lambda exchange_id: self.seen.has(exchange_id, now),
            ceiling_of=lambda provider: None if provider == "vendor" else self.statements.ceiling(provider),
            now=now,
        )
        self.seen.add(order.exchange_id, now)
        return order


@pytest.fixture
def desk(statements: Any) -> Desk:
    return Desk(statements=statements, seen=SeenExchanges())


def test_good_order_is_taken_with_ceilings_and_leaf_order(desk: Desk, statements: Any) -> None:
    """An accepted order lists its providers in leaf order, each with digest and lodged ceiling."""
    order = desk.take(statements.placement("lapd", "cbp"))
    assert [asked.provider for asked in order.asked] == ["lapd", "cbp"]
    assert order.asked[0].ceiling == b"ceiling of lapd"
    assert order.deadline == T0 + timedelta(seconds=10)


def refusal_of(desk: Desk, placement: link_pb2.OrderPlacement, *, now: datetime = T0) -> OrderRefusal:
    with pytest.raises(OrderRefused) as caught:
        desk.take(placement, now=now)
    return caught.value.refusal


def test_forged_order_is_refused(desk: Desk, statements: Any) -> None:
    """An order signed by another agency's key is not this agency's, whatever it says."""
    assert refusal_of(desk, statements.placement("cbp", signed_by="lapd")) is OrderRefusal.SIGNATURE


def test_changed_order_is_refused(desk: Desk, statements: Any) -> None:
    """One changed byte of what was signed, and the signature is nobody's."""
    placement = statements.placement("cbp")
    placement.order.payload = placement.order.payload.replace(b"sheriff", b"sherifg")
    assert refusal_of(desk, placement) is OrderRefusal.SIGNATURE


def test_other_statement_passed_off_as_an_order_is_refused(desk: Desk, statements: Any) -> None:
    """The payload type is part of what is signed: bytes that are signed as a receipt are no order."""
    placement = statements.placement("cbp")
    as_receipt = payload_type(result_pb2.Receipt)
    placement.order.payload_type = as_receipt
    assert refusal_of(desk, placement) is OrderRefusal.SIGNATURE
    placement.order.CopyFrom(seal_payload(as_receipt, placement.order.payload, statements.keys["sheriff"]))
    assert refusal_of(desk, placement) is OrderRefusal.SIGNATURE


def test_another_agencys_order_cannot_be_placed(desk: Desk, statements: Any) -> None:
    """`lapd` can neither place `sheriff`'s signed order nor sign one in its name."""
    desk.agency = "lapd"
    assert refusal_of(desk, statements.placement("cbp")) is OrderRefusal.SIGNATURE
    assert refusal_of(desk, statements.placement("cbp", signed_by="lapd")) is OrderRefusal.REQUESTER


def test_replayed_order_is_refused(desk: Desk, statements: Any) -> None:
    """The same order twice is served once."""
    placement = statements.placement("cbp")
    desk.take(placement)
    assert refusal_of(desk, placement) is OrderRefusal.REPLAYED


def test_replay_under_a_signature_encoded_anew_is_refused(desk: Desk, statements: Any) -> None:
    """ECDSA signatures are malleable: the other valid signature of the same order is still a replay."""
    placement = statements.placement("cbp")
    desk.take(placement)
    again = link_pb2.OrderPlacement()
    again.CopyFrom(placement)
    r, s = decode_dss_signature(placement.order.signatures[0].signature)
    again.order.signatures[0].signature = encode_dss_signature(r, P256_ORDER - s)
    assert again != placement
    assert refusal_of(desk, again) is OrderRefusal.REPLAYED


def test_replay_is_remembered_until_the_order_is_stale(desk: Desk, statements: Any) -> None:
    """At every instant an order is either remembered or no longer fresh, even one from a fast clock."""
    placement = statements.placement("cbp", issued=timedelta(seconds=5), lasts=timedelta(seconds=120))
    desk.take(placement)
    for seconds in (1, 119, 121, 124, 125, 126, 130, 131, 200):
        found = refusal_of(desk, placement, now=T0 + timedelta(seconds=seconds))
        assert found in (OrderRefusal.REPLAYED, OrderRefusal.STALE)


@pytest.mark.parametrize(("issued", "taken"), [(-126, False), (-124, True), (0, True), (4, True), (6, False)])
def test_order_is_fresh_for_120_seconds_and_5_of_skew(
    desk: Desk, statements: Any, issued: int, taken: bool
) -> None:
    """Before and after its window an order is stale."""
    placement = statements.placement("cbp", issued=timedelta(seconds=issued))
    if taken:
        desk.take(placement)
    else:
        assert refusal_of(desk, placement) is OrderRefusal.STALE


@pytest.mark.parametrize("seconds", [-1, 0, 126, 3600])
def test_deadline_behind_or_too_far_ahead_is_refused(desk: Desk, statements: Any, seconds: int) -> None:
    """A deadline lies ahead, by 120 seconds at most."""
    placement = statements.placement("cbp", lasts=timedelta(seconds=seconds))
    assert refusal_of(desk, placement) is OrderRefusal.DEADLINE


def test_provider_without_a_lodged_ceiling_refuses_the_order_and_is_named(
    desk: Desk, statements: Any
) -> None:
    """No agreement, no order: and the gateway learns which provider it is."""
    placement = statements.placement("cbp", "vendor")
    with pytest.raises(OrderRefused) as caught:
        desk.take(placement)
    assert caught.value.refusal is OrderRefusal.NO_CEILING
    assert "`vendor`" in caught.value.text
    assert caught.value.exchange_id == claimed_exchange_id(placement)


def test_added_leaf_is_refused(desk: Desk, statements: Any) -> None:
    """Nobody can be added to a signed list."""
    placement = statements.placement("cbp")
    placement.leaves.append(statements.leaf("dea").SerializeToString())
    assert refusal_of(desk, placement) is OrderRefusal.PROVIDERS


def test_exchanged_or_reordered_leaf_is_refused(desk: Desk, statements: Any) -> None:
    """The leaves are exactly those that stand under the root, in their order."""
    placement = statements.placement("cbp", "dea")
    placement.leaves[1] = statements.leaf("lapd").SerializeToString()
    assert refusal_of(desk, placement) is OrderRefusal.LEAVES
    placement = statements.placement("cbp", "dea")
    first, second = placement.leaves
    placement.leaves[:] = [second, first]
    assert refusal_of(desk, placement) is OrderRefusal.LEAVES


def test_provider_named_twice_or_nobody_or_too_many_is_refused(desk: Desk, statements: Any) -> None:
    """1 to 64 providers, each once."""
    assert refusal_of(desk, statements.placement("cbp", "cbp")) is OrderRefusal.PROVIDERS
    assert refusal_of(desk, statements.placement()) is OrderRefusal.PROVIDERS
    many = statements.placement(*(f"p{number}" for number in range(MAX_PROVIDERS + 1)))
    assert refusal_of(desk, many) is OrderRefusal.PROVIDERS


def _clear_deadline(order: query_pb2.Order) -> None:
    order.ClearField("deadline")


def _far_year(order: query_pb2.Order) -> None:
    order.issued_at.seconds = 1 << 50


def _short_id(order: query_pb2.Order) -> None:
    order.exchange_id = b"short"


def _no_nonce(order: query_pb2.Order) -> None:
    order.nonce = b""


@pytest.mark.parametrize("change", [_clear_deadline, _far_year, _short_id, _no_nonce])
def test_order_with_a_field_missing_or_absurd_is_refused(
    desk: Desk, statements: Any, change: Callable[[query_pb2.Order], None]
) -> None:
    """What is signed can still be malformed, and is then refused instead of guessed."""
    assert refusal_of(desk, statements.placement("cbp", change=change)) is OrderRefusal.MALFORMED


def test_order_with_room_for_content_is_refused(desk: Desk, statements: Any) -> None:
    """An order or leaf larger than an honest one could carry a plate past the broker: it isn't taken."""
    fat = statements.placement("cbp", change=lambda order: setattr(order, "requester", "s" * 600))
    assert refusal_of(desk, fat) is OrderRefusal.MALFORMED
    assert claimed_exchange_id(fat) == b""
    assert refusal_of(desk, statements.placement("c" * 100)) is OrderRefusal.LEAVES


@pytest.mark.parametrize("fault", ["room for content", "digest cut short", "salt cut short"])
def test_leaf_of_another_size_than_an_honest_one_is_refused(desk: Desk, statements: Any, fault: str) -> None:
    """Under a root that is signed over just that: what no field of a leaf holds has no place in one."""
    leaf = statements.leaf("cbp")
    if fault == "digest cut short":
        leaf.query_digest = leaf.query_digest[:31]
    if fault == "salt cut short":
        leaf.salt = leaf.salt[:15]
    unknown_field = b"\x7a\x50" + bytes(80) if fault == "room for content" else b""
    data = leaf.SerializeToString() + unknown_field
    root = merkle.root([merkle.leaf_hash(data)])
    placement = statements.placement("cbp", change=lambda order: setattr(order, "root", root))
    placement.leaves[:] = [data]
    assert refusal_of(desk, placement) is OrderRefusal.LEAVES


@pytest.mark.parametrize("name", ["", "LAPD", "la pd", "lapd\n2026-03-04 all is well", "8ABC123", "a" * 33])
def test_leaf_that_names_no_agency_is_refused_and_not_repeated(
    desk: Desk, statements: Any, name: str
) -> None:
    """What can't be an agency id reaches neither the log nor the reply: no text, no plate, no newline."""
    with pytest.raises(OrderRefused) as caught:
        desk.take(statements.placement(name))
    assert caught.value.refusal is OrderRefusal.LEAVES
    assert not name or name not in caught.value.text
    assert "\n" not in caught.value.detail


def test_refused_order_leaves_its_id_free(desk: Desk, statements: Any) -> None:
    """Only what was taken is remembered: a refusal can't be used to burn somebody's exchange id."""
    placement = statements.placement("cbp", issued=timedelta(seconds=60), lasts=timedelta(seconds=70))
    assert refusal_of(desk, placement) is OrderRefusal.STALE
    desk.take(placement, now=T0 + timedelta(seconds=58))


def test_garbage_is_refused_and_has_no_id(desk: Desk) -> None:
    """Bytes that are no order are refused without a word about them."""
    placement = link_pb2.OrderPlacement()
    placement.order.payload = b"\xff" * 40
    assert refusal_of(desk, placement) is OrderRefusal.SIGNATURE
    assert claimed_exchange_id(placement) == b""
