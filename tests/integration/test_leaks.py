"""Everything that all processes emit, and every error that callers get, holds no plate, user, case or reason.

Questions that are answered, refused, malformed, of the wrong user, late and cut off are asked with words that
occur nowhere else. Then spans, metrics, process logs, error texts with their details, and the names of all
files are searched for those words in every form in which they could hide; the same search must find them
where they belong.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from comity.certs.clock import utc_now
from comity.certs.instants import from_instant
from comity.cli.asking import Client, load_client
from comity.cli.demonstration.evidence import spellings
from comity.links.telemetry.context import parse_traceparent
from comity.links.telemetry.facts import ALLOWED
from comity.v1 import common_pb2, query_service_pb2, query_service_pb2_grpc
from tests.integration.conftest import Federation, comity, emitted_files

pytestmark = [pytest.mark.integration, pytest.mark.long]

PLATE = "9zqk-417"
USER = "z.quintero-8841"
OFFICE = "Office of Unlikely Words 60317"
CASE = "Q-77-UNMISTAKABLE-CASE-4402"
REASON = 'the "Zürich" lead of 5187'
BEHALF = "Wilhelmina Unlikely-Name"
NOBODY = "nobody-at-all-2209"
SECRETS = (PLATE, USER, OFFICE, CASE, REASON, BEHALF, NOBODY)
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PROVIDERS = {"cbp", "dea", "lahd", "lapd", "vendor"}
PATIENCE = 120.0


def forms(value: str) -> dict[str, bytes]:
    """Return every form in which a word could hide."""
    raw = value.encode()
    return {
        **spellings(value),
        "in small letters": value.lower().encode(),
        "in capitals": value.upper().encode(),
        "backwards": value[::-1].encode(),
        "hex": raw.hex().encode(),
        "hex in capitals": raw.hex().upper().encode(),
        "JSON": json.dumps(value)[1:-1].encode(),
        "JSON, escaped": "".join(f"\\u{ord(character):04x}" for character in value).encode(),
        "repr": repr(raw)[2:-1].encode(),
        "octal, as protobuf prints it": "".join(
            chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in raw
        ).encode(),
        "URL": quote(value).encode(),
    }


def found_in(data: dict[str, bytes]) -> set[str]:
    """Return where which word was found, in which form."""
    needles = [(value, form, needle) for value in SECRETS for form, needle in forms(value).items()]
    return {
        f"{place}: {value} ({form})"
        for place, content in data.items()
        for value, form, needle in needles
        if needle in content
    }


@dataclass
class Outcry:
    """What callers were told: statuses with their details, and what the command printed as errors."""

    federation: Federation
    told: dict[str, bytes] = field(default_factory=dict)
    exchanges: dict[str, bytes] = field(default_factory=dict)
    kinds: dict[str, dict[str, str]] = field(default_factory=dict)

    def client(self, agency: str) -> Client:
        return load_client(self.federation.made.client_config(agency))

    def assertion(self, agency: str = "sheriff", **claims: Any) -> str:
        return self.federation.made.assertion(agency, utc_now(), **({"sub": USER, "office": OFFICE} | claims))

    def ask(
        self,
        story: str,
        *,
        by: str = "sheriff",
        assertion: str | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
        seconds: float = 30.0,
        change: Callable[[query_service_pb2.SearchRequest], None] = lambda request: None,
        hang_up: bool = False,
    ) -> grpc.StatusCode:
        """Ask over gRPC, and keep all that the status tells."""
        now, client = utc_now(), self.client(by)
        request = query_service_pb2.SearchRequest(
            plate=common_pb2.Plate(number=PLATE, state="CA", country="US"),
            period=common_pb2.Period(start=from_instant(now - timedelta(days=2)), end=from_instant(now)),
            reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
            case_number=CASE,
            reason_text=REASON,
            on_behalf_of=BEHALF,
        )
        request.timeout.FromTimedelta(timedelta(seconds=seconds))
        change(request)
        credentials = grpc.ssl_channel_credentials(client.ca, client.key, client.leaf)
        options = [("grpc.ssl_target_name_override", client.gateway_name)]
        bearer = ("authorization", f"Bearer {self.assertion(by) if assertion is None else assertion}")
        with grpc.secure_channel(client.gateway, credentials, options) as channel:
            call = query_service_pb2_grpc.QueryServiceStub(channel).Search(
                request, metadata=(bearer, *metadata), timeout=PATIENCE
            )
            self.kinds[story] = {}
            try:
                for message in call:
                    if message.HasField("plan"):
                        self.exchanges[story] = message.plan.exchange_id
                    if message.HasField("outcome"):
                        kind = common_pb2.OutcomeKind.Name(message.outcome.kind)[13:]
                        self.kinds[story][message.outcome.agency] = kind
                        self.told[f"{story}: text of {message.outcome.agency}"] = (
                            message.outcome.text + message.outcome.detail.public_reason
                        ).encode()
                    if message.HasField("summary"):
                        self.told[f"{story}: findings"] = repr(list(message.summary.findings)).encode()
                    if hang_up:
                        call.cancel()
            except grpc.RpcError:
                pass
            trailing = b"".join(
                value if isinstance(value, bytes) else value.encode()
                for _, value in call.trailing_metadata() or ()
            )
            self.told[f"{story}: status"] = (call.details() or "").encode() + trailing
            code: grpc.StatusCode = call.code()
            return code

    def command(self, story: str, *words: str, status: int = 2) -> None:
        """Run the command, and keep what it prints as errors."""
        done = comity(*words)
        assert done.returncode == status, done.stderr
        self.told[f"{story}: stderr"] = done.stderr.encode()


def no_case(request: query_service_pb2.SearchRequest) -> None:
    request.case_number = " "
    request.plate.state = PLATE
    request.area.latitude = 777.0


def civil(request: query_service_pb2.SearchRequest) -> None:
    request.reason = common_pb2.REASON_CODE_CIVIL_IMMIGRATION


def of(*providers: str) -> Callable[[query_service_pb2.SearchRequest], None]:
    return lambda request: request.providers.extend(providers)


def quorum(request: query_service_pb2.SearchRequest) -> None:
    request.providers.append("lapd")
    request.completeness.quorum = 5


@pytest.fixture(scope="module")
def outcry(federation: Federation) -> Outcry:
    """Ask all the questions; return once what they left in the telemetry of every process is written."""
    outcry, code = Outcry(federation), grpc.StatusCode
    made = federation.made
    assert outcry.ask("good", metadata=(("traceparent", CALLER),)) is code.OK
    assert outcry.ask("odd context", metadata=(("traceparent", f"{PLATE} {CASE}"),)) is code.OK
    outcry.ask("refused", by="lahd", change=lambda request: (civil(request), of("lapd")(request))[0])
    assert outcry.ask("malformed", change=no_case) is code.INVALID_ARGUMENT
    assert outcry.ask("unknown provider", change=of(NOBODY)) is code.INVALID_ARGUMENT
    assert outcry.ask("impossible", change=quorum) is code.INVALID_ARGUMENT
    assert outcry.ask("no assertion", assertion="") is code.UNAUTHENTICATED
    assert outcry.ask("no JWT", assertion=f"{USER}.{PLATE}.x") is code.UNAUTHENTICATED
    assert outcry.ask("another agency's", assertion=outcry.assertion("lapd")) is code.UNAUTHENTICATED
    untrained = outcry.assertion(trained_at=1)
    assert outcry.ask("wrong user", assertion=untrained) is code.PERMISSION_DENIED
    assert outcry.ask("nobody to ask", by="ice", change=of("lapd")) is code.FAILED_PRECONDITION
    outcry.ask("hung up", hang_up=True)
    federation.processes.freeze("lapd adapter")
    try:
        outcry.ask("late", seconds=1.0)
    finally:
        federation.processes.thaw("lapd adapter")
    words = federation.query("sheriff", "--case", CASE, "--text", REASON, plate=PLATE)
    outcry.command("wrong fields", *words, "--state", "California")
    outcry.command("no such user", *federation.query("sheriff", user=NOBODY))
    for role, home in (("broker", made.broker_home), ("adapter", made.adapter_home("lapd"))):
        wrong = home / "wrong.toml"
        text = (home / f"{role}.toml").read_text().replace('"file"', '"jaeger"')
        wrong.write_text(text)
        outcry.command(f"wrong {role} configuration", role, "serve", "--config", str(wrong))
    assert outcry.ask("last") is code.OK
    waited = time.monotonic() + PATIENCE
    wanted = {"broker", "adapter", "gateway"}
    last = outcry.exchanges["last"].hex()
    while {role for role, span in spans(federation) if exchange_of(span) == last and is_root(span)} != wanted:
        assert time.monotonic() < waited, "telemetry did not come"
        time.sleep(0.2)
    return outcry


def lines(federation: Federation, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for _, role, home in federation.made.ends():
        path = home / "telemetry.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            for resource in json.loads(line).get(kind, ()):
                yield role, resource


def spans(federation: Federation) -> list[tuple[str, dict[str, Any]]]:
    return [
        (role, span)
        for role, resource in lines(federation, "resourceSpans")
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def attributes(item: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in item["attributes"]}


def exchange_of(span: dict[str, Any]) -> object:
    return attributes(span).get("comity.exchange.id")


def is_root(span: dict[str, Any]) -> bool:
    return span["name"] in ("exchange", "answer")


def test_nothing_that_is_emitted_or_told_holds_content(federation: Federation, outcry: Outcry) -> None:
    """Spans, metrics, process logs, statuses with details, errors on a terminal, names of files (L1)."""
    made = federation.made
    emitted = {str(path.relative_to(made.root)): path.read_bytes() for path in emitted_files(made)}
    names = "\n".join(str(path.relative_to(made.root)) for path in made.root.rglob("*"))
    everything = {**emitted, **outcry.told, "names of files": names.encode()}
    assert found_in(everything) == set()
    assert len(emitted) == 2 * len(made.ends()) and sum(map(len, emitted.values())) > 100_000
    statuses = [text for story, text in outcry.told.items() if story.endswith(("status", "stderr"))]
    assert sum(1 for text in statuses if text) > 10


def test_the_same_search_finds_content_where_it_belongs(federation: Federation, outcry: Outcry) -> None:
    """The openings beside the gateway's own log have all of it, or the search would prove nothing."""
    home = federation.made.gateway_home("sheriff")
    stores = [*home.glob("state.db*"), *(home / "wal").glob("*")]
    found = found_in({path.name: path.read_bytes() for path in stores if path.is_file()})
    assert {item.split(": ", 1)[1].rsplit(" (", 1)[0] for item in found} >= set(SECRETS) - {NOBODY}
    assert found_in({"x": json.dumps(REASON).encode()}) and found_in({"x": NOBODY.encode().hex().encode()})


