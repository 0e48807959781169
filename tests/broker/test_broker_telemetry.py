"""What the broker emits of an exchange: its steps, in the requester's trace, and nothing more."""

from __future__ import annotations

from typing import Any

from comity.links.telemetry.context import parse_traceparent
from comity.links.telemetry.facts import ALLOWED
from tests.broker.test_desk import Office, office  # noqa: F401
from tests.support.telemetry import collecting

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
RECEIPT = "00-0af7651916cd43dd8448eb211c80319c-c7ad6b7169203332-01"


async def test_each_step_is_a_span_in_the_requesters_trace(office: Office) -> None:  # noqa: F811
    """Order, log, announcement, stamps, account; frames to both ends carry the context on."""
    placement = office.placement("lapd", "cbp")
    order = office.order_of(placement)
    with collecting() as collected:
        await office.desk.place("sheriff", [placement], [PARENT])
        office.desk.receipt("cbp", office.receipt(order, "cbp"), RECEIPT)
        office.desk.receipt("lapd", office.receipt(order, "lapd"), "8ABC123 is no context")
        await office.account()
    parent, receipt = parse_traceparent(PARENT), parse_traceparent(RECEIPT)
    assert parent is not None and receipt is not None
    assert sorted(collected.names()) == sorted(
        ["verify order", "log routed", "announce", "stamp", "stamp", "account", "exchange"]
    )
    assert {span.context.trace_id for span in collected.spans if span.context} == {parent.trace_id}
    root = collected.named("exchange")
    assert root.parent == parent and root.context is not None
    assert root.attributes == {
        "comity.requester": "sheriff",
        "comity.exchange.id": order.exchange_id.hex(),
        "comity.asked": 2,
        "comity.outcome": "complete",
    }
    stamps = {span.attributes["comity.provider"]: span for span in collected.spans if span.name == "stamp"}  # type: ignore[index]
    assert [link.context for link in stamps["cbp"].links] == [receipt] and not stamps["lapd"].links
    assert all(set(span.attributes or {}) <= ALLOWED for span in collected.spans)
    sent = {kind: parse_traceparent(frame.traceparent) for _, kind, frame in office.post.sent}
    assert set(sent) == {"announcement", "stamp", "account"}
    assert {context.trace_id for context in sent.values() if context} == {parent.trace_id}


async def test_refused_order_ends_its_span_with_the_class_of_refusal(office: Office) -> None:  # noqa: F811
    """The span tells a word of the code's own: no name that the order claims becomes an attribute."""
    with collecting() as collected:
        await office.desk.place("sheriff", [office.placement("vendor")])
    root = collected.named("exchange")
    assert root.attributes is not None
    assert set(root.attributes) == {"comity.requester", "error.type"}
    assert root.events == () and root.status.description is None


async def test_outcomes_are_counted_by_provider(office: Office) -> None:  # noqa: F811
    """Who has no link is counted as unreachable, who answered as responded, with the time it took."""

    def counted() -> dict[tuple[Any, Any], int]:
        return {
            (facts["comity.provider"], facts["comity.outcome"]): point.value
            for facts, point in collected.points("broker", "comity.exchanges")
        }

    with collecting() as collected:
        before = counted()
        placement = office.placement("lapd", "dea")
        order = office.order_of(placement)
        await office.desk.place("sheriff", [placement])
        office.desk.receipt("lapd", office.receipt(order, "lapd"))
        await office.account()
        after = counted()
        took = collected.points("broker", "comity.exchange.duration")
        appends = collected.points("broker", "comity.log.append.duration")
    changed = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
    assert changed == {("lapd", "responded"): 1, ("dea", "unreachable"): 1}
    assert any(facts["comity.provider"] == "lapd" for facts, _ in took)
    assert appends and appends[0][1].count >= 2
