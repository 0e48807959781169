"""The Python library: a program that is its agency's gateway asks, and every safeguard is the front's own."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from comity.audit.errors import LogUnwritable
from comity.certs.agency import AgencyHome
from comity.gateway import (
    Answer,
    Attestation,
    AuditUnavailable,
    Completeness,
    FindingKind,
    GatewayError,
    Incomplete,
    MarkingScheme,
    NobodyAnswered,
    NobodyToAsk,
    NotAskedReason,
    Outcome,
    OutcomeKind,
    Plan,
    Question,
    Requester,
    RequesterClosed,
    RequestInvalid,
    SubjectRefused,
    Unauthenticated,
    end,
)
from tests.gateway.test_library import PLATE, a_question
from tests.simulator import FederationSimulator, RequestersEnd, simulate
from tests.support.federation import FederationOnDisk
from tests.support.telemetry import collecting

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROVIDERS = {"cbp", "dea", "lahd", "lapd"}


@dataclass
class Asking:
    """A program of the sheriff's in the simulated federation, which has no other gateway."""

    federation: FederationSimulator
    requester: Requester

    @property
    def journal(self) -> Any:
        return self.federation.journals["sheriff/gateway"]

    def assertion(self, certificate: bytes | None = None, **overrides: Any) -> str:
        made = self.federation.made
        provider = AgencyHome.load(made.home("sheriff")).identity_provider()
        named = self.requester.certificate if certificate is None else certificate
        return provider.issue(made.user("sheriff"), named, self.federation.clock(), **overrides)

    def question(self, **changes: Any) -> Question:
        return a_question(self.federation.clock(), **changes)

    async def ask(self, **changes: Any) -> Answer:
        return await self.requester.ask(self.question(**changes), assertion=self.assertion())

    def kinds(self, *, since: int = 0) -> list[str]:
        beside = ("session_opened", "checkpoint_seen", "link_opened")
        return [entry.kind for entry in self.journal.entries[since:] if entry.kind not in beside]


