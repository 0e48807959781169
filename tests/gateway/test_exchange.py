"""Every provider of an order ends in exactly one outcome, and a lie is never shown (design 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from comity.audit import merkle
from comity.certs.envelope import digest
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.gateway.exchange import Settled
from comity.gateway.summary import summarize
from comity.policy import markings
from comity.v1 import common_pb2, query_pb2, query_service_pb2, result_pb2, session_pb2
from tests.gateway.conftest import NOW, Lies, Provider, Story

AT_DEADLINE = NOW + timedelta(seconds=10)


def settled(story: Story) -> dict[str, Settled]:
    return {item.provider: item for item in story.exchange.take_settled()}


def kinds(found: dict[str, Settled]) -> dict[str, str]:
    return {
        name: common_pb2.OutcomeKind.Name(item.kind).removeprefix("OUTCOME_KIND_")
        for name, item in found.items()
    }


def lines(story: Story) -> list[str]:
    return [finding.text for finding in story.exchange.findings]


def test_verified_stamped_results_of_both_providers_are_shown(story: Story) -> None:
    """With receipt, pages and stamp in order, both respond and the account closes the exchange."""
    stamps = {}
    for agency in ("lapd", "lahd"):
        story.answers(agency)
        stamps[agency] = story.stamps(agency)
    found = settled(story)
    assert kinds(found) == {"lapd": "RESPONDED", "lahd": "RESPONDED"}
    assert found["lapd"].result is not None and found["lapd"].result.read_count == 3
    assert not story.exchange.is_finished
    story.exchange.on_account(story.an_account(**stamps), now=AT_DEADLINE)
    assert story.exchange.is_finished and not story.exchange.findings


def test_answer_says_to_whom_reads_may_be_passed_on() -> None:
    """As each agreement has it; empty means nobody; of who gave no read nothing is said (A2, D4)."""
    told, quiet, silent = Provider("lapd"), Provider("lahd"), Provider("dea", reads=0)
    told.grant = replace(told.grant, onward_sharing="prosecutors of the county")
    story = Story(told, quiet, silent)
    for agency in story.providers:
        story.answers(agency)
        story.stamps(agency)
    rule = query_pb2.Completeness(best_effort=True)
    summary = summarize(b"x", settled(story), (), rule, story.exchange)
    assert [line for line in summary.caveats if line.startswith("Pass on")] == [
        "Pass on what lahd gave: to nobody (the agreement).",
        "Pass on what lapd gave: prosecutors of the county (the agreement).",
    ]


def test_nothing_is_shown_before_its_receipt_has_verified(story: Story) -> None:
    """Pages alone settle nothing: what a person acts on always has its evidence (design 3)."""
    _, pages = story.providers["lapd"].answer(story.order)
    for page in pages:
        story.exchange.on_page("lapd", page)
    assert settled(story) == {}


def test_nothing_is_shown_before_every_page_is_there(story: Story) -> None:
    """A receipt whose pages are still to come settles nothing."""
    story.answers("lapd", Lies(sent=lambda pages: []))
    story.stamps("lapd")
    assert settled(story) == {}


LIES: list[tuple[str, Callable[[], Lies]]] = [
    (
        "marking under another agreement",
        lambda: Lies(detail=lambda d: setattr(d.marking, "agreement_digest", bytes(32))),
    ),
    ("another key signs", lambda: Lies(key=SigningKey.generate())),
    ("receipt names another exchange", lambda: Lies(receipt=lambda r: setattr(r, "exchange_id", bytes(16)))),
    ("receipt names another provider", lambda: Lies(receipt=lambda r: setattr(r, "provider", "lahd"))),
    ("receipt names another requester", lambda: Lies(receipt=lambda r: setattr(r, "requester", "ice"))),
    ("receipt answers another query", lambda: Lies(receipt=lambda r: setattr(r, "query_digest", bytes(32)))),
    (
        "receipt on another agreement",
        lambda: Lies(receipt=lambda r: setattr(r, "agreement_digest", b"x" * 32)),
    ),
    ("receipt without a marking (A4)", lambda: Lies(receipt=lambda r: r.ClearField("ceiling_marking"))),
    (
        "receipt with another ceiling",
        lambda: Lies(receipt=lambda r: setattr(r, "ceiling_marking", b"\x0a\x01x")),
    ),
    ("receipt without a promise", lambda: Lies(receipt=lambda r: r.ClearField("promise"))),
    (
        "promise without a leaf",
        lambda: Lies(receipt=lambda r: setattr(r.promise, "leaf_hash", b"")),
    ),
    ("receipt of the broker's kind", lambda: Lies(receipt=lambda r: setattr(r, "kind", 8))),
    (
        "receipt signed tomorrow",
        lambda: Lies(receipt=lambda r: r.signed_at.CopyFrom(from_instant(NOW + timedelta(hours=1)))),
    ),
    (
        "receipt signed before its key was valid",
        lambda: Lies(receipt=lambda r: r.signed_at.CopyFrom(from_instant(NOW - timedelta(days=3)))),
    ),
    (
        "root over other pages",
        lambda: Lies(receipt=lambda r: setattr(r, "content_root", merkle.leaf_hash(b""))),
    ),
    ("detail of another kind", lambda: Lies(detail=lambda d: setattr(d, "kind", 2))),
    ("detail without marking (A4)", lambda: Lies(detail=lambda d: d.ClearField("marking"))),
    (
        "detail of a period that no calendar has",
        lambda: Lies(detail=lambda d: setattr(d.searched.start, "seconds", 10**12)),
    ),
    ("detail counts more reads", lambda: Lies(detail=lambda d: setattr(d, "read_count", 9))),
    ("detail of another exchange", lambda: Lies(detail=lambda d: setattr(d, "exchange_id", bytes(16)))),
    ("page without marking (A4)", lambda: Lies(page=lambda p: p.ClearField("marking"))),
    ("page of another exchange", lambda: Lies(page=lambda p: setattr(p, "exchange_id", bytes(16)))),
    (
        "page without a read",
        lambda: Lies(page=lambda p: p.ClearField("reads"), detail=lambda d: setattr(d, "read_count", 0)),
    ),
    (
        "page of too many reads",
        lambda: Lies(
            page=lambda p: p.reads.extend([p.reads[0]] * (201 - len(p.reads))),
            detail=lambda d: setattr(d, "read_count", 201),
        ),
    ),
    ("page with a wrong number", lambda: Lies(page=lambda p: setattr(p, "index", 1))),
    ("read without marking (A4)", lambda: Lies(page=lambda p: p.reads[1].ClearField("marking"))),
    (
        "read of another plate (Q6)",
        lambda: Lies(page=lambda p: setattr(p.reads[0].plate, "number", "9XYZ999")),
    ),
    (
        "read outside the period (Q6)",
        lambda: Lies(page=lambda p: p.reads[0].captured_at.CopyFrom(from_instant(NOW - timedelta(days=31)))),
    ),
    (
        "read at the period's end (Q6)",
        lambda: Lies(page=lambda p: p.reads[0].captured_at.CopyFrom(from_instant(NOW))),
    ),
    (
        "banner that its fields don't give",
        lambda: Lies(page=lambda p: setattr(p.reads[2].marking, "banner", "PUBLIC")),
    ),
    (
        "read marked with a caveat that its page lacks (A5)",
        lambda: Lies(page=lambda p: p.reads[1].marking.caveats.append("zz: ask first")),
    ),
    (
        "page that may be kept longer than a read of it (A4)",
        lambda: Lies(page=lambda p: setattr(p.reads[1].marking, "retain_days", 3)),
    ),
    (
        "detail marked looser than its page (A5)",
        lambda: Lies(
            page=lambda p: p.marking.caveats.append("zz: ask first"),
        ),
    ),
    ("marking of another agency (A4)", lambda: Lies(page=lambda p: setattr(p.marking, "provider", "lahd"))),
    (
        "page swapped",
        lambda: Lies(sent=lambda pages: [result_pb2.Page(exchange_id=bytes(16)).SerializeToString()]),
    ),
    ("page that is no page", lambda: Lies(sent=lambda pages: [b"\xff\xff\xff"])),
]


@pytest.mark.parametrize(("fault", "lies"), LIES, ids=[fault for fault, _ in LIES])
def test_lying_provider_is_unverifiable_and_nothing_of_it_is_shown(
    story: Story, fault: str, lies: Callable[[], Lies]
) -> None:
    """Whatever doesn't verify makes the whole outcome UNVERIFIABLE, attested by the gateway."""
    story.answers("lapd", lies())
    story.stamps("lapd")
    found = settled(story)
    assert kinds(found) == {"lapd": "UNVERIFIABLE"}, fault
    assert found["lapd"].result is None
    assert found["lapd"].attested_by == query_service_pb2.ATTESTATION_GATEWAY


