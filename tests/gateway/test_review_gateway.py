"""What a lying broker, a retired key or an unknown number must not do at the gateway."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import cast

from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import ValidKey
from comity.gateway import records
from comity.gateway.exchange import Settled
from comity.gateway.summary import has_answer, lacks
from comity.v1 import common_pb2, query_pb2, result_pb2
from tests.gateway.conftest import NOW, Lies, Provider, Story

AT_DEADLINE = NOW + timedelta(seconds=10)


def settled_of(story: Story) -> dict[str, Settled]:
    return {item.provider: item for item in story.exchange.take_settled()}


def test_broker_cannot_attest_that_a_provider_responded() -> None:
    """`RESPONDED` without a receipt is nobody's to say: it must not meet QUORUM or REQUIRED (design 5)."""
    story = Story(Provider("lapd"), Provider("lahd"))
    story.exchange.on_account(
        story.an_account(lapd=common_pb2.OUTCOME_KIND_RESPONDED, lahd=common_pb2.OUTCOME_KIND_RESPONDED),
        now=AT_DEADLINE,
    )
    story.exchange.end_waiting()
    found = settled_of(story)
    assert not has_answer(found)
    assert lacks(query_pb2.Completeness(quorum=2), found) != ""
    assert lacks(query_pb2.Completeness(required=query_pb2.RequiredProviders(agencies=["lapd"])), found) != ""


def test_account_with_an_unknown_outcome_is_a_finding_not_a_fault() -> None:
    """A number that no version knows makes the account unverifiable; it doesn't end the caller's stream."""
    story = Story(Provider("lapd"))
    story.exchange.on_account(story.an_account(lapd=cast(common_pb2.OutcomeKind, 77)), now=AT_DEADLINE)
    story.exchange.end_waiting()
    records.concluded("sheriff", story.exchange, settled_of(story), NOW)


def test_unknown_outcome_of_a_provider_whose_receipt_is_here_is_no_fault() -> None:
    """The account is not believed; the receipt that verified is."""
    story = Story(Provider("lapd"))
    story.answers("lapd")
    story.exchange.on_account(story.an_account(lapd=cast(common_pb2.OutcomeKind, 77)), now=AT_DEADLINE)


def test_receipt_dated_back_to_a_retired_key_is_unverifiable() -> None:
    """A receipt can't be older than the order that it answers."""
    provider = Provider("lapd")
    old = SigningKey.generate()
    retired = ValidKey(key=old.public, not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=2))
    keys = provider.member.key_set
    provider.member = replace(
        provider.member, key_set=replace(keys, statement_keys=(*keys.statement_keys, retired))
    )
    story = Story(provider)

    def back(receipt: result_pb2.Receipt) -> None:
        receipt.signed_at.CopyFrom(from_instant(NOW - timedelta(days=5)))

    story.answers("lapd", Lies(receipt=back, key=old))
    story.exchange.end_waiting()
    [item] = settled_of(story).values()
    assert item.kind == common_pb2.OUTCOME_KIND_UNVERIFIABLE


def test_promise_of_anothers_log_is_unverifiable() -> None:
    """A receipt's promise is of the log that the roster names for the provider."""
    story = Story(Provider("lapd"))

    def elsewhere(receipt: result_pb2.Receipt) -> None:
        receipt.promise.origin = "cbp.example/adapter"

    story.answers("lapd", Lies(receipt=elsewhere))
    story.exchange.end_waiting()
    [item] = settled_of(story).values()
    assert item.kind == common_pb2.OUTCOME_KIND_UNVERIFIABLE
