"""What a gateway emits: its spans and metrics, by OpenTelemetry's API alone.

A caller's own trace stays in the house: its context is the parent of the span `search`, and `exchange` begins
a trace of its own that is linked to it. The trace that crosses the federation is thus one exchange's, its id
random, and tells broker and providers nothing that the exchange's id doesn't: not which questions belong
together.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Final

from opentelemetry.trace import Span, SpanContext, SpanKind

from comity.links.telemetry.context import parse_traceparent, traceparent
from comity.links.telemetry.facts import facts, outcome_name
from comity.links.telemetry.metrics import Metering
from comity.links.telemetry.spans import Tracing, failed, relate

TRACING: Final = Tracing("gateway")
METERING: Final = Metering("gateway")


class Trail:
    """The spans of one exchange: its own, and for each provider one from the question to its outcome."""

    __slots__ = ("_account", "_asking", "_verifying", "span")

    def __init__(self, *, search: Span, requester: str) -> None:
        context = search.get_span_context()
        self.span = TRACING.begin(
            "exchange",
            links=(context if context.is_valid else None,),
            kind=SpanKind.CLIENT,
            facts=facts(requester=requester),
        )
        self._asking: dict[str, Span] = {}
        self._verifying: dict[str, Span] = {}
        self._account: SpanContext | None = None

    @property
    def traceparent(self) -> str:
        """The context that goes with the order."""
        return traceparent(self.span)

    def step(self, name: str) -> AbstractContextManager[Span]:
        """Return a `with` block for one step of the whole exchange."""
        return TRACING.step(self.span, name)

    def ordered(self, exchange_id: bytes, providers: Iterable[str]) -> None:
        """Take it that the order is signed, and begin to wait for each provider."""
        for provider in providers:
            self._asking[provider] = TRACING.child(self.span, "ask", facts=facts(provider=provider))
        self.span.set_attributes(facts(exchange=exchange_id, asked=len(self._asking)))

    def of(self, provider: str) -> str:
        """Return the context that goes with a provider's question."""
        return traceparent(self._asking.get(provider, self.span))

    def answered(self, provider: str, parent: str) -> None:
        """Take it that a provider's result came, `parent` its context: what follows is to verify it."""
        asking = self._asking.get(provider)
        if asking is not None and provider not in self._verifying:
            links = (parse_traceparent(parent),)
            self._verifying[provider] = TRACING.child(
                asking, "verify", links=links, facts=facts(provider=provider)
            )

    def stamped(self, provider: str, parent: str) -> None:
        """Take it that the broker stamped a provider's receipt."""
        asking = self._asking.get(provider)
        if asking is not None:
            relate(asking, parse_traceparent(parent))

    def accounted(self, parent: str) -> None:
        """Take it that the broker's account came."""
        self._account = parse_traceparent(parent)

    def settled(self, provider: str, kind: int, seconds: float) -> None:
        """Take it that a provider's outcome is final; count it."""
        said = facts(provider=provider, outcome=outcome_name(kind))
        METERING.settled(said)
        METERING.took(said, seconds)
        for spans in (self._verifying, self._asking):
            span = spans.pop(provider, None)
            if span is not None:
                span.set_attributes(said)
                span.end()

    def summary(self) -> AbstractContextManager[Span]:
        """Return a `with` block for the summary and its log entry."""
        return TRACING.step(self.span, "summary", links=(self._account,))

    def end(self, outcome: str) -> None:
        """End what is left of it; `outcome` is a word of the code's own."""
        for spans in (self._verifying, self._asking):
            for span in spans.values():
                span.end()
            spans.clear()
        self.span.set_attributes(facts(outcome=outcome))
        self.span.end()

    def fail(self, error: BaseException) -> None:
        """End it by an error of which nothing left the house."""
        failed(self.span, error)
        self.span.end()


def count_not_asked(providers: Iterable[str]) -> None:
    """Count those members who were left out of a question."""
    for provider in providers:
        METERING.settled(facts(provider=provider, outcome="not_asked"))