def test_marking_stricter_than_the_ceiling_is_unverifiable(story: Story) -> None:
    """The exact marking must be covered by the agreement's ceiling that everyone signed."""
    stricter = markings.make_marking(
        provider="lapd",
        nature="licence plate reads",
        scheme=result_pb2.MARKING_SCHEME_CUI,
        categories=["LEI"],
    )

    def mark(page: result_pb2.Page) -> None:
        stricter.agreement_digest = page.marking.agreement_digest
        for marking in (page.marking, *(read.marking for read in page.reads)):
            marking.CopyFrom(stricter)

    def summarize(detail: result_pb2.ResultDetail) -> None:
        stricter.agreement_digest = detail.marking.agreement_digest
        detail.marking.CopyFrom(stricter)

    story.answers("lapd", Lies(page=mark, detail=summarize))
    assert kinds(settled(story)) == {"lapd": "UNVERIFIABLE"}


def test_second_receipt_after_the_first_changes_nothing(story: Story) -> None:
    """A provider has one say: what comes after its outcome is settled is ignored."""
    story.answers("lapd")
    story.stamps("lapd")
    assert kinds(settled(story)) == {"lapd": "RESPONDED"}
    story.answers("lapd", Lies(key=SigningKey.generate()))
    assert settled(story) == {}


