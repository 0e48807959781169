"""The lying provider against the whole federation: it holds its own keys, and answers as it likes.

After each lie: nothing of it is shown, the answer says whose it is, what it signed is kept beside the asker's
log and its release stands in its own, and the others' results are whole. What a single rule stops, rule by
rule, stands in `tests/gateway/test_exchange.py` and `tests/broker/test_receipts.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from comity.adapters.path import Reply
from comity.audit import merkle
from comity.certs.envelope import digest, open_envelope, seal
from comity.certs.keys import SigningKey
from comity.links.frames import kind
from comity.v1 import common_pb2, link_pb2, result_pb2
from comity.v1.envelope_pb2 import Envelope
from tests.simulator import Answer, FederationSimulator
from tests.support.evidence import BROKER, PATIENT, assert_undisturbed, entries, outcomes, statement_key

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHERS = ("cbp", "dea", "lahd")
REFUSED = common_pb2.OUTCOME_KIND_REFUSED

Change = Callable[[result_pb2.Receipt], None]


@pytest_asyncio.fixture(loop_scope="module")
async def federation(shared: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    yield shared


def signed(federation: FederationSimulator, reply: Reply, change: Change, *, by: str = "lapd") -> Reply:
    """The reply with another receipt, signed by a provider's own key over whatever it likes."""
    receipt = result_pb2.Receipt.FromString(reply.receipt.payload)
    change(receipt)
    return replace(reply, receipt=seal(receipt, statement_key(federation, f"{by}/adapter")))


def over(federation: FederationSimulator, reply: Reply, detail: bytes, pages: tuple[bytes, ...]) -> Reply:
    """The reply with other content, and a receipt that covers just that."""
    root = merkle.root([merkle.leaf_hash(part) for part in (detail, *pages)])
    told = replace(reply, detail=detail, pages=pages)
    return signed(federation, told, lambda receipt: setattr(receipt, "content_root", root))


def refusal(federation: FederationSimulator, reply: Reply) -> Reply:
    """The refusal that the provider could have given."""
    detail = result_pb2.ResultDetail.FromString(reply.detail)
    detail.kind, detail.page_count, detail.read_count = REFUSED, 0, 0
    told = over(federation, reply, detail.SerializeToString(), ())
    return signed(federation, told, lambda receipt: setattr(receipt, "kind", REFUSED))


def kept(
    federation: FederationSimulator, answer: Answer, *, signer: str = "lapd"
) -> list[result_pb2.Receipt]:
    """The receipts of lapd of which nothing was shown: beside the asker's log, under the signer's own key."""
    (concluded,) = entries(federation, "sheriff/gateway", answer, "concluded")
    named = concluded.public["unshown"]
    assert isinstance(named, dict)
    envelopes = [
        Envelope.FromString(data)
        for name, data in concluded.attachments.items()
        if name.startswith("unshown:lapd:")
    ]
    assert sorted(digest(one.payload).hex() for one in envelopes) == sorted(named["lapd"])  # type: ignore[arg-type]
    keys = [statement_key(federation, f"{signer}/adapter").public]
    return [open_envelope(one, result_pb2.Receipt, keys).message for one in envelopes]


def assert_only_lapd_lied(
    federation: FederationSimulator, answer: Answer, outcome: str = "UNVERIFIABLE"
) -> None:
    """Nothing of lapd is shown and the gateway says so; the others are undisturbed; the logs can tell."""
    lapd = answer.outcomes["lapd"]
    assert (lapd.kind, lapd.attested_by) == (outcome, "GATEWAY") and lapd.text and not lapd.pages
    assert_undisturbed(answer, *OTHERS)
    (concluded,) = entries(federation, "sheriff/gateway", answer, "concluded")
    assert concluded.public["outcomes"]["lapd"] == outcome.lower()  # type: ignore[call-overload,index]
    assert not [
        e for e in entries(federation, "sheriff/gateway", answer, "delivered") if e.public["peer"] == "lapd"
    ]
    assert entries(federation, "lapd/adapter", answer, "released")
    assert outcomes(federation, answer).keys() == {"lapd", *OTHERS}


# -- pages that are not those of the receipt -----------------------------------------------------------


