"""Spans and metrics as lines of a file: OTLP's JSON, one request a line.

The format is that of the OpenTelemetry protocol's file exporter, which a collector's `otlpjsonfile` receiver
reads: ids are in hex, 64-bit integers are texts, names are in camel case (opentelemetry.io, "OTLP/JSON"). The
file is opened for each batch, appended to and closed, so that it may be moved away at any time.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AttributeValue

_log = logging.getLogger(__name__)

Json: TypeAlias = dict[str, Any]

_CUMULATIVE: Final = 2
"""`AGGREGATION_TEMPORALITY_CUMULATIVE`."""


class LineFile:
    """One file that takes lines; made with mode 0600. Safe to use from two threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._failing = False

    def append(self, line: Json) -> bool:
        """Append one line; False, told once in the process' log, while it can't be written."""
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with self._lock:
            try:
                descriptor = os.open(self._path, flags, 0o600)
                try:
                    written = os.write(descriptor, data)
                finally:
                    os.close(descriptor)
            except OSError as error:
                if not self._failing:
                    _log.warning("telemetry can't be written to `%s`: %s", self._path, error.strerror)
                self._failing = True
                return False
            self._failing = False
            return written == len(data)


class SpanLines(SpanExporter):
    """Writes batches of spans."""

    def __init__(self, file: LineFile) -> None:
        self._file = file

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write one line; what can't be written is lost, as the SDK has it."""
        done = self._file.append(span_line(spans)) if spans else True
        return SpanExportResult.SUCCESS if done else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return True: nothing waits here."""
        return True


class MetricLines(MetricExporter):
    """Writes what the reader collects."""

    def __init__(self, file: LineFile) -> None:
        super().__init__()
        self._file = file

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Write one line; what can't be written is told again with the next one, as all is cumulative."""
        done = self._file.append(metric_line(metrics_data))
        return MetricExportResult.SUCCESS if done else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Return True: nothing waits here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Do nothing: nothing is open."""


def span_line(spans: Sequence[ReadableSpan]) -> Json:
    """Return spans of one process as an `ExportTraceServiceRequest`."""
    by_scope: dict[str, list[Json]] = {}
    for span in spans:
        scope = span.instrumentation_scope
        by_scope.setdefault("" if scope is None else scope.name, []).append(_span(span))
    scopes = [{"scope": {"name": name}, "spans": found} for name, found in by_scope.items()]
    return {"resourceSpans": [{"resource": _resource(spans[0].resource), "scopeSpans": scopes}]}


def metric_line(data: MetricsData) -> Json:
    """Return what a reader collected as an `ExportMetricsServiceRequest`."""
    return {
        "resourceMetrics": [
            {
                "resource": _resource(resource.resource),
                "scopeMetrics": [
                    {
                        "scope": {"name": scope.scope.name},
                        "metrics": [_metric(metric) for metric in scope.metrics],
                    }
                    for scope in resource.scope_metrics
                ],
            }
            for resource in data.resource_metrics
        ]
    }


def _span(span: ReadableSpan) -> Json:
    context, parent = span.get_span_context(), span.parent
    found: Json = {} if context is None else _ids(context)
    if parent is not None:
        found["parentSpanId"] = f"{parent.span_id:016x}"
    found |= {
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or 0),
        "attributes": _attributes(span.attributes),
        "status": {"code": span.status.status_code.value},
    }
    if span.links:
        found["links"] = [_ids(link.context) for link in span.links]
    return found


def _ids(context: SpanContext) -> Json:
    return {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}


def _metric(metric: Metric) -> Json:
    found: Json = {"name": metric.name, "unit": metric.unit or "", "description": metric.description or ""}
    match metric.data:
        case Sum() as data:
            found["sum"] = {
                "dataPoints": [_number(point) for point in data.data_points],
                "aggregationTemporality": _CUMULATIVE,
                "isMonotonic": data.is_monotonic,
            }
        case Gauge() as data:
            found["gauge"] = {"dataPoints": [_number(point) for point in data.data_points]}
        case Histogram() as data:
            found["histogram"] = {
                "dataPoints": [
                    {
                        "attributes": _attributes(point.attributes),
                        "startTimeUnixNano": str(point.start_time_unix_nano),
                        "timeUnixNano": str(point.time_unix_nano),
                        "count": str(point.count),
                        "sum": point.sum,
                        "bucketCounts": [str(count) for count in point.bucket_counts],
                        "explicitBounds": list(point.explicit_bounds),
                        "min": point.min,
                        "max": point.max,
                    }
                    for point in data.data_points
                ],
                "aggregationTemporality": _CUMULATIVE,
            }
        case other:
            raise TypeError(f"metric data `{type(other).__name__}` is not one that this project makes")
    return found


def _number(point: NumberDataPoint) -> Json:
    value: Json = {"asDouble": point.value} if isinstance(point.value, float) else {"asInt": str(point.value)}
    return {
        "attributes": _attributes(point.attributes),
        "startTimeUnixNano": str(point.start_time_unix_nano or 0),
        "timeUnixNano": str(point.time_unix_nano),
        **value,
    }


def _resource(resource: Resource) -> Json:
    return {"attributes": _attributes(resource.attributes)}


def _attributes(attributes: Mapping[str, AttributeValue] | None) -> list[Json]:
    return [{"key": key, "value": _value(value)} for key, value in (attributes or {}).items()]


def _value(value: AttributeValue) -> Json:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": str(value)}
