"""What spans and metrics a test's code emits, in memory.

OpenTelemetry's providers are global and can be set once a process: they are set here when a test first
collects, and keep nothing while none does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult


class _Switch(Sampler):
    on = False

    def should_sample(self, *arguments: Any, **named: Any) -> SamplingResult:
        return (ALWAYS_ON if self.on else ALWAYS_OFF).should_sample(*arguments, **named)

    def get_description(self) -> str:
        return "on while a test collects"


class _Keep(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


@cache
def _global() -> tuple[_Switch, _Keep, InMemoryMetricReader]:
    switch, keep, reader = _Switch(), _Keep(), InMemoryMetricReader()
    tracers = TracerProvider(sampler=switch)
    tracers.add_span_processor(SimpleSpanProcessor(keep))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
    return switch, keep, reader


@dataclass
class Collected:
    """The spans that have ended, in order, and the metrics."""

    reader: InMemoryMetricReader
    spans: list[ReadableSpan] = field(default_factory=list)

    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def named(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def points(self, room: str, metric: str) -> list[tuple[dict[str, Any], Any]]:
        """Return (attributes, point) of a room's metric, as they stand now in this process."""
        data = self.reader.get_metrics_data()
        return [
            (dict(point.attributes or {}), point)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            if scope.scope.name == f"comity.{room}"
            for found in scope.metrics
            if found.name == metric
            for point in found.data.data_points
        ]


@contextmanager
def collecting() -> Iterator[Collected]:
    """Collect what is emitted in the `with` block."""
    switch, keep, reader = _global()
    keep.spans = []
    switch.on = True
    try:
        yield Collected(reader=reader, spans=keep.spans)
    finally:
        switch.on = False
