"""Spans: one for each step of an exchange, handed on by hand.

No span is ever "current": an exchange's steps run in tasks, callbacks and generators that many exchanges
share, where a context variable would put one exchange's step under another's. A span that ends by an
exception tells the exception's kind alone, because its text may hold content.

While nothing records, a step costs an attribute look-up and a shared context manager that does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
)

from comity.links.telemetry.facts import ERROR, Facts

NO_SPAN: Final = INVALID_SPAN
"""What stands where there is no span: it records nothing, and has no context."""

_EMPTY: Final = Context()
_NOTHING: Final[AbstractContextManager[Span]] = nullcontext(NO_SPAN)


class Tracing:
    """Starts the spans of one room, `adapters` say; what they do is up to the process' configuration."""

    __slots__ = ("_tracer",)

    def __init__(self, room: str) -> None:
        self._tracer = trace.get_tracer(f"comity.{room}")

    def begin(
        self,
        name: str,
        *,
        parent: SpanContext | None = None,
        links: Iterable[SpanContext | None] = (),
        kind: SpanKind = SpanKind.INTERNAL,
        facts: Facts | None = None,
    ) -> Span:
        """Return a new span, to be ended with `end`: a child of `parent` (of a peer), else of a new trace."""
        within = _EMPTY if parent is None else trace.set_span_in_context(NonRecordingSpan(parent), _EMPTY)
        others = [Link(context) for context in links if context is not None]
        return self._tracer.start_span(name, within, kind, facts, others, record_exception=False)

    def child(
        self, within: Span, name: str, *, links: Iterable[SpanContext | None] = (), facts: Facts | None = None
    ) -> Span:
        """Return a new span below another of this process, to be ended with `end`.

        Where that one records nothing, it is returned itself: its context, if it has one, travels on.
        """
        if within is NO_SPAN or not within.is_recording():
            return within
        others = [Link(context) for context in links if context is not None]
        context = trace.set_span_in_context(within, _EMPTY)
        return self._tracer.start_span(
            name, context, SpanKind.INTERNAL, facts, others, record_exception=False
        )

    def step(
        self, within: Span, name: str, *, links: Iterable[SpanContext | None] = (), facts: Facts | None = None
    ) -> AbstractContextManager[Span]:
        """Return a `with` block that is a span below another, as `child` has it."""
        if within is NO_SPAN:
            return _NOTHING
        if not within.is_recording():
            return nullcontext(within)
        return _Step(self.child(within, name, links=links, facts=facts))


class _Step:
    """A span for the time of a `with` block."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is not None:
            failed(self._span, error)
        self._span.end()


def failed(span: Span, error: BaseException | str) -> None:
    """Mark a span as failed by the kind of an exception, or a word of the code's own; never by a text.

    What was cancelled, or a generator that its caller left, is marked as `cancelled` and is no error.
    """
    if not span.is_recording():
        return
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        span.set_attribute(ERROR, "cancelled")
        return
    span.set_attribute(ERROR, error if isinstance(error, str) else type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))


def relate(span: Span, context: SpanContext | None) -> None:
    """Link a span to one of another process that it learnt of after its start."""
    if context is not None and span.is_recording():
        span.add_link(context)