def test_second_receipt_while_pages_are_missing_is_unverifiable(story: Story) -> None:
    """Two receipts for one exchange are a fault of the provider."""
    story.answers("lapd", Lies(sent=lambda pages: []))
    story.answers("lapd", Lies(sent=lambda pages: []))
    assert kinds(settled(story)) == {"lapd": "UNVERIFIABLE"}


def test_reads_beside_a_refusal_are_unverifiable() -> None:
    """A refusal comes without reads; a provider that sends some lies about one of the two."""
    provider = Provider("lapd", kind=common_pb2.OUTCOME_KIND_REFUSED)
    story = Story(provider)
    story.answers("lapd", Lies(detail=lambda d: setattr(d, "page_count", 1)))
    assert kinds(settled(story)) == {"lapd": "UNVERIFIABLE"}


def test_result_from_one_session_never_counts_for_another_provider(story: Story) -> None:
    """What lahd's session carries is lahd's: lapd's own receipt inside it does not verify."""
    result, _ = story.providers["lapd"].answer(story.order)
    story.exchange.on_result("lahd", result, now=NOW)
    assert kinds(settled(story)) == {"lahd": "UNVERIFIABLE"}


def test_silent_and_absent_providers_are_named_by_the_brokers_account(story: Story) -> None:
    """What the broker attests stands in the answer as its word, with the provider's name."""
    story.exchange.on_session_failed("lahd", "no link", absent=True)
    story.exchange.on_account(
        story.an_account(lapd=common_pb2.OUTCOME_KIND_TIMED_OUT, lahd=common_pb2.OUTCOME_KIND_UNREACHABLE),
        now=AT_DEADLINE,
    )
    found = settled(story)
    assert kinds(found) == {"lapd": "TIMED_OUT", "lahd": "UNREACHABLE"}
    assert {item.attested_by for item in found.values()} == {query_service_pb2.ATTESTATION_BROKER}


def test_broken_session_is_attested_by_the_gateway(story: Story) -> None:
    """A handshake that fails ends that provider at once; the broker is not believed for it."""
    story.exchange.on_session_failed("lapd", "handshake", absent=False)
    found = settled(story)
    assert kinds(found) == {"lapd": "SESSION_FAILED"}


def test_broker_that_gives_no_account_is_a_finding(story: Story) -> None:
    """At the end of waiting everyone is settled, and the missing account is said."""
    story.answers("lapd")
    story.exchange.end_waiting()
    assert kinds(settled(story)) == {"lapd": "RESPONDED", "lahd": "TIMED_OUT"}
    assert story.exchange.is_finished
    assert any("no account" in finding for finding in lines(story))


def test_broker_that_denies_a_receipt_is_contradicted_by_it(story: Story) -> None:
    """`TIMED_OUT` of a provider whose signed receipt is here is refuted, and the reads are shown."""
    story.answers("lapd")
    story.exchange.on_account(
        story.an_account(lapd=common_pb2.OUTCOME_KIND_TIMED_OUT, lahd=common_pb2.OUTCOME_KIND_UNREACHABLE),
        now=AT_DEADLINE,
    )
    assert kinds(settled(story)) == {"lapd": "RESPONDED", "lahd": "UNREACHABLE"}
    assert any("signed receipt is here" in finding for finding in lines(story))