def _another_page(reply: Reply) -> Reply:
    page = result_pb2.Page.FromString(reply.pages[0])
    page.reads[0].read_id = "another"
    return replace(reply, pages=(page.SerializeToString(), *reply.pages[1:]))


PAGES: dict[str, tuple[Callable[[Reply], Reply], str]] = {
    "another page than it signed": (_another_page, "UNVERIFIABLE"),
    "a page twice": (lambda r: replace(r, pages=(r.pages[0], r.pages[0])), "UNVERIFIABLE"),
    "pages in another order": (lambda r: replace(r, pages=r.pages[::-1]), "UNVERIFIABLE"),
    "a page cut short": (lambda r: replace(r, pages=(r.pages[0][:-1], r.pages[1])), "UNVERIFIABLE"),
    "an empty page": (lambda r: replace(r, pages=(b"", r.pages[1])), "UNVERIFIABLE"),
    "another detail": (lambda r: replace(r, detail=r.detail + b"\x50\x01"), "UNVERIFIABLE"),
    "fewer pages than it signed": (lambda r: replace(r, pages=r.pages[:1]), "TIMED_OUT"),
    "no page at all": (lambda r: replace(r, pages=()), "TIMED_OUT"),
}


@pytest.mark.parametrize("lie", PAGES)
async def test_pages_that_are_not_those_of_the_receipt_are_not_shown(
    federation: FederationSimulator, lie: str
) -> None:
    """Nothing of the provider is shown, the answer says why, and its receipt is kept to hold against it."""
    tell, outcome = PAGES[lie]
    federation["lapd"].lies.append(tell)
    answer = await federation.search(days=30, timeout=PATIENT)
    assert_only_lapd_lied(federation, answer, outcome)
    (receipt,) = kept(federation, answer)
    assert receipt.exchange_id == answer.exchange_id


async def test_page_of_an_earlier_exchange_is_not_shown(federation: FederationSimulator) -> None:
    """A page that was released once, for the same plate to the same asker, is none of this exchange."""
    earlier: list[Reply] = []
    federation["lapd"].lies.append(lambda reply: earlier.append(reply) or reply)  # type: ignore[func-returns-value]
    assert (await federation.search(timeout=PATIENT)).is_whole
    federation["lapd"].lies[:] = [lambda reply: replace(reply, pages=earlier[0].pages)]
    assert_only_lapd_lied(federation, await federation.search(timeout=PATIENT))
    federation["lapd"].lies[:] = [lambda reply: over(federation, reply, reply.detail, earlier[0].pages)]
    answer = await federation.search(timeout=PATIENT)
    assert_only_lapd_lied(federation, answer)
    assert "names another exchange" in answer.outcomes["lapd"].text


async def test_more_pages_than_the_receipt_covers_are_not_shown(federation: FederationSimulator) -> None:
    """What follows a result that is complete is no part of it; the simulator compares page for page."""
    federation["lapd"].lies.append(lambda reply: replace(reply, pages=(*reply.pages, *reply.pages)))
    answer = await federation.search(timeout=PATIENT)
    assert answer.is_whole


# -- receipts that say what they must not --------------------------------------------------------------


def _set(field: str, value: object) -> Change:
    return lambda receipt: setattr(receipt, field, value)


def _shifted(seconds: int) -> Change:
    return lambda receipt: receipt.signed_at.FromSeconds(receipt.signed_at.seconds + seconds)


RECEIPTS: dict[str, Change] = {
    "over other pages": _set("content_root", bytes(32)),
    "of another exchange": _set("exchange_id", b"e" * 16),
    "of another question": _set("query_digest", b"q" * 32),
    "for another requester": _set("requester", "cbp"),
    "in another provider's name": _set("provider", "lahd"),
    "on another agreement": _set("agreement_digest", b"a" * 32),
    "under a weaker ceiling": _set("ceiling_marking", b""),
    "with an outcome of the broker's": _set("kind", common_pb2.OUTCOME_KIND_TIMED_OUT),
    "that promises nothing": lambda receipt: receipt.ClearField("promise"),
    "that promises in another's log": lambda receipt: setattr(
        receipt.promise, "origin", "lahd.example/adapter"
    ),
    "of tomorrow": _shifted(86_400),
    "of yesterday": _shifted(-86_400),
}


