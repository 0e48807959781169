"""No configuration of the broker, or of another agency, changes a provider's decision (A1).

The bundles' own cases are asked for real, behind brokers that let everything through, nothing, or
something else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest

from comity.broker.errors import OrderRefusal, OrderRefused
from comity.broker.exchange import AcceptedOrder, Asked
from comity.broker.orders import CeilingOf
from comity.certs.envelope import digest
from comity.certs.instants import to_instant
from comity.cli.demonstration.policies import adopt_policy
from comity.v1 import link_pb2, query_pb2
from tests.simulator import FederationSimulator, simulate
from tests.support.federation import FederationOnDisk, build_federation
from tests.support.real_questions import (
    ASKING,
    STORES,
    RealQuestion,
    ask,
    decisions,
    lay_out_stores,
    real_questions,
)

pytestmark = pytest.mark.long

EVERY = int(os.environ.get("EVERY", "12"))
"""Every so-many-th case is asked, each behind every broker: some forty of them, or all (`make brokers`)."""

PERMIT_ALL = """
@id("{agency}.all") @rule("A1") @document("ours") @text("everybody may search and see everything")
@retain_days("0") @max_window("none")
permit (principal, action, resource);
"""
Decided = Mapping[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    """All providers with their shipped bundles and stores of several classes."""
    now = datetime.now(UTC)
    made = build_federation(tmp_path_factory.mktemp("brokers") / "f", now)
    lay_out_stores(made, now)
    return made


@asynccontextmanager
async def copied(
    laid_out: FederationOnDisk, root: Path, change: Callable[[FederationOnDisk], None] = lambda made: None
) -> AsyncIterator[FederationSimulator]:
    shutil.copytree(laid_out.root, root)
    made = FederationOnDisk(root=root, spec=laid_out.spec)
    change(made)
    async with simulate(made, asking=ASKING) as federation:
        yield federation


async def decided(
    federation: FederationSimulator,
    questions: Sequence[RealQuestion],
    before: Callable[[int, RealQuestion], None] = lambda number, question: None,
) -> dict[str, tuple[str, ...]]:
    """Ask every question; return what was decided, by its name. One that nobody decided isn't there."""
    found: dict[str, tuple[str, ...]] = {}
    for number, question in enumerate(questions):
        before(number, question)
        exchange = await ask(federation, question, number)
        told = decisions(federation, question.provider).get(exchange)
        if told is not None:
            found[question.name] = told
    return found


@pytest.fixture(scope="module")
def questions() -> list[RealQuestion]:
    return real_questions(EVERY, datetime.now(UTC))


@pytest.fixture(scope="module")
def honest(
    laid_out: FederationOnDisk, questions: list[RealQuestion], tmp_path_factory: pytest.TempPathFactory
) -> Decided:
    """What is decided behind the honest broker: answers and refusals, of each provider."""

    async def asked() -> Decided:
        async with copied(laid_out, tmp_path_factory.mktemp("honest") / "f") as federation:
            return await decided(federation, questions)

    found = asyncio.run(asked())
    outcomes = [told[0] for told in found.values()]
    assert len(found) > 0.7 * len(questions)
    assert outcomes.count("responded") > 5 and outcomes.count("refused") > 5
    assert {name.partition(":")[0] for name in found} == set(STORES)
    return found


def takes_everything(
    placement: link_pb2.OrderPlacement, *, agency: str, ceiling_of: CeilingOf, **_: object
) -> AcceptedOrder:
    """Take any order as it is claimed: no signature, replay, freshness or lodged ceiling is asked for."""
    order = query_pb2.Order.FromString(placement.order.payload)
    asked = []
    for data in placement.leaves:
        leaf = query_pb2.OrderLeaf.FromString(data)
        lodged = ceiling_of(leaf.provider)
        asked.append(
            Asked(
                provider=leaf.provider,
                query_digest=leaf.query_digest,
                ceiling=b"" if lodged is None else lodged.ceiling,
                agreement_digest=b"" if lodged is None else lodged.agreement_digest,
            )
        )
    return AcceptedOrder(
        exchange_id=order.exchange_id,
        requester=agency,
        digest=digest(placement.order.payload),
        issued_at=to_instant(order, "issued_at"),
        deadline=to_instant(order, "deadline"),
        asked=tuple(asked),
    )


