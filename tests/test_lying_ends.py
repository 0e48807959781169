"""The lying provider, the lying requester and the thief, each against the whole federation.

What a single rule stops stands in the rooms' own tests (`tests/gateway/test_exchange.py`,
`tests/adapters/test_must_not.py`, `tests/links/sessions/test_attacks.py`, `tests/certs/test_assertions.py`);
here is what needs all three ends to show: what the others see, and that nobody else is hurt.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.message import DecodeError

from comity.adapters.path import Reply
from comity.audit import merkle
from comity.certs.credentials import load_end
from comity.certs.envelope import seal
from comity.certs.keys import SigningKey
from comity.gateway import gateway as gateway_module
from comity.gateway.order import SignedOrder
from comity.links.client import LinkClient, LinkConfig
from comity.links.frames import kind
from comity.v1 import common_pb2, link_pb2, result_pb2
from tests.simulator import FederationSimulator, simulate
from tests.support.federation import FederationOnDisk
from tests.support.links import RecordingEvents

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHERS = ("cbp", "dea", "lahd")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    laid_out: FederationOnDisk, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FederationSimulator]:
    root = tmp_path_factory.mktemp("lying-ends") / "f"
    shutil.copytree(laid_out.root, root)
    async with simulate(FederationOnDisk(root=root, spec=laid_out.spec)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def federation(running: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    """The shared federation; after the test everybody is honest again, and it must answer in full."""
    yield running
    running.broker.is_honest_again()
    for provider in running.providers.values():
        provider.is_honest_again()
    await running.passes(seconds=5)
    assert await running.recovers()


# -- the lying provider ------------------------------------------------------------------------------


def signed_by_lapd(federation: FederationSimulator, reply: Reply, change: Callable[[Any], None]) -> Reply:
    """The reply with another receipt, signed by the provider's own key over whatever it likes."""
    receipt = result_pb2.Receipt.FromString(reply.receipt.payload)
    change(receipt)
    key = SigningKey.load(federation.made.adapter_home("lapd") / "keys" / "statement.key")
    return replace(reply, receipt=seal(receipt, key))


def _another_page(reply: Reply) -> Reply:
    page = result_pb2.Page.FromString(reply.pages[0])
    page.reads[0].read_id = "another"
    return replace(reply, pages=(page.SerializeToString(), *reply.pages[1:]))


PAGES: dict[str, tuple[Callable[[Reply], Reply], str]] = {
    "another page than it signed": (_another_page, "UNVERIFIABLE"),
    "a page twice": (lambda r: replace(r, pages=(r.pages[0], r.pages[0])), "UNVERIFIABLE"),
    "pages in another order": (lambda r: replace(r, pages=r.pages[::-1]), "UNVERIFIABLE"),
    "a page cut short": (lambda r: replace(r, pages=(r.pages[0][:-1], r.pages[1])), "UNVERIFIABLE"),
    "another detail": (lambda r: replace(r, detail=r.detail + b"\x50\x01"), "UNVERIFIABLE"),
    "fewer pages than it signed": (lambda r: replace(r, pages=r.pages[:1]), "TIMED_OUT"),
}


@pytest.mark.parametrize("lie", PAGES)
async def test_pages_that_are_not_those_of_the_receipt_are_not_shown(
    federation: FederationSimulator, lie: str
) -> None:
    """Nothing of the provider is shown, the answer says why, and the others' results stand beside it."""
    tell, outcome = PAGES[lie]
    federation["lapd"].lies.append(tell)
    answer = await federation.search(days=30)
    assert answer.outcomes["lapd"].kind == outcome
    assert answer.outcomes["lapd"].attested_by == "GATEWAY" and answer.outcomes["lapd"].text
    assert all(answer.kinds[name] == "RESPONDED" for name in OTHERS)


async def test_more_pages_than_the_receipt_covers_are_not_shown(federation: FederationSimulator) -> None:
    """What follows a result that is complete is no part of it; the simulator compares page for page."""
    federation["lapd"].lies.append(lambda reply: replace(reply, pages=(*reply.pages, *reply.pages)))
    answer = await federation.search()
    assert answer.is_whole