@pytest.mark.parametrize("lie", RECEIPTS)
async def test_receipt_that_says_what_it_must_not_shows_nothing(
    federation: FederationSimulator, lie: str
) -> None:
    """However well signed: the asker checks it against what it asked, whatever the broker made of it."""
    federation["lapd"].lies.append(lambda reply: signed(federation, reply, RECEIPTS[lie]))
    answer = await federation.search(timeout=PATIENT)
    assert_only_lapd_lied(federation, answer)
    assert len(kept(federation, answer)) == 1
    assert not answer.findings, "an honest broker is suspected of nothing"


@pytest.mark.parametrize("key", ["of another provider", "of nobody"])
async def test_receipt_under_a_key_that_is_not_the_providers_counts_nowhere(
    federation: FederationSimulator, key: str
) -> None:
    """BAD_RECEIPT at the broker, UNVERIFIABLE at the asker."""
    other = (
        statement_key(federation, "lahd/adapter") if key == "of another provider" else SigningKey.generate()
    )

    def lie(reply: Reply) -> Reply:
        return replace(reply, receipt=seal(result_pb2.Receipt.FromString(reply.receipt.payload), other))

    federation["lapd"].lies.append(lie)
    answer = await federation.search(timeout=PATIENT)
    assert_only_lapd_lied(federation, answer)
    assert outcomes(federation, answer)["lapd"] == "bad_receipt"


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
        answer = await federation.search(timeout=PATIENT)
    finally:
        federation["lapd"].adapter_answers = speak
    assert_only_lapd_lied(federation, answer)
    assert outcomes(federation, answer)["lapd"] == "bad_receipt"
    (receipt,) = kept(federation, answer, signer="lahd")
    assert receipt.provider == "lahd"


async def test_policy_that_was_never_in_force_is_refuted_by_the_providers_log(
    federation: FederationSimulator,
) -> None:
    """A gateway can't know a provider's policy; its log keeps the digest that the provider never logged."""
    federation["lapd"].lies.append(lambda r: signed(federation, r, _set("policy_digest", b"p" * 32)))
    answer = await federation.search(timeout=PATIENT)
    assert answer.outcomes["lapd"].kind == "RESPONDED"
    delivered = entries(federation, "sheriff/gateway", answer, "delivered")
    told = next(e.public["policy"] for e in delivered if e.public["peer"] == "lapd")
    activated = federation["lapd"].journal.of("policy_activated")
    assert told == (b"p" * 32).hex() and told not in {entry.public["policy"] for entry in activated}
    (released,) = entries(federation, "lapd/adapter", answer, "released")
    assert released.public["policy"] != told


# -- twice: two receipts, results after a refusal ------------------------------------------------------


@contextmanager
def delivering(
    federation: FederationSimulator, parts: Callable[[Reply], tuple[Reply, ...]]
) -> Iterator[None]:
    """Have lapd deliver several replies, one after the other, where it had one."""
    adapter = federation["lapd"].end
    assert adapter is not None
    deliver = adapter.exchanges._deliver

    async def each(running: Any, reply: Reply) -> None:
        for one in parts(reply):
            await deliver(running, one)

    adapter.exchanges._deliver = each  # type: ignore[method-assign]
    try:
        yield
    finally:
        adapter.exchanges._deliver = deliver  # type: ignore[method-assign]


def without_pages(reply: Reply) -> Reply:
    return replace(reply, pages=())


async def test_reads_beside_a_refusal_are_not_shown(federation: FederationSimulator) -> None:
    """A refusal that its provider signed together with pages is neither: the outcome can't be verified."""

    def lie(reply: Reply) -> Reply:
        detail = result_pb2.ResultDetail.FromString(reply.detail)
        detail.kind = REFUSED
        told = over(federation, reply, detail.SerializeToString(), reply.pages)
        return signed(federation, told, lambda receipt: setattr(receipt, "kind", REFUSED))

    federation["lapd"].lies.append(lie)
    assert_only_lapd_lied(federation, await federation.search(timeout=PATIENT))


