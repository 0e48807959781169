"""Completeness over real gRPC streams: the summary is the last message before any status (design 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from comity.certs.clock import utc_now
from comity.certs.instants import from_instant
from comity.cli.asking import load_client
from comity.v1 import common_pb2, query_pb2, query_service_pb2, query_service_pb2_grpc
from tests.integration.conftest import PLATE, Federation

pytestmark = pytest.mark.integration

Completeness = query_pb2.Completeness
RULES: dict[str, Completeness] = {
    "ALL": Completeness(all=True),
    "QUORUM": Completeness(quorum=2),
    "REQUIRED": Completeness(required=query_pb2.RequiredProviders(agencies=["lahd"])),
    "BEST_EFFORT": Completeness(best_effort=True),
}


@dataclass
class Stream:
    """What came over one stream, in order, and the status that ended it."""

    parts: list[query_service_pb2.SearchResponse] = field(default_factory=list)
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""

    @property
    def told(self) -> list[str | None]:
        return [part.WhichOneof("part") for part in self.parts]

    @property
    def summary(self) -> query_service_pb2.Summary:
        assert self.told.count("summary") == 1 and self.told[-1] == "summary"
        return self.parts[-1].summary

    @property
    def kinds(self) -> dict[str, str]:
        named = {one.agency: one.kind for one in self.summary.providers}
        prefix = "OUTCOME_KIND_"
        return {
            name: common_pb2.OutcomeKind.Name(kind).removeprefix(prefix)
            for name, kind in named.items()
            if kind != common_pb2.OUTCOME_KIND_NOT_ASKED
        }


async def ask(
    federation: Federation, rule: Completeness, providers: Sequence[str], *, seconds: int = 30
) -> Stream:
    """Ask as an agency's own system does, over mutual TLS, and keep what comes until the status."""
    now = utc_now()
    request = query_service_pb2.SearchRequest(
        plate=common_pb2.Plate(number=PLATE, state="CA", country="US"),
        period=common_pb2.Period(start=from_instant(now - timedelta(days=9)), end=from_instant(now)),
        reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
        case_number="26-0417",
        reason_text="burglary series",
        for_self=True,
        providers=providers,
        completeness=rule,
    )
    request.timeout.FromTimedelta(timedelta(seconds=seconds))
    client = load_client(federation.made.client_config("sheriff"))
    credentials = grpc.ssl_channel_credentials(client.ca, client.key, client.leaf)
    options = [("grpc.ssl_target_name_override", client.gateway_name)]
    metadata = (("authorization", f"Bearer {federation.made.assertion('sheriff', now)}"),)
    stream = Stream()
    async with grpc.aio.secure_channel(client.gateway, credentials, options) as channel:
        call = query_service_pb2_grpc.QueryServiceStub(channel).Search(request, metadata=metadata, timeout=90)
        try:
            async for message in call:
                stream.parts.append(message)
        except grpc.aio.AioRpcError as error:
            stream.code = error.code()
            status = rpc_status.from_call(error)
            for detail in status.details if status is not None else ():
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    stream.reason = info.reason
    return stream


@pytest.fixture
def lahd_hangs(federation: Federation) -> Iterator[Federation]:
    """LAHD's adapter is stopped with SIGSTOP; afterwards it goes on, and answers again."""
    federation.processes.freeze("lahd adapter")
    try:
        yield federation
    finally:
        federation.processes.thaw("lahd adapter")
        for _ in range(30):
            outcomes = federation.ask("sheriff", "--provider", "lahd")["outcomes"]
            assert isinstance(outcomes, dict)
            if outcomes["lahd"]["kind"] == "RESPONDED":
                break
        else:
            pytest.fail("lahd doesn't answer again")


def test_summary_comes_before_the_status_under_every_rule(lahd_hangs: Federation) -> None:
    """One of two hangs: ALL, QUORUM(2) and REQUIRED fail after the summary, BEST_EFFORT and QUORUM(1) do not.

    Of LAHD alone nobody answers: an error under each rule, after a summary that names it.
    """

    seconds = 6  # LAPD answers eight questions at once, on a slow machine too

    async def all_at_once() -> tuple[list[Stream], list[Stream]]:
        rules = (*RULES.values(), Completeness(quorum=1))
        two = [ask(lahd_hangs, rule, ("lapd", "lahd"), seconds=seconds) for rule in rules]
        apart = [rule for name, rule in RULES.items() if name != "QUORUM"]
        nobody = [ask(lahd_hangs, rule, ("lahd",), seconds=seconds) for rule in apart]
        streams = await asyncio.gather(*two, *nobody)
        return streams[: len(two)], streams[len(two) :]

    two, nobody = asyncio.run(all_at_once())
    for rule, stream in zip((*RULES, "QUORUM(1)"), two, strict=True):
        assert stream.told[0] == "plan" and "page" in stream.told, rule
        assert stream.kinds["lapd"] == "RESPONDED" and stream.kinds["lahd"] != "RESPONDED", rule
        met = rule in ("BEST_EFFORT", "QUORUM(1)")
        assert stream.summary.complete is met, rule
        code = grpc.StatusCode.OK if met else grpc.StatusCode.FAILED_PRECONDITION
        assert (stream.code, stream.reason) == (code, "" if met else "INCOMPLETE"), rule
    for stream in nobody:
        assert stream.kinds.keys() == {"lahd"} and not stream.summary.complete
        assert stream.summary.incomplete_text
        assert (stream.code, stream.reason) == (grpc.StatusCode.UNAVAILABLE, "NOBODY_ANSWERED")


def test_every_rule_is_met_where_all_respond(federation: Federation) -> None:
    """The same questions with nobody hanging end with OK."""

    async def all_at_once() -> list[Stream]:
        return await asyncio.gather(*(ask(federation, rule, ("lapd", "lahd")) for rule in RULES.values()))

    for rule, stream in zip(RULES, asyncio.run(all_at_once()), strict=True):
        assert stream.code is grpc.StatusCode.OK, rule
        assert stream.summary.complete and stream.kinds == {"lapd": "RESPONDED", "lahd": "RESPONDED"}, rule