def a_library(federation: FederationSimulator) -> AbstractAsyncContextManager[Requester]:
    federation.asking.setdefault("sheriff", RequestersEnd(federation, "sheriff"))
    return Requester.open(federation.made.gateway_home("sheriff"), clock=federation.clock)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    laid_out: FederationOnDisk, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FederationSimulator]:
    root = tmp_path_factory.mktemp("requester") / "f"
    shutil.copytree(laid_out.root, root)
    async with simulate(FederationOnDisk(root=root, spec=laid_out.spec), asking=()) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def quiet(running: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    """The simulated federation without any gateway process; after the test everybody is honest again."""
    yield running
    running.broker.is_honest_again()
    for provider in running.providers.values():
        provider.is_honest_again()


@pytest_asyncio.fixture(loop_scope="module")
async def asking(quiet: FederationSimulator) -> AsyncIterator[Asking]:
    async with a_library(quiet) as requester:
        yield Asking(quiet, requester)


# -- what comes back ----------------------------------------------------------------------------------------


async def test_answer_holds_everyone_with_typed_reads(asking: Asking) -> None:
    """Reads are values of Python with marking and caveats; who was not asked is in the answer too."""
    answer = await asking.ask(providers=["lapd", "lahd", "cbp"])
    assert answer.complete and not answer.findings
    kinds = {name: outcome.kind for name, outcome in answer.outcomes.items()}
    asked = dict.fromkeys(("cbp", "lahd", "lapd"), OutcomeKind.RESPONDED)
    assert kinds == {**asked, "dea": OutcomeKind.NOT_ASKED}
    assert answer.outcomes["dea"].not_asked is NotAskedReason.EXCLUDED
    assert set(answer.plan.asked) == set(asked) and answer.plan.exchange_id == answer.exchange_id
    lapd = answer.outcomes["lapd"]
    assert lapd.attested_by is Attestation.PROVIDER and lapd.is_signed_by_provider and lapd.stamped
    assert lapd.proto is not None and lapd.proto.receipt.payload and lapd.searched is not None
    assert {read.plate for read in answer.reads} == {PLATE}
    assert {read.provider for read in answer.reads} == set(asked)
    assert [read.captured_at for read in answer.reads] == sorted(
        (read.captured_at for read in answer.reads), reverse=True
    )
    read = lapd.reads[0]
    assert read.captured_at.tzinfo is UTC and read.marking.provider == "lapd"
    assert read.marking.scheme is MarkingScheme.PLAIN and read.marking.banner in lapd.marking.banner  # type: ignore[union-attr]
    assert read.proto.read_id == read.read_id
    assert answer.banner.startswith("CUI") and any("(A5)" in line for line in answer.caveats)
    assert PLATE not in f"{answer!r} {answer.outcomes!r} {answer.reads!r} {asking.question()!r}"


async def test_refusal_comes_with_its_rule(asking: Asking) -> None:
    """A refusal is an outcome, not an error: signed by the provider, with the paragraph it stands on."""
    answer = await asking.ask(reason="CIVIL_IMMIGRATION", providers=["lapd", "cbp"])
    refused = answer.outcomes["lapd"]
    assert refused.kind is OutcomeKind.REFUSED and refused.is_signed_by_provider and not refused.reads
    assert refused.reason and refused.rules and "A3" in refused.rules[0].rules


async def test_parts_come_as_they_settle_and_are_logged_before(asking: Asking) -> None:
    """A plan, each outcome once `delivered` is durable, the answer last; `asked` was durable before all."""
    parts: list[object] = []
    search = asking.requester.search(asking.question(), assertion=asking.assertion())
    async with aclosing(search) as found:
        async for part in found:
            parts.append(part)
            delivered = {entry.public["peer"] for entry in asking.journal.of("delivered")}
            if isinstance(part, Plan):
                assert asking.journal.of("asked")
            if isinstance(part, Outcome):
                assert part.provider in delivered
    assert [type(part) for part in parts] == [Plan, *[Outcome] * len(PROVIDERS), Answer]
    assert isinstance(parts[-1], Answer) and set(parts[-1].outcomes) == PROVIDERS
    assert asking.kinds()[0] == "started" and asking.kinds()[-1] == "concluded"


async def test_lie_of_the_broker_is_a_typed_finding(asking: Asking) -> None:
    """What is wrong with the broker's word stands in the answer: what, and who may have lied."""
    asking.federation.broker.drops("account")
    (finding,) = (await asking.ask(providers=["lapd"], timeout=timedelta(seconds=1))).findings
    assert finding.kind is FindingKind.NO_ACCOUNT and "operator" in finding.suspects and finding.text


async def test_what_is_wrong_with_an_answer_carries_it(asking: Asking) -> None:
    """Incomplete, or nobody answered: the error is clear, and everyone's outcome is still there."""
    asking.federation["lahd"].goes_silent()
    with pytest.raises(Incomplete) as found:
        await asking.ask(completeness=Completeness.all())
    answer = found.value.answer
    assert answer is not None and not answer.complete and "lahd" in answer.incomplete_text
    assert answer.outcomes["lahd"].kind is OutcomeKind.TIMED_OUT
    assert answer.outcomes["lahd"].attested_by is Attestation.BROKER
    assert answer.outcomes["lapd"].reads
    with pytest.raises(NobodyAnswered) as nobody:
        await asking.ask(providers=["lahd"])
    assert nobody.value.answer is not None and not nobody.value.answer.reads
    with pytest.raises(NobodyToAsk) as alone:
        await asking.ask(providers=["sheriff"])
    assert alone.value.answer is not None and not alone.value.answer.banner


# -- who may ask --------------------------------------------------------------------------------------------


async def test_assertion_must_name_this_gateways_leaf(asking: Asking) -> None:
    """An assertion of another system of the same agency, or with another fault, asks nothing here."""
    made = asking.federation.made
    asked = [end.asked for end in asking.federation.providers.values()]
    for assertion in (
        asking.assertion(made.client_certificate("sheriff")),
        asking.assertion(cnf={}),
        asking.assertion(agency="lapd"),
        asking.assertion(exp=int((asking.federation.clock() - timedelta(minutes=1)).timestamp())),
        "no.jwt.atall",
        "",
    ):
        with pytest.raises(Unauthenticated):
            await asking.requester.ask(asking.question(), assertion=assertion)
    assert [end.asked for end in asking.federation.providers.values()] == asked
    assert not asking.journal.of("asked")


async def test_who_may_not_ask_is_turned_down_and_logged(asking: Asking) -> None:
    """A user without training (Q4) and a question without a case (Q3) leave their trace, and nothing else."""
    stale = int((asking.federation.clock() - timedelta(days=400)).timestamp())
    with pytest.raises(SubjectRefused, match="Q4"):
        await asking.requester.ask(asking.question(), assertion=asking.assertion(trained_at=stale))
    with pytest.raises(RequestInvalid) as found:
        await asking.ask(case_number="", on_behalf_of="someone", plate="8ABC*")
    assert {item.field for item in found.value.violations} == {"case_number", "on_behalf_of", "plate.number"}
    assert [entry.public["why"] for entry in asking.journal.of("turned_down")] == [
        "subject_refused",
        "request_invalid",
    ]
    assert not asking.journal.of("asked")


# -- safeguards ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "asked"), [("asked", 0), ("delivered", 1)])
async def test_nothing_leaves_or_is_shown_before_it_is_durable(asking: Asking, kind: str, asked: int) -> None:
    """A log that fails at `asked` keeps the question in; one that fails at `delivered` keeps the reads."""
    append, before = asking.journal.log.append, asking.federation["lapd"].asked
    shown: list[object] = []

    async def full(*entries: Any) -> Any:
        if any(entry.kind == kind for entry in entries):
            raise LogUnwritable("the disk is full")
        return await append(*entries)

    asking.journal.log.append = full
    search = asking.requester.search(asking.question(providers=["lapd"]), assertion=asking.assertion())
    with pytest.raises(AuditUnavailable):
        async with aclosing(search) as parts:
            async for part in parts:
                shown.append(part)
    assert asking.federation["lapd"].asked - before == asked
    assert not [part for part in shown if not isinstance(part, Plan)]
    asking.journal.log.append = append
    assert (await asking.ask(providers=["lapd"])).complete


async def test_leaving_a_search_early_cancels_it(asking: Asking) -> None:
    """Whoever closes a search, or cancels the task that asks, is logged as gone, and others go on."""
    asking.federation["lahd"].goes_silent()
    search = asking.requester.search(asking.question(), assertion=asking.assertion())
    async with aclosing(search) as parts:
        assert isinstance(await anext(parts), Plan)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await asking.ask()
    await asking.federation.until(lambda: len(asking.journal.of("concluded")) == 2)
    assert [entry.public["cancelled"] for entry in asking.journal.of("concluded")] == [True, True]
    assert (await asking.ask(providers=["lapd"])).complete


async def test_fault_of_ours_keeps_its_text(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The text of a fault could name a person: error and log tell its kind alone."""

    def broken(*arguments: object, **options: object) -> None:
        raise ValueError(PLATE)

    monkeypatch.setattr("comity.gateway.gateway.sign_order", broken)
    with pytest.raises(GatewayError) as found:
        await asking.ask()
    shown = f"{found.value!r} {found.value.__cause__!r} {found.value.__context__!r} {caplog.text}"
    assert PLATE not in shown and "ValueError" in caplog.text


async def test_search_is_a_child_of_the_programs_own_span(asking: Asking) -> None:
    """Who traces a program finds its questions below the step that asked; without one they stand alone."""
    tracer = trace.get_tracer("program")
    with collecting() as emitted:
        with tracer.start_as_current_span("case work") as above:
            await asking.ask(providers=["lapd"])
        await asking.ask(providers=["lapd"])
    below, alone = [span for span in emitted.spans if span.name == "search" and span.kind is SpanKind.SERVER]
    assert below.parent is not None and below.parent.span_id == above.get_span_context().span_id
    assert alone.parent is None


# -- opening and closing ------------------------------------------------------------------------------------


async def test_block_that_is_left_is_over(quiet: FederationSimulator) -> None:
    """What is still open ends, `stopped` is the last entry, and asking again is refused."""
    quiet["lahd"].goes_silent()
    async with a_library(quiet) as requester:
        asking = Asking(quiet, requester)
        question, assertion = asking.question(completeness=Completeness.all()), asking.assertion()
        late = asyncio.create_task(requester.ask(question, assertion=assertion))
        await quiet.until(lambda: len(asking.journal.of("delivered")) == len(PROVIDERS) - 1)
    with pytest.raises(Incomplete) as found:
        await late
    assert found.value.answer is not None
    assert found.value.answer.outcomes["lahd"].kind is OutcomeKind.SESSION_FAILED
    assert asking.kinds()[0] == "started" and asking.kinds()[-1] == "stopped"
    with pytest.raises(RequesterClosed):
        await requester.ask(question, assertion=assertion)
    async with a_library(quiet) as again:
        assert again.is_linked and again.agency == "sheriff"


async def test_gateway_that_fails_beside_asks_no_more(
    quiet: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that died would trust the old roster for good: no question passes, and the block tells why."""

    async def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(end, "follow", broken)
    with pytest.raises(ZeroDivisionError):
        async with a_library(quiet) as requester:
            asking = Asking(quiet, requester)
            with pytest.raises(RequesterClosed, match="failed"):
                await asking.ask()
    assert not asking.journal.of("asked")