async def test_results_after_a_refusal_are_not_shown_and_are_held_against_it(
    federation: FederationSimulator,
) -> None:
    """The refusal is the one outcome; that it signed another receipt is a finding, with both as evidence."""
    sent: list[Reply] = []

    def parts(reply: Reply) -> tuple[Reply, ...]:
        sent[:] = (refusal(federation, reply), reply)
        return tuple(sent)

    with delivering(federation, parts):
        answer = await federation.search(timeout=PATIENT)
    lapd = answer.outcomes["lapd"]
    assert (lapd.kind, lapd.attested_by, lapd.pages) == ("REFUSED", "PROVIDER", ())
    assert_undisturbed(answer, *OTHERS)
    assert_two_receipts(federation, answer, sent[0].receipt, sent[1].receipt)


async def test_two_receipts_at_the_broker_are_a_contradiction_in_its_log(
    federation: FederationSimulator,
) -> None:
    """While another provider is still awaited: afterwards the broker remembers no exchange."""
    federation["cbp"].goes_silent()
    sent: list[Reply] = []

    def parts(reply: Reply) -> tuple[Reply, ...]:
        sent[:] = (refusal(federation, reply), reply)
        return tuple(sent)

    with delivering(federation, parts):
        answer = await federation.search(timeout=PATIENT)
    (contradiction,) = entries(federation, BROKER, answer, "contradiction")
    assert contradiction.public["peer"] == "lapd"
    assert contradiction.public["statement"] == digest(sent[1].receipt.payload).hex()


def assert_two_receipts(federation: FederationSimulator, answer: Answer, *receipts: Envelope) -> None:
    """LAPD alone is named, and both of its receipts are kept beside the asker's log."""
    assert answer.summary is not None
    (found,) = answer.summary.found
    assert list(found.suspects) == ["lapd"] and not any("broker" in line for line in answer.findings)
    (contradiction,) = entries(federation, "sheriff/gateway", answer, "contradiction")
    envelopes = [
        Envelope.FromString(data)
        for name, data in contradiction.attachments.items()
        if name.startswith("evidence:")
    ]
    keys = [statement_key(federation, "lapd/adapter").public]
    opened = {open_envelope(one, result_pb2.Receipt, keys).digest for one in envelopes}
    assert len(opened) == 2 and {digest(one.payload) for one in receipts} <= opened


async def test_second_receipt_before_the_pages_shows_nothing_and_both_are_kept(
    federation: FederationSimulator,
) -> None:
    """Two receipts for one exchange in one session: neither counts, and both can be held against it."""

    def parts(reply: Reply) -> tuple[Reply, ...]:
        other = signed(federation, reply, _set("nonce", b"n" * 16))
        return without_pages(reply), without_pages(other)

    with delivering(federation, parts):
        answer = await federation.search(timeout=PATIENT)
    assert_only_lapd_lied(federation, answer)
    one, two = kept(federation, answer)
    assert one.exchange_id == two.exchange_id == answer.exchange_id and one.nonce != two.nonce
    assert_two_receipts(federation, answer)


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
                receipt.nonce, receipt.kind = b"n" * 16, REFUSED
                frame.receipt.receipt.CopyFrom(seal(receipt, statement_key(federation, "lapd/adapter")))
        send(*frames)

    adapter.exchanges._link.send = two_tongued  # type: ignore[method-assign]
    try:
        answer = await federation.search(timeout=PATIENT)
    finally:
        adapter.exchanges._link.send = send  # type: ignore[method-assign]
    assert "lapd: the provider signed two different receipts of one exchange" in answer.findings
    assert_two_receipts(federation, answer)


@pytest.mark.parametrize("way", ["in the session", "to the broker"])
async def test_one_receipt_repeated_is_one_receipt(federation: FederationSimulator, way: str) -> None:
    """The same statement twice is no contradiction at the broker; the asker has shown the first already."""

    def parts(reply: Reply) -> tuple[Reply, ...]:
        return reply, replace(without_pages(reply), announced=way == "to the broker")

    with delivering(federation, parts):
        answer = await federation.search(timeout=PATIENT)
        await federation.passes(seconds=1)
    assert answer.is_whole
    assert not entries(federation, BROKER, answer, "contradiction")