async def test_reads_after_a_refusal_are_not_shown(federation: FederationSimulator) -> None:
    """A refusal that its provider signed together with pages is neither: the outcome can't be verified."""

    def lie(reply: Reply) -> Reply:
        detail = result_pb2.ResultDetail.FromString(reply.detail)
        detail.kind = common_pb2.OUTCOME_KIND_REFUSED
        data = detail.SerializeToString()
        root = merkle.root([merkle.leaf_hash(part) for part in (data, *reply.pages)])

        def change(receipt: result_pb2.Receipt) -> None:
            receipt.kind, receipt.content_root = common_pb2.OUTCOME_KIND_REFUSED, root

        return replace(signed_by_lapd(federation, reply, change), detail=data)

    federation["lapd"].lies.append(lie)
    answer = await federation.search()
    assert answer.outcomes["lapd"].kind == "UNVERIFIABLE"


async def test_another_providers_receipt_counts_with_nobody(federation: FederationSimulator) -> None:
    """LAPD hands on LAHD's whole reply as its own: bad for the broker, unverifiable for the gateway."""
    replies: list[Reply] = []
    federation["lahd"].lies.append(lambda reply: replies.append(reply) or reply)  # type: ignore[func-returns-value]
    speak = federation["lapd"].adapter_answers

    async def copied(*arguments: Any, **options: Any) -> Reply | None:
        await speak(*arguments, **options)
        await federation.until(lambda: replies)
        return replies[0]

    federation["lapd"].adapter_answers = copied
    try:
        answer = await federation.search()
    finally:
        federation["lapd"].adapter_answers = speak
    assert answer.outcomes["lapd"].kind == "UNVERIFIABLE"
    accounted = federation.journals["operator/broker"].of("accounted")[-1]
    assert "bad_receipt" in str(accounted.public)


async def test_provider_that_tells_broker_and_requester_different_things_is_found(
    federation: FederationSimulator,
) -> None:
    """Two receipts for one exchange, both signed: the stamp carries the one, the session the other."""
    adapter = federation["lapd"].end
    assert adapter is not None
    send = adapter.link.send

    def two_tongued(*frames: link_pb2.LinkFrame) -> None:
        for frame in frames:
            if kind(frame) == "receipt":
                receipt = result_pb2.Receipt.FromString(frame.receipt.receipt.payload)
                receipt.nonce = b"n" * 16
                receipt.kind = common_pb2.OUTCOME_KIND_REFUSED
                key = SigningKey.load(federation.made.adapter_home("lapd") / "keys" / "statement.key")
                frame.receipt.receipt.CopyFrom(seal(receipt, key))
        send(*frames)

    adapter.exchanges._link.send = two_tongued  # type: ignore[method-assign]
    try:
        answer = await federation.search()
    finally:
        adapter.exchanges._link.send = send  # type: ignore[method-assign]
    assert "lapd: the provider signed two different receipts of one exchange" in answer.findings
    assert not any("the broker stamped another" in line for line in answer.findings)


async def test_policy_that_was_never_in_force_is_refuted_by_the_providers_log(
    federation: FederationSimulator,
) -> None:
    """A gateway can't know a provider's policy; its log keeps the digest that the provider never logged."""

    def lie(reply: Reply) -> Reply:
        return signed_by_lapd(federation, reply, lambda r: setattr(r, "policy_digest", b"p" * 32))

    federation["lapd"].lies.append(lie)
    answer = await federation.search()
    assert answer.outcomes["lapd"].kind == "RESPONDED"
    delivered = federation.journals["sheriff/gateway"].of("delivered")
    told = next(
        e.public["policy"]
        for e in delivered
        if e.exchange == answer.exchange_id and e.public["peer"] == "lapd"
    )
    activated = federation["lapd"].journal.of("policy_activated")
    assert told == (b"p" * 32).hex() and told not in {entry.public["policy"] for entry in activated}


# -- the lying requester -----------------------------------------------------------------------------


