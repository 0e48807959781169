"""W3C trace context as it travels in frames: `traceparent` alone.

Never `tracestate` or baggage: their values are free text, in which content could cross the broker. What
comes is parsed and never handed on as it came; what is not of the one form below is ignored, as the
recommendation asks (W3C Trace Context, 3.2.2), because telemetry never costs an exchange.
"""

from __future__ import annotations

import re
from typing import Final

from opentelemetry.trace import Span, SpanContext, TraceFlags

TRACEPARENT_LENGTH: Final = 55
"""Characters of `00-<trace id>-<span id>-<flags>`."""

_FORM: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)


def traceparent(span: Span) -> str:
    """Return a span's context as it travels; empty for a span that is none."""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    sampled = context.trace_flags & TraceFlags.SAMPLED
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{sampled:02x}"


def parse_traceparent(text: str) -> SpanContext | None:
    """Return the context in `text`; None for anything but version 00 with ids that are not all zero."""
    if len(text) != TRACEPARENT_LENGTH:
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    context = SpanContext(
        trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & TraceFlags.SAMPLED)
    )
    return context if context.is_valid else None