def test_early_account_does_not_make_its_lies_come_true(story: Story) -> None:
    """While a session may bring the provider's own word, the broker's word about it waits, and is refuted."""
    told = dict.fromkeys(("lapd", "lahd"), common_pb2.OUTCOME_KIND_TIMED_OUT)
    story.exchange.on_account(story.an_account(closed_at=NOW, **told), now=NOW)
    assert settled(story) == {}
    story.answers("lapd")
    assert kinds(settled(story)) == {"lapd": "RESPONDED"}
    story.exchange.end_waiting()
    found = settled(story)
    assert kinds(found) == {"lahd": "TIMED_OUT"}
    assert found["lahd"].attested_by == query_service_pb2.ATTESTATION_BROKER
    assert lines(story) == [
        "lapd: the broker attests `timed_out` before the deadline of the order",
        "lapd: the broker attests `timed_out`, but its signed receipt is here",
        "lahd: the broker attests `timed_out` before the deadline of the order",
    ]


def test_stamp_in_an_early_account_is_held_against_the_receipt(story: Story) -> None:
    """A stamp that the account binds before the result came is compared with the result when it comes."""
    story.receipts["lapd"] = story.providers["lapd"].answer(story.order)[0]
    other = story.a_stamp("lapd")
    story.exchange.on_account(story.an_account(lapd=other, lahd=common_pb2.OUTCOME_KIND_UNREACHABLE), now=NOW)
    story.answers("lapd")
    assert any("another receipt" in finding for finding in lines(story))


def test_account_of_a_provider_without_a_link_counts_at_once(story: Story) -> None:
    """What has no link can't be asked itself: nobody waits for it, whichever is told first."""
    story.exchange.on_session_failed("lapd", "no link", absent=True)
    told = dict.fromkeys(("lapd", "lahd"), common_pb2.OUTCOME_KIND_UNREACHABLE)
    story.exchange.on_account(story.an_account(**told), now=NOW)
    assert kinds(settled(story)) == {"lapd": "UNREACHABLE"}
    story.exchange.on_session_failed("lahd", "no link", absent=True)
    assert kinds(settled(story)) == {"lahd": "UNREACHABLE"}
    assert story.exchange.is_finished and not story.exchange.findings


ABSENT = dict.fromkeys(("lapd", "lahd"), common_pb2.OUTCOME_KIND_UNREACHABLE)


@pytest.mark.parametrize("first", ["the account", "the session"])
def test_provider_that_comes_back_behind_the_order_is_unreachable_at_once(story: Story, first: str) -> None:
    """After a restart a provider's link may come up between an order and its session: nobody lied."""
    if first == "the session":
        story.exchange.on_late_session("lapd")
    story.exchange.on_account(story.an_account(announced=False, **ABSENT), now=NOW)
    if first == "the account":
        assert settled(story) == {}
        story.exchange.on_late_session("lapd")
    found = settled(story)
    assert kinds(found) == {"lapd": "UNREACHABLE"} and not story.exchange.is_open("lapd")
    assert found["lapd"].attested_by == query_service_pb2.ATTESTATION_BROKER
    assert not story.exchange.findings


def test_late_provider_that_was_told_nothing_makes_no_liar_of_the_broker(story: Story) -> None:
    """What it signs about a question that nobody announced to it agrees with "it had no link then"."""
    story.exchange.on_late_session("lapd")
    provider = story.providers["lapd"]
    provider.kind = common_pb2.OUTCOME_KIND_MALFORMED
    story.answers("lapd")
    story.exchange.on_account(story.an_account(announced=False, **ABSENT), now=NOW)
    assert kinds(settled(story)) == {"lapd": "MALFORMED"} and not story.exchange.findings


@pytest.mark.parametrize("lie", ["it answered", "it was announced", "its session is older"])
def test_absence_that_a_receipt_refutes_is_a_finding(story: Story, lie: str) -> None:
    """A late session excuses no lie: an answer, an announcement or an older session refutes "no link"."""
    if lie != "its session is older":
        story.exchange.on_late_session("lapd")
    if lie == "it was announced":
        provider = story.providers["lapd"]
        provider.kind = common_pb2.OUTCOME_KIND_MALFORMED
    story.answers("lapd")
    announced = lie == "it was announced"
    story.exchange.on_account(story.an_account(announced=announced, **ABSENT), now=NOW)
    assert "lapd" in settled(story)
    assert [finding.text for finding in story.exchange.findings] == [
        "lapd: the broker attests `unreachable`, but its signed receipt is here"
    ]


def test_lost_link_is_no_providers_silence(story: Story) -> None:
    """When the own link goes, who has not answered did not time out; whose receipt is here is shown."""
    story.answers("lapd")
    story.exchange.on_link_lost()
    found = settled(story)
    assert kinds(found) == {"lapd": "RESPONDED", "lahd": "SESSION_FAILED"}
    assert found["lahd"].attested_by == query_service_pb2.ATTESTATION_GATEWAY
    assert story.exchange.is_finished
    assert [finding.text for finding in story.exchange.findings] == [
        "broker: the link was lost before it gave an account"
    ]


