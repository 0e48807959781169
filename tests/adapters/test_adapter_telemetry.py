"""Each step of the path is a span (design 6), in the order in which it is taken; none tells content."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan

from comity.adapters.telemetry import TRACING
from comity.links.telemetry.context import parse_traceparent
from comity.links.telemetry.facts import ALLOWED
from comity.v1 import common_pb2, session_pb2
from tests.adapters.bench import Bench
from tests.support.telemetry import Collected, collecting

ANNOUNCED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BEFORE_THE_DECISION = [
    *("verify order", "await announcement", "check order", "check replay", "check question", "check subject"),
    "decide",
]
STEPS = [
    *BEFORE_THE_DECISION,
    *("log decision", "search", "compose", "log release", "sign receipt"),
]


async def answered(bench: Bench, ask: session_pb2.Ask) -> tuple[Collected, ReadableSpan]:
    with collecting() as collected:
        root = TRACING.begin("answer")
        await bench.path.answer("lahd", ask, span=root)
        root.end()
    return collected, collected.named("answer")


async def test_every_step_of_the_path_is_a_span_in_order(bench: Bench) -> None:
    """Verify, replay, decide, log, search, obligations and markings, log the release, receipt (design 6)."""
    ask = bench.ask()
    collected, root = await answered(bench, ask)
    assert collected.names() == [*STEPS, "answer"]
    assert all(span.parent == root.context for span in collected.spans[:-1])
    starts = [span.start_time or 0 for span in collected.spans[:-1]]
    assert starts == sorted(starts)
    assert root.attributes == {"comity.exchange.id": ask.exchange_id.hex()}
    assert all(set(span.attributes or {}) <= ALLOWED for span in collected.spans)


async def test_announcement_is_linked_to_the_brokers_span(bench: Bench) -> None:
    """What the broker announced and what the session brought are two ways to one exchange."""
    ask = bench.ask(announce=False)
    announcement = bench.announcement(ask.exchange_id, "lahd")
    bench.announcements.add(announcement, ANNOUNCED)
    collected, _ = await answered(bench, ask)
    (link,) = collected.named("await announcement").links
    assert link.context == parse_traceparent(ANNOUNCED)


async def test_refusal_has_the_same_steps_as_an_answer(bench: Bench) -> None:
    """The path is one; what the policy decided can't be told from the steps that were taken (A3)."""
    query = bench.query(reason=common_pb2.REASON_CODE_CIVIL_IMMIGRATION)
    collected, root = await answered(bench, bench.ask(query))
    assert collected.names() == [*STEPS, "answer"]
    assert "error.type" not in (root.attributes or {})


async def test_rejection_ends_with_its_class_alone(bench: Bench) -> None:
    """A question with wrong fields: the steps up to there, the class of fault, and none of the values."""
    query = bench.query(case_number=None, reason_text="an unmistakable reason text 5187")
    collected, root = await answered(bench, bench.ask(query))
    until = STEPS.index("check question") + 1
    assert collected.names() == [*STEPS[:until], "log rejection", "sign receipt", "answer"]
    assert root.attributes is not None and root.attributes["error.type"] == "malformed"
    for span in collected.spans:
        assert span.events == () and span.status.description is None
        assert "5187" not in span.to_json() and "8ABC" not in span.to_json()


async def test_exchange_id_of_a_forged_order_is_not_told(bench: Bench) -> None:
    """Until a signature stands for it, it is whatever a peer cares to claim."""
    ask = bench.ask(signer=bench.statement_key("sheriff"))
    collected, root = await answered(bench, ask)
    assert dict(root.attributes or {}) == {"error.type": "forged"}
    assert collected.names() == ["verify order", "log rejection", "answer"]