def test_every_outcome_was_there_to_leak(outcry: Outcry) -> None:
    """Answers, a refusal, a provider that kept silent: what was searched is not the good case alone."""
    assert outcry.kinds["good"] == dict.fromkeys(PROVIDERS, "RESPONDED")
    assert outcry.kinds["refused"] == {"lapd": "REFUSED"}
    assert outcry.kinds["late"]["lapd"] in ("TIMED_OUT", "UNREACHABLE", "SESSION_FAILED")
    assert b"exporter" in outcry.told["wrong broker configuration: stderr"]
    assert b'"none", "file", "otlp"' in outcry.told["wrong adapter configuration: stderr"]


def test_spans_of_one_exchange_share_one_trace_over_all_processes(
    federation: Federation, outcry: Outcry
) -> None:
    """Gateway, broker and five adapters, each step of design 6 among them, and nothing beyond the list."""
    known = spans(federation)
    good = outcry.exchanges["good"].hex()
    roots = [(role, span) for role, span in known if is_root(span) and exchange_of(span) == good]
    assert sorted(role for role, _ in roots) == ["adapter"] * 5 + ["broker", "gateway"]
    (trace,) = {span["traceId"] for _, span in roots}
    caller = parse_traceparent(CALLER)
    assert caller is not None and trace != f"{caller.trace_id:032x}"
    steps: dict[str, set[str]] = defaultdict(set)
    for role, span in known:
        if span["traceId"] == trace:
            steps[role].add(span["name"])
    assert steps["gateway"] == {
        *("exchange", "sign order", "log asked", "ask", "verify", "log delivered", "summary"),
    }
    assert steps["broker"] == {"exchange", "verify order", "log routed", "announce", "stamp", "account"}
    assert steps["adapter"] == {
        *("answer", "verify order", "await announcement", "check order", "check replay", "check question"),
        *("check subject", "decide", "log decision", "search", "compose", "log release", "sign receipt"),
        "send",
    }
    (search,) = [span for _, span in known if span.get("parentSpanId") == CALLER[36:52]]
    assert search["traceId"] == CALLER[3:35]
    for _, span in known:
        assert set(attributes(span)) <= ALLOWED and "events" not in span
        assert set(span["status"]) == {"code"}


