"""Telemetry's own parts: what may be said, trace context, settings, and the file that a collector reads."""

from __future__ import annotations

import inspect
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, set_span_in_context

from comity.links.errors import ConfigUnusable
from comity.links.telemetry import facts as words
from comity.links.telemetry.context import parse_traceparent, traceparent
from comity.links.telemetry.exporting import _sampler
from comity.links.telemetry.facts import facts, outcome_name
from comity.links.telemetry.lines import LineFile, SpanLines, metric_line
from comity.links.telemetry.metrics import Gauge
from comity.links.telemetry.settings import ExporterKind, TelemetrySettings, parse_telemetry
from comity.links.telemetry.spans import NO_SPAN, Tracing
from comity.v1 import common_pb2
from tests.support.telemetry import collecting

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


# -- what may be said --------------------------------------------------------------------------------


def test_attributes_are_those_of_the_list_and_no_others() -> None:
    """Everything that `facts` can say is on the list, and it takes nothing that is free text."""
    said = facts(
        exchange=bytes(16),
        requester="lapd",
        provider="dea",
        role="gateway",
        outcome="responded",
        asked=2,
        alarm="unproven",
        credential="ca",
    )
    assert set(said) | {words.ERROR} == words.ALLOWED
    assert set(inspect.signature(facts).parameters) == {
        *("exchange", "requester", "provider", "role", "outcome", "asked", "alarm", "credential"),
    }


def test_exchange_id_that_is_none_is_not_told() -> None:
    """A peer's bytes in the place of an exchange id could be anything."""
    assert facts(exchange=b"8ABC123") == {} and facts(exchange=b"x" * 17) == {}


def test_outcomes_have_their_names_and_a_number_that_is_none_has_one_too() -> None:
    """However many numbers a peer invents, they are one time series."""
    assert outcome_name(common_pb2.OUTCOME_KIND_TIMED_OUT) == "timed_out"
    assert {outcome_name(0), outcome_name(77), outcome_name(10**9)} == {"unknown"}


def test_failed_step_tells_the_kind_of_error_and_not_its_text() -> None:
    """The text of an exception may hold content (plates, users): no event, no description, no stack."""
    tracing = Tracing("test")
    with collecting() as collected:
        root = tracing.begin("root")
        with pytest.raises(ValueError), tracing.step(root, "broken"):
            raise ValueError("plate 8ABC123 of j.ortega")
        root.end()
    span = collected.named("broken")
    assert span.attributes == {"error.type": "ValueError"}
    assert span.events == () and span.status.description is None
    assert span.status.status_code is StatusCode.ERROR
    assert "8ABC123" not in span.to_json() and "ortega" not in span.to_json()


def test_every_metric_that_is_read_stands_on_its_page() -> None:
    """docs/telemetry.md names each gauge, with its unit: what isn't there nobody alarms on."""
    page = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `comity.")]
    named = {name.strip(" `"): row[2] for row in rows for name in row[1].split(",")}
    for gauge in Gauge:
        name, unit, _ = gauge.value
        assert f"`{unit}`" in named.get(name, ""), f"`{name}` in `{unit}` is missing"


def test_without_configuration_a_step_is_nothing() -> None:
    """The API alone, in a process of its own: no span is made, and no context would travel."""
    program = (
        "from comity.links.telemetry.spans import Tracing, NO_SPAN\n"
        "from comity.links.telemetry.context import traceparent\n"
        "import sys\n"
        "tracing = Tracing('adapters')\n"
        "root = tracing.begin('root')\n"
        "assert not root.is_recording() and traceparent(root) == ''\n"
        "assert tracing.step(root, 'one') is tracing.step(root, 'two')\n"
        "with tracing.step(root, 'one') as step: assert step is NO_SPAN\n"
        "assert 'opentelemetry.sdk' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- trace context -------------------------------------------------------------------------------------


def test_context_travels_and_comes_back() -> None:
    """What one process writes another reads: W3C trace context, version 00."""
    context = parse_traceparent(PARENT)
    assert context is not None and context.is_remote
    with collecting() as collected:
        span = Tracing("test").begin("child", parent=context)
        sent = traceparent(span)
        span.end()
    assert sent[3:35] == PARENT[3:35] and len(sent) == 55
    assert collected.named("child").parent == context


def test_span_that_is_none_has_no_context_to_send() -> None:
    """Without tracing the field stays empty."""
    assert traceparent(NO_SPAN) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "0",
        PARENT + "\n",
        "01" + PARENT[2:],
        "ff" + PARENT[2:],
        PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        PARENT.replace("b7ad6b7169203331", "0" * 16),
        PARENT.replace("-", "_"),
        PARENT.replace("0af7", "0\u0661f7"),
        "8ABC123 j.ortega " * 4000,
    ],
    ids=range(12),
)
def test_malformed_context_is_ignored(text: str) -> None:
    """Another version, ids that are all zero, free text: no error, and nothing of it is kept."""
    assert parse_traceparent(text) is None


