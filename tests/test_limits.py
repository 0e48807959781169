"""Limits end to end, with everything real but gRPC: who is told what, and who does not notice."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.trace import Span

from comity.adapters.path import Reply
from comity.gateway.errors import AgencyBusy, CallerTooSlow
from comity.gateway.subjects import authenticate
from comity.v1 import session_pb2
from tests.simulator import Answer, FederationSimulator, simulate
from tests.support.federation import FederationOnDisk

LIMITS = {
    "operator/broker/broker.toml": "max_exchanges_per_agency = 3\n",
    "agencies/lapd/adapter/adapter.toml": "max_in_flight_per_subject = 1\n",
    "agencies/sheriff/gateway/gateway.toml": "max_in_flight_per_user = 4\nread_seconds = 5\n",
}
LONG = timedelta(seconds=60)


@pytest.fixture
async def limited(laid_out: FederationOnDisk, tmp_path: Path) -> AsyncIterator[FederationSimulator]:
    """The federation with small limits at the broker, at one provider and at the gateway."""
    shutil.copytree(laid_out.root, tmp_path / "f")
    for name, settings in LIMITS.items():
        path = tmp_path / "f" / name
        path.write_text(settings + path.read_text())
    async with simulate(FederationOnDisk(root=tmp_path / "f", spec=laid_out.spec)) as running:
        yield running


def hold(federation: FederationSimulator) -> asyncio.Event:
    """Have LAPD decide, and then keep its answers in flight until the event is set."""
    gate, provider = asyncio.Event(), federation["lapd"]
    answers = provider.adapter_answers

    async def held(peer: str, ask: session_pb2.Ask, *, crowded: bool = False, span: Span) -> Reply | None:
        reply: Reply | None = await answers(peer, ask, crowded=crowded, span=span)
        await gate.wait()
        return reply

    provider.adapter_answers = held
    return gate


def asking(federation: FederationSimulator) -> asyncio.Task[Answer]:
    question = federation.question(of=("lapd",), days=1, timeout=LONG)
    return asyncio.create_task(federation.search(question))


async def test_limit_of_a_subject_is_the_providers_signed_word(limited: FederationSimulator) -> None:
    """RATE_LIMITED, signed and stamped; a provider without that limit answers the same question."""
    lapd = limited["lapd"]
    gate = hold(limited)
    first = asking(limited)
    await limited.until(lambda: lapd.journal.of("released"))
    second = asyncio.create_task(limited.search(of=("lapd", "lahd"), days=1, timeout=LONG))
    await limited.until(lambda: lapd.journal.of("rejected"))
    gate.set()
    answer = await second
    assert answer.kinds == {"lapd": "RATE_LIMITED", "lahd": "RESPONDED"}
    assert answer.outcomes["lapd"].attested_by == "PROVIDER" and answer.outcomes["lapd"].stamp is not None
    assert answer.findings == [] and answer.error is None
    assert (await first).kinds == {"lapd": "RESPONDED"}
    assert (await limited.search(days=1)).is_whole


async def test_limit_of_the_broker_is_told_after_the_summary(limited: FederationSimulator) -> None:
    """Its agency has too many in flight: RESOURCE_EXHAUSTED at once, and no provider is kept waiting."""
    limited["lapd"].goes_silent()
    held = [asking(limited) for _ in range(3)]
    await limited.until(lambda: limited["lapd"].asked == 3)
    answer = await limited.search(of=("lahd",), days=1, timeout=LONG)
    assert isinstance(answer.error, AgencyBusy) and answer.summary is not None
    assert answer.outcomes["lahd"].attested_by == "GATEWAY" and not answer.outcomes["lahd"].pages
    assert answer.seconds < LONG.total_seconds() / 2
    limited["lapd"].is_honest_again()
    assert {answer.kinds["lapd"] for answer in await asyncio.gather(*held)} <= {"RESPONDED", "RATE_LIMITED"}
    assert (await limited.search(days=1)).is_whole


async def test_slow_reader_is_let_go_and_nobody_else_notices(limited: FederationSimulator) -> None:
    """A caller that stops reading loses its answer after its time, and its places are free again."""
    end = limited.asking["sheriff"]
    gateway, assertion = end.gateway, end.assertion()
    assert gateway is not None
    claims, _ = authenticate(
        f"Bearer {assertion}",
        certificate_der=limited.made.client_certificate("sheriff"),
        member=gateway.federation.member("sheriff"),
        published=gateway.published,
        now=limited.clock(),
    )
    slow = [gateway.search(limited.question(of=("lahd",), days=30), claims, assertion) for _ in range(3)]
    for search in slow:
        assert (await anext(search)).WhichOneof("part") == "plan"
        assert (await anext(search)).WhichOneof("part") == "outcome"
    assert gateway._held.bytes > 0
    assert (await limited.search(days=1)).is_whole
    await limited.passes(seconds=12)
    assert gateway._held.bytes == 0 and not gateway._running
    for search in slow:
        with pytest.raises(CallerTooSlow):
            await anext(search)
    assert (await limited.search(days=1)).is_whole
