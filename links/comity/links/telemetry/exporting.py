"""The SDK and its exporters: imported by a process whose configuration asks for them, and by nothing else.

A process has one `Exporting`, for as long as it serves. OpenTelemetry's global providers are set by it, once.

**Sampling.** A sampled flag that comes from another agency, or from the broker, is not obeyed: each process
keeps its own share of traces, chosen by the trace id, so that agencies with the same ratio keep the same
traces. A gateway obeys its caller, who is of its own house.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased

from comity.links.errors import ConfigUnusable
from comity.links.telemetry.lines import LineFile, MetricLines, SpanLines
from comity.links.telemetry.settings import ExporterKind, TelemetrySettings

_log = logging.getLogger(__name__)

QUEUE_SPANS: Final = 8192
"""Spans that may wait to leave; more are let go: telemetry never makes an exchange wait."""

BATCH_SPANS: Final = 1024
STOP_SECONDS: Final = 2.0
"""How long a stop waits for the last spans and metrics to leave."""


class Exporting:
    """The running exporters of one process."""

    def __init__(self, *parts: Callable[[], object]) -> None:
        self._parts = parts

    def stop(self) -> None:
        """Let the last spans and metrics leave, for at most `STOP_SECONDS`. Call it off the event loop."""
        threads = [threading.Thread(target=part, daemon=True) for part in self._parts]
        for thread in threads:
            thread.start()
        until = time.monotonic() + STOP_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            _log.warning("the last telemetry was not delivered in %.0f s and is let go", STOP_SECONDS)


def start_exporting(settings: TelemetrySettings, *, role: str, agency: str) -> Exporting:
    """Set the process' providers, and send what is emitted where `settings` say.

    `role` and `agency`, if any, say whose it is, on the resource. Raises `ConfigUnusable` when the exporter
    isn't installed.
    """
    spans, measurements = _exporters(settings)
    # No version: it stands in the package's metadata, which brings all of the README into memory.
    whose = {"service.namespace": "comity", "service.name": f"comity-{role}"}
    resource = Resource({**whose, "comity.agency": agency} if agency else {**whose})
    milliseconds = settings.interval_seconds * 1000
    tracers = TracerProvider(
        sampler=_sampler(settings.sample_ratio, obeys_parent=role == "gateway"),
        resource=resource,
        shutdown_on_exit=False,
    )
    tracers.add_span_processor(
        BatchSpanProcessor(
            spans,
            max_queue_size=QUEUE_SPANS,
            max_export_batch_size=BATCH_SPANS,
            schedule_delay_millis=milliseconds,
        )
    )
    reader = PeriodicExportingMetricReader(measurements, export_interval_millis=milliseconds)
    meters = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    return Exporting(tracers.shutdown, meters.shutdown)


def _sampler(ratio: float, *, obeys_parent: bool) -> Sampler:
    """Return what chooses the traces that are kept; `obeys_parent`: a remote parent is of one's own house."""
    own = TraceIdRatioBased(ratio)
    if obeys_parent:
        return ParentBased(own)
    return ParentBased(own, remote_parent_sampled=own, remote_parent_not_sampled=own)


def _exporters(settings: TelemetrySettings) -> tuple[SpanExporter, MetricExporter]:
    """Return what takes spans, and what takes metrics."""
    match settings.exporter:
        case ExporterKind.FILE:
            if settings.path is None:
                raise ConfigUnusable('`exporter = "file"` needs a `path`')
            file = LineFile(settings.path)
            return SpanLines(file), MetricLines(file)
        case ExporterKind.OTLP:
            return _otlp(settings.endpoint)
        case ExporterKind.NONE:
            raise ConfigUnusable("nothing is exported without an exporter")


def _otlp(endpoint: str) -> tuple[SpanExporter, MetricExporter]:
    try:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise ConfigUnusable(
            "key `telemetry.exporter` is `otlp`, whose package isn't there: install `comity[otlp]`"
        ) from error
    insecure = endpoint.startswith("http://")
    return (
        OTLPSpanExporter(endpoint=endpoint, insecure=insecure),
        OTLPMetricExporter(endpoint=endpoint, insecure=insecure),
    )