@given(st.text(max_size=80))
def test_any_text_is_ignored_or_read(text: str) -> None:
    """No text raises; what is read is written again as it was, but for the flags."""
    context = parse_traceparent(text)
    assert context is None or f"00-{context.trace_id:032x}-{context.span_id:016x}" == text[:52]


# -- sampling --------------------------------------------------------------------------------------------


def _decides(ratio: float, parent: str, *, obeys_parent: bool) -> bool:
    provider = TracerProvider(sampler=_sampler(ratio, obeys_parent=obeys_parent))
    context = parse_traceparent(parent)
    assert context is not None
    span = provider.get_tracer("t").start_span("s", set_span_in_context(_remote(context)))
    return bool(span.is_recording())


def _remote(context: SpanContext):  # type: ignore[no-untyped-def]
    from opentelemetry.trace import NonRecordingSpan

    return NonRecordingSpan(context)


def test_sampled_flag_of_another_agency_is_not_obeyed() -> None:
    """Neither does it make us keep a trace, nor keep us from it; a gateway obeys its own house's callers."""
    unsampled = PARENT[:-2] + "00"
    assert not _decides(0.0, PARENT, obeys_parent=False)
    assert _decides(1.0, unsampled, obeys_parent=False)
    assert _decides(0.0, PARENT, obeys_parent=True)
    assert not _decides(1.0, unsampled, obeys_parent=True)


# -- settings --------------------------------------------------------------------------------------------


def test_no_table_is_off(tmp_path: Path) -> None:
    """Off by default, also with an empty table."""
    assert parse_telemetry(None, home=tmp_path) == TelemetrySettings()
    assert parse_telemetry({}, home=tmp_path).exporter is ExporterKind.NONE