def takes_nothing(placement: link_pb2.OrderPlacement, **_: object) -> AcceptedOrder:
    """Refuse every order."""
    raise OrderRefused(OrderRefusal.REQUESTER)


async def test_broker_that_lets_everything_through_changes_no_decision(
    laid_out: FederationOnDisk, questions: list[RealQuestion], honest: Decided, tmp_path: Path
) -> None:
    """Whether the middle checks an order or not, the provider decides the same."""
    with patch("comity.broker.desk.verify_order", takes_everything):
        async with copied(laid_out, tmp_path / "f") as federation:
            assert await decided(federation, questions) == honest


async def test_broker_that_lets_nothing_through_decides_nothing(
    laid_out: FederationOnDisk, questions: list[RealQuestion], honest: Decided, tmp_path: Path
) -> None:
    """It can keep a question from being asked; no provider decides, or answers, in its place."""
    with patch("comity.broker.desk.verify_order", takes_nothing):
        async with copied(laid_out, tmp_path / "f") as federation:
            assert await decided(federation, questions) == {}
            for provider in STORES:
                assert not federation[provider].journal.of("decided", "released")


async def test_broker_that_edits_changes_no_decision(
    laid_out: FederationOnDisk, questions: list[RealQuestion], honest: Decided, tmp_path: Path
) -> None:
    """Bytes flipped, records dropped, doubled or made up, announcements and receipts rewritten."""
    async with copied(laid_out, tmp_path / "f") as federation:
        broker = federation.broker

        def postponed(announcement: link_pb2.Announcement) -> None:
            announcement.deadline.seconds += 3600

        def renamed(announcement: link_pb2.Announcement) -> None:
            announcement.requester = "lapd" if announcement.requester != "lapd" else "sheriff"

        def cut(delivery: link_pb2.ReceiptDelivery) -> None:
            delivery.receipt.payload = delivery.receipt.payload[:-1]

        lies: Sequence[Callable[[str], object]] = (
            lambda of: broker.forges("announcement", postponed, of=of),
            lambda of: broker.flips_a_byte(of=of, toward="adapter"),
            lambda of: broker.forges("receipt", cut, of=of),
            lambda of: broker.repeats_a_record(of=of),
            lambda of: broker.forges("announcement", renamed, of=of),
            lambda of: broker.drops_a_record(of=of),
            lambda of: broker.repeats("announcement", of=of),
            lambda of: broker.injects(b"\x17\x03\x03\x00\x05hello", of=of),
        )

        def lie(number: int, question: RealQuestion) -> None:
            broker.is_honest_again()
            lies[number % len(lies)](question.provider)

        found = await decided(federation, questions, lie)
        broker.is_honest_again()
    assert len(found) >= 5, "some questions pass all the same"
    assert {name: honest[name] for name in found} == found


@pytest.mark.parametrize("others", ["permit everything", "refuse everything"])
@pytest.mark.parametrize("steady", [("lapd", "lahd"), ("cbp", "dea", "vendor")])
async def test_law_of_another_agency_changes_no_decision(
    laid_out: FederationOnDisk,
    questions: list[RealQuestion],
    honest: Decided,
    tmp_path: Path,
    steady: tuple[str, ...],
    others: str,
) -> None:
    """Every other provider permits everything, or nothing: each goes by its own law (A1)."""

    def change(made: FederationOnDisk) -> None:
        for agency in set(STORES) - set(steady):
            folder = made.adapter_home(agency) / "policy" / "policies"
            for path in folder.iterdir():
                path.unlink()
            law = PERMIT_ALL.format(agency=agency) if others == "permit everything" else ""
            (folder / "00.cedar").write_text(law)
            (folder.parent / "bundle.toml").write_text(f'agency = "{agency}"\nversion = "1"\n')
            adopt_policy(made, agency, datetime.now(UTC))

    wanted = [question for question in questions if question.provider in steady][::2]
    async with copied(laid_out, tmp_path / "f", change) as federation:
        found = await decided(federation, wanted)
    assert found == {one.name: honest[one.name] for one in wanted if one.name in honest}
    assert len(found) >= 4