def test_result_that_is_stamped_and_never_comes_is_a_finding(story: Story) -> None:
    """Broker or provider withheld it: its name stands in the answer, and so does that it was stamped."""
    story.receipts["lapd"] = story.providers["lapd"].answer(story.order)[0]
    stamp = story.stamps("lapd")
    story.exchange.on_account(
        story.an_account(lapd=stamp, lahd=common_pb2.OUTCOME_KIND_TIMED_OUT), now=AT_DEADLINE
    )
    story.exchange.end_waiting()
    assert kinds(settled(story)) == {"lapd": "TIMED_OUT", "lahd": "TIMED_OUT"}
    [finding] = lines(story)
    assert finding.startswith("lapd: its receipt was stamped")


def test_two_different_accounts_are_a_finding(story: Story) -> None:
    """The first stays; that there are two, both signed, is said. The same one again is nothing."""
    first = story.an_account(lapd=common_pb2.OUTCOME_KIND_TIMED_OUT, lahd=common_pb2.OUTCOME_KIND_TIMED_OUT)
    second = story.an_account(
        lapd=common_pb2.OUTCOME_KIND_UNREACHABLE, lahd=common_pb2.OUTCOME_KIND_TIMED_OUT
    )
    for account in (first, first):
        story.exchange.on_account(account, now=AT_DEADLINE)
    assert not story.exchange.findings
    story.exchange.on_account(second, now=AT_DEADLINE)
    assert lines(story) == ["broker: signed two different accounts of the exchange"]
    assert kinds(settled(story)) == {"lapd": "TIMED_OUT", "lahd": "TIMED_OUT"}


def test_flood_of_bad_accounts_is_found_once(story: Story) -> None:
    """What a liar repeats costs no memory."""
    for _ in range(100):
        story.exchange.on_account(story.an_account(key=SigningKey.generate()), now=NOW)
    assert len(story.exchange.findings) == 1


def test_stamp_of_another_receipt_is_a_finding(story: Story) -> None:
    """A stamp that doesn't name the receipt of the session is not shown as this result's stamp."""
    story.answers("lapd")
    stamp = story.stamps("lapd", receipt_digest=digest(b"another"))
    found = settled(story)
    assert found["lapd"].stamp is None
    story.exchange.on_account(
        story.an_account(lapd=stamp, lahd=common_pb2.OUTCOME_KIND_UNREACHABLE), now=AT_DEADLINE
    )
    assert any("another receipt" in finding for finding in lines(story))


def test_account_that_drops_a_stamp_is_a_finding(story: Story) -> None:
    """All stamps are bound by the account: one that was given and is missing there shows."""
    story.answers("lapd")
    story.stamps("lapd")
    story.exchange.on_account(
        story.an_account(lapd=common_pb2.OUTCOME_KIND_BAD_RECEIPT, lahd=common_pb2.OUTCOME_KIND_UNREACHABLE),
        now=AT_DEADLINE,
    )
    assert any("does not bind the stamp" in finding for finding in lines(story))


def test_account_signed_by_somebody_else_is_not_believed(story: Story) -> None:
    """An account that isn't the operator's settles nothing."""
    story.exchange.on_account(story.an_account(key=SigningKey.generate()), now=AT_DEADLINE)
    assert settled(story) == {} and story.exchange.account is None
    assert any("not signed by the operator" in finding for finding in lines(story))


def test_account_without_one_of_the_providers_is_not_believed(story: Story) -> None:
    """A provider that the broker drops from its account is detected by the gateway."""
    del story.providers["lahd"]
    story.exchange.on_account(story.an_account(lapd=common_pb2.OUTCOME_KIND_TIMED_OUT), now=AT_DEADLINE)
    assert settled(story) == {}
    assert any("every provider" in finding for finding in lines(story))


def test_rejected_order_settles_everyone_with_the_brokers_word(story: Story) -> None:
    """When the broker does not take the order nobody was asked through it, and nobody waits."""
    story.exchange.on_rejected("limit")
    found = settled(story)
    assert set(found) == {"lapd", "lahd"} and story.exchange.is_finished
    assert all(item.text == "limit" for item in found.values())


def test_too_many_pages_end_as_unverifiable(story: Story) -> None:
    """A provider cannot grow the gateway's memory: what passes the limit ends its outcome."""
    page = session_pb2.PageDelivery(exchange_id=story.order.exchange_id, page=bytes(1024 * 1024))
    for _ in range(70):
        story.exchange.on_page("lapd", page)
    assert kinds(settled(story)) == {"lapd": "UNVERIFIABLE"}