def test_file_is_beside_the_configuration(tmp_path: Path) -> None:
    """A relative path is the configuration's folder's; all keys are taken."""
    table = {"exporter": "file", "path": "spans.jsonl", "interval_seconds": 0.5, "sample_ratio": 0.25}
    assert parse_telemetry(table, home=tmp_path) == TelemetrySettings(
        exporter=ExporterKind.FILE,
        path=tmp_path / "spans.jsonl",
        interval_seconds=0.5,
        sample_ratio=0.25,
    )


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("file", "[telemetry]"),
        ({"exporter": "jaeger"}, '"none", "file", "otlp"'),
        ({"exportr": "file"}, "did you mean `exporter`"),
        (
            {"exporter": "file", "endpoint": "http://x:1"},
            '`telemetry.endpoint` goes with `exporter = "otlp"',
        ),
        ({"path": "x"}, '`telemetry.path` goes with `exporter = "file"`'),
        ({"exporter": "file", "path": "nowhere/x"}, "folder that is there"),
        ({"exporter": "file", "path": "."}, "expected a file"),
        ({"exporter": "file", "path": 7}, "telemetry.path"),
        ({"exporter": "otlp"}, "`telemetry.endpoint` is missing"),
        ({"exporter": "otlp", "endpoint": "collector:4317"}, "expected a URL"),
        ({"exporter": "otlp", "endpoint": "http://[::1"}, "expected a URL"),
        ({"exporter": "file", "interval_seconds": 0}, "from 0.1 to 3600"),
        ({"exporter": "file", "interval_seconds": True}, "telemetry.interval_seconds"),
        ({"exporter": "file", "sample_ratio": 1.5}, "from 0 to 1"),
        ({"exporter": "file", "sample_ratio": "all"}, "telemetry.sample_ratio"),
    ],
    ids=range(15),
)
def test_wrong_setting_names_key_and_what_is_right(table: object, told: str, tmp_path: Path) -> None:
    """A mistake in the table is one line with key and allowed values."""
    with pytest.raises(ConfigUnusable) as caught:
        parse_telemetry(table, home=tmp_path)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_otlp_without_its_package_says_what_to_install() -> None:
    """The exporter is an extra; without it the configuration is refused in one clear line."""
    program = (
        "import sys\n"
        "sys.modules['opentelemetry.exporter.otlp.proto.grpc.metric_exporter'] = None\n"
        "from comity.links.errors import ConfigUnusable\n"
        "from comity.links.telemetry.exporting import start_exporting\n"
        "from comity.links.telemetry.settings import *\n"
        "settings = TelemetrySettings(exporter=ExporterKind.OTLP, endpoint='http://127.0.0.1:1')\n"
        "try: start_exporting(settings, role='adapter', agency='lapd')\n"
        "except ConfigUnusable as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "comity[otlp]" in done.stdout and "telemetry.exporter" in done.stdout, done.stderr


COLLECTED = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as mpb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as mgrpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as tpb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as tgrpc
from comity.links.telemetry.exporting import start_exporting
from comity.links.telemetry.metrics import Metering
from comity.links.telemetry.settings import ExporterKind, TelemetrySettings
from comity.links.telemetry.spans import Tracing

seen = []
class Traces(tgrpc.TraceServiceServicer):
    def Export(self, request, context):
        seen.extend(s.name for r in request.resource_spans for c in r.scope_spans for s in c.spans)
        return tpb.ExportTraceServiceResponse()
class Metrics(mgrpc.MetricsServiceServicer):
    def Export(self, request, context):
        seen.extend(m.name for r in request.resource_metrics for c in r.scope_metrics for m in c.metrics)
        return mpb.ExportMetricsServiceResponse()

port = 1
if "up" in sys.argv:
    server = grpc.server(ThreadPoolExecutor(2))
    tgrpc.add_TraceServiceServicer_to_server(Traces(), server)
    mgrpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
settings = TelemetrySettings(
    exporter=ExporterKind.OTLP, endpoint=f"http://127.0.0.1:{port}", interval_seconds=60
)
tracing, metering = Tracing("adapters"), Metering("adapters")
exporting = start_exporting(settings, role="adapter", agency="lapd")
tracing.begin("answer").end()
metering.settled({"comity.outcome": "responded"})
began = time.monotonic()
exporting.stop()
print(sorted(seen), time.monotonic() - began < 8)
"""


@pytest.mark.parametrize(
    ("collector", "told"), [("up", "['answer', 'comity.exchanges'] True"), ("away", "[] True")]
)
def test_collector_gets_spans_and_metrics_and_one_that_is_away_holds_up_no_stop(
    collector: str, told: str
) -> None:
    """What waits leaves when the process stops; nobody waits long for a collector that does not listen."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED, collector], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == told, done.stderr


# -- the file ---------------------------------------------------------------------------------------------


def _spans(path: Path) -> dict[str, object]:
    provider = TracerProvider(resource=Resource({"comity.agency": "lapd"}))
    provider.add_span_processor(SimpleSpanProcessor(SpanLines(LineFile(path))))
    other = parse_traceparent(PARENT)
    assert other is not None
    span = provider.get_tracer("comity.adapters").start_span(
        "decide", links=[Link(other)], attributes={"comity.provider": "lapd", "comity.asked": 5}
    )
    span.set_status(Status(StatusCode.ERROR))
    span.end()
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def test_file_is_private_and_one_line_a_batch(tmp_path: Path) -> None:
    """Mode 0600, appended to; who moves it away finds a new one."""
    path = tmp_path / "telemetry.jsonl"
    _spans(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(tmp_path / "old.jsonl")
    _spans(path)
    assert path.read_text().count("\n") == 1


def test_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    """A symbolic link in the file's place could lead anywhere: nothing is written, and nothing fails."""
    (tmp_path / "telemetry.jsonl").symlink_to(tmp_path / "target")
    assert LineFile(tmp_path / "telemetry.jsonl").append({"a": 1}) is False
    assert not (tmp_path / "target").exists()


def test_spans_are_otlp_as_others_read_it(tmp_path: Path) -> None:
    """The line is an `ExportTraceServiceRequest` in the words of OpenTelemetry's own contract."""
    pytest.importorskip("opentelemetry.proto")
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    line = _spans(tmp_path / "telemetry.jsonl")
    request = json_format.ParseDict(line, ExportTraceServiceRequest())
    (resource,) = request.resource_spans
    (span,) = resource.scope_spans[0].spans
    assert resource.resource.attributes[0].value.string_value == "lapd"
    assert resource.scope_spans[0].scope.name == "comity.adapters"
    assert span.name == "decide" and span.start_time_unix_nano <= span.end_time_unix_nano
    assert {item.key: item.value.int_value or item.value.string_value for item in span.attributes} == {
        "comity.provider": "lapd",
        "comity.asked": 5,
    }
    assert span.status.code == 2 and len(span.links) == 1
    raw = line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]  # type: ignore[index]
    assert raw["links"][0] == {"traceId": PARENT[3:35], "spanId": PARENT[36:52]}


def test_metrics_are_otlp_as_others_read_it() -> None:
    """Sums, gauges and histograms are an `ExportMetricsServiceRequest` of OpenTelemetry's own contract."""
    pytest.importorskip("opentelemetry.proto")
    from google.protobuf import json_format
    from opentelemetry.metrics import Observation
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader]).get_meter("comity.broker")
    meter.create_counter("c", unit="{exchange}").add(3, {"comity.outcome": "responded"})
    meter.create_histogram("h", unit="s", explicit_bucket_boundaries_advisory=[1, 2]).record(1.5)
    meter.create_observable_gauge("g", callbacks=[lambda options: [Observation(0.5), Observation(7)]])
    data = reader.get_metrics_data()
    assert data is not None
    request = json_format.ParseDict(json.loads(json.dumps(metric_line(data))), ExportMetricsServiceRequest())
    (scope,) = request.resource_metrics[0].scope_metrics
    found = {metric.name: metric for metric in scope.metrics}
    assert found["c"].sum.is_monotonic and found["c"].sum.data_points[0].as_int == 3
    assert found["c"].unit == "{exchange}" and found["c"].sum.aggregation_temporality == 2
    assert list(found["h"].histogram.data_points[0].bucket_counts) == [0, 1, 0]
    assert found["h"].histogram.data_points[0].sum == 1.5
    assert found["g"].gauge.data_points[0].as_double or found["g"].gauge.data_points[0].as_int