async def test_questions_beyond_their_audience_release_nothing(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sheriff sends LAHD what it ordered of LAPD and the other way round: neither searches anything."""
    sign = gateway_module.sign_order

    def swapped(*arguments: Any, **options: Any) -> SignedOrder:
        order = sign(*arguments, **options)
        asking = dict(order.asking)
        asking["lapd"], asking["lahd"] = asking["lahd"], asking["lapd"]
        return replace(order, asking=asking)

    monkeypatch.setattr(gateway_module, "sign_order", swapped)
    answer = await federation.search()
    for name in ("lapd", "lahd"):
        assert federation.released[answer.exchange_id, name] == []
        rejected = federation[name].journal.of("rejected")[-1]
        assert rejected.exchange == answer.exchange_id
        assert not [e for e in federation[name].journal.of("decided") if e.exchange == answer.exchange_id]
    assert answer.kinds["cbp"] == answer.kinds["dea"] == "RESPONDED"


@pytest.mark.parametrize("requester", ["sheriff", "lahd"])
async def test_order_signed_with_another_agencys_stolen_key_is_answered_by_nobody(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch, requester: str
) -> None:
    """LAHD's statement key in the sheriff's hands: the link and the sessions are still the sheriff's."""
    key = SigningKey.load(federation.made.gateway_home("lahd") / "keys" / "statement.key")
    sign = gateway_module.sign_order

    def forged(*arguments: Any, **options: Any) -> SignedOrder:
        return sign(*arguments, **{**options, "key": key, "requester": requester})

    monkeypatch.setattr(gateway_module, "sign_order", forged)
    refused = len(federation.journals["operator/broker"].of("order_refused"))
    answer = await federation.search()
    await federation.passes(seconds=3)
    assert not any(exchange == answer.exchange_id for exchange, _ in federation.released)
    assert len(federation.journals["operator/broker"].of("order_refused")) == refused + 1


# -- the thief ---------------------------------------------------------------------------------------


async def test_stolen_leaf_takes_the_link_and_nothing_else_and_its_owner_sees_it(
    federation: FederationSimulator,
) -> None:
    """The newest link of an end replaces the older; its owner logs the loss and takes it back by itself."""
    closed = len(federation.journals["sheriff/gateway"].of("link_closed"))
    home = federation.made.gateway_home("sheriff")
    stolen = load_end(home)
    events = RecordingEvents()
    operator = federation.made.federation(federation.clock()).operator
    config = LinkConfig(
        broker="127.0.0.1:7400",
        broker_name="broker.operator.example",
        operator_ca_pem=operator.key_set.ca_pem,
        leaf_chain_pem=stolen.chain_pem,
        leaf_key_pem=stolen.key_pem,
        spiffe_id=stolen.spiffe_id,
        role=common_pb2.END_ROLE_GATEWAY,
        roster_version=2,
    )
    thief = LinkClient(config, events, federation.clock)
    dialling = asyncio.create_task(thief.run())
    await federation.until(lambda: events.welcomes)
    order = link_pb2.OrderPlacement(order=seal(common_pb2.Period(), SigningKey.generate()))
    thief.send(link_pb2.LinkFrame(order=order))
    await federation.until(lambda: any(kind(frame) == "order_rejection" for frame in events.got))
    await thief.close()
    await dialling
    assert len(federation.journals["sheriff/gateway"].of("link_closed")) > closed
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None and gateway.link is not None
    await federation.until(lambda: gateway.link.is_up)  # type: ignore[union-attr]


# -- garbage at every listener -----------------------------------------------------------------------


def mutated(rng: random.Random, heard: Sequence[link_pb2.LinkFrame]) -> link_pb2.LinkFrame:
    """A frame that was once good, with some bytes of it changed, cut or doubled."""
    while True:
        data = bytearray(rng.choice(heard).SerializeToString())
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[place] = rng.randrange(256)
                case 1:
                    del data[place : place + rng.randint(1, 8)]
                case _:
                    data[place:place] = data[place : place + rng.randint(1, 40)]
            if not data:
                break
        try:
            return link_pb2.LinkFrame.FromString(bytes(data))
        except DecodeError:
            continue


@pytest.mark.parametrize("listener", ["operator/broker", "lapd/adapter", "sheriff/gateway"])
async def test_mutated_frames_cost_at_most_the_link_that_they_came_on(
    federation: FederationSimulator, listener: str
) -> None:
    """Whatever comes over a link is ignored or ends it, never a fault of ours; then it is dialled again."""
    rng, heard = random.Random(7), list[link_pb2.LinkFrame]()

    def hears(end: str, outward: bool, frame: link_pb2.LinkFrame) -> None:
        inward_wanted = listener == "operator/broker"
        if outward is not inward_wanted and (inward_wanted or end == listener):
            heard.append(link_pb2.LinkFrame.FromString(frame.SerializeToString()))

    federation.broker.listener = hears
    federation.forgets_sessions()
    await federation.search()
    federation.broker.listener = None
    del federation.warnings[:]
    for _ in range(60):
        name = rng.choice(list(federation.broker.wires)) if listener == "operator/broker" else listener
        wire = federation.broker.wires[name]
        deliver = wire.pull if listener == "operator/broker" else wire.push
        deliver(*(mutated(rng, heard) for _ in range(rng.randint(1, 3))))
        await federation.passes(seconds=rng.choice((0.001, 0.05, 2)))
    await federation.passes(seconds=15)
    assert [line for line in federation.warnings if "fault" in line or "failed:" in line] == []