def test_metrics_count_outcomes_and_show_what_waits(federation: Federation, outcry: Outcry) -> None:
    """Outcomes by provider, durations, queues, links, sessions, log lag; members bound the series."""
    points: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for role, resource in lines(federation, "resourceMetrics"):
        for scope in resource["scopeMetrics"]:
            for metric in scope["metrics"]:
                data = metric.get("sum") or metric.get("gauge") or metric["histogram"]
                points[role, metric["name"]] += data["dataPoints"]
    everywhere = {
        *("comity.exchanges", "comity.exchange.duration", "comity.exchanges.active", "comity.links.up"),
        *("comity.link.queue.frames", "comity.link.queue.size", "comity.sessions.open"),
        *("comity.log.lag.entries", "comity.log.checkpoint.age", "comity.log.append.duration"),
    }
    for role in ("broker", "adapter", "gateway"):
        assert everywhere <= {name for of_role, name in points if of_role == role}, role
    assert ("broker", "comity.replay.entries") in points and ("adapter", "comity.replay.entries") in points
    members = {*federation.made.federation(utc_now()).members}
    counted = set()
    for (role, _), data in points.items():
        for point in data:
            said = attributes(point)
            assert set(said) <= ALLOWED - {"comity.exchange.id"}
            assert {said[key] for key in ("comity.provider", "comity.requester") if key in said} <= members
            counted.add((role, said.get("comity.provider"), said.get("comity.outcome")))
    assert {("gateway", name, "responded") for name in PROVIDERS} <= counted
    assert {("broker", name, "responded") for name in PROVIDERS} <= counted
    assert ("gateway", "lapd", "refused") in counted and ("gateway", "lapd", "not_asked") in counted


def test_telemetry_is_readable_by_its_owner_alone(federation: Federation, outcry: Outcry) -> None:
    """Who asked whom, and when, is nobody else's business: mode 0600."""
    files = [path for path in emitted_files(federation.made) if path.name == "telemetry.jsonl"]
    assert files and {oct(Path(path).stat().st_mode & 0o777) for path in files} == {"0o600"}
