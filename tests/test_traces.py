"""One question, one trace: over all three processes, linked where two ways of it meet (design 2, 6)."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan

from comity.gateway.front import answer_to
from comity.links.telemetry.context import parse_traceparent
from comity.links.telemetry.facts import ALLOWED
from tests.simulator import FederationSimulator
from tests.support.telemetry import Collected, collecting

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PROVIDERS = ("cbp", "dea", "lahd", "lapd")
ADAPTER_STEPS = {
    *("verify order", "await announcement", "check order", "check replay", "check question"),
    *("check subject", "decide", "log decision", "search", "compose", "log release", "sign receipt", "send"),
}


def of(collected: Collected, room: str, name: str) -> list[ReadableSpan]:
    scope = f"comity.{room}"
    return [
        span
        for span in collected.spans
        if span.name == name and span.instrumentation_scope and span.instrumentation_scope.name == scope
    ]


def one(collected: Collected, room: str, name: str, provider: str = "") -> ReadableSpan:
    (found,) = [
        span
        for span in of(collected, room, name)
        if not provider or (span.attributes or {}).get("comity.provider") == provider
    ]
    return found


def linked(span: ReadableSpan) -> set[int]:
    return {link.context.span_id for link in span.links}


def number(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


async def test_a_question_is_one_trace_through_gateway_broker_and_adapters(
    federation: FederationSimulator,
) -> None:
    """Every step of design 6 at every provider, below the requester's span; evidence ways are linked."""
    await federation.search(days=1)  # links and sessions stand
    with collecting() as collected:
        answer = await federation.search(days=1)
    assert answer.is_whole
    root = one(collected, "gateway", "exchange")
    assert root.parent is None and root.attributes is not None
    assert {span.context.trace_id for span in collected.spans if span.context} == {root.context.trace_id}  # type: ignore[union-attr]
    assert root.attributes["comity.asked"] == len(PROVIDERS)
    exchanges = {
        span.attributes["comity.exchange.id"]
        for span in collected.spans
        if span.attributes and "comity.exchange.id" in span.attributes
    }
    assert exchanges == {root.attributes["comity.exchange.id"]}
    for step in ("sign order", "log asked", "summary"):
        assert one(collected, "gateway", step).parent == root.context
    assert of(collected, "gateway", "log delivered")
    at_broker = one(collected, "broker", "exchange")
    assert at_broker.parent is not None and at_broker.parent.span_id == number(root)
    announced = number(one(collected, "broker", "announce"))
    answers = {span.parent.span_id: span for span in of(collected, "adapters", "answer") if span.parent}
    for provider in PROVIDERS:
        ask = one(collected, "gateway", "ask", provider)
        at_adapter = answers[number(ask)]
        steps = {
            span.name: span
            for span in collected.spans
            if span.parent and span.parent.span_id == number(at_adapter) and span.name != "verify"
        }
        assert set(steps) == ADAPTER_STEPS
        assert linked(steps["await announcement"]) == {announced}
        stamp = one(collected, "broker", "stamp", provider)
        assert linked(stamp) == {number(at_adapter)} and linked(ask) == {number(stamp)}
        verify = one(collected, "gateway", "verify", provider)
        assert linked(verify) == {number(at_adapter)}
        assert (verify.attributes or {})["comity.outcome"] == "responded"
    assert linked(one(collected, "gateway", "summary")) == {number(one(collected, "broker", "account"))}
    assert all(set(span.attributes or {}) <= ALLOWED for span in collected.spans)
    assert all(span.events == () and span.status.description is None for span in collected.spans)


async def test_a_caller_s_own_trace_does_not_leave_the_house(federation: FederationSimulator) -> None:
    """It is the parent of the gateway's span `search`; what crosses is a trace of the exchange's own."""
    end = federation.asking["sheriff"]
    assert end.gateway is not None
    caller = parse_traceparent(CALLER)
    with collecting() as collected:
        messages = answer_to(
            federation.request(days=1),
            gateway=end.gateway,
            clock=federation.clock,
            authorization=f"Bearer {end.assertion()}",
            certificate_der=lambda: federation.made.client_certificate("sheriff"),
            within=None,
            parent=caller,
        )
        assert [message async for message in messages]
    assert caller is not None
    search = one(collected, "gateway", "search")
    assert search.parent == caller
    inside = {span.name for span in collected.spans if span.context.trace_id == caller.trace_id}  # type: ignore[union-attr]
    assert inside == {"search", "check caller", "check question"}
    assert linked(one(collected, "gateway", "exchange")) == {number(search)}
