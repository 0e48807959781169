"""What a revoked key signed, or came under a revoked certificate, is shown no more (design 4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from comity.certs.keys import SigningKey
from comity.certs.members import MemberView, without_revoked
from comity.certs.revocations import Revoked, RevokedOf, key_digest
from comity.cli.asking import Answer, _collect
from comity.gateway.exchange import Exchange, Settled
from comity.gateway.library.answers import AnswerBuilder
from comity.v1 import common_pb2, query_service_pb2, result_pb2
from tests.gateway.conftest import NOW, Lies, Story

SINCE = Revoked(at=NOW + timedelta(minutes=1), reason="key_compromise")
"""After what is signed here: that counts nothing, for a thief dates a receipt as he likes."""


def revoking(story: Story, key: SigningKey | None = None, *, everything: bool = False) -> MemberView:
    """Return the view of `lapd` under a list that revokes a key of it: its own, if none is given."""
    provider = story.providers["lapd"]
    if everything:
        return without_revoked(provider.member, RevokedOf(everything=SINCE), now=NOW)
    digest = key_digest((key or provider.key).public.der)
    return without_revoked(provider.member, RevokedOf(public_keys={digest: SINCE}), now=NOW)


def settled(story: Story) -> dict[str, Settled]:
    return {item.provider: item for item in story.exchange.take_settled()}


def unverifiable(item: Settled) -> bool:
    return (
        item.kind == common_pb2.OUTCOME_KIND_UNVERIFIABLE
        and item.result is None
        and "revoked" in item.text
        and len(item.claimed) == 1
    )


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("stage", ["pages missing", "unstamped", "settled", "taken"])
def test_result_of_a_revoked_key_is_withdrawn_until_it_is_shown(
    story: Story, stage: str, everything: bool
) -> None:
    """Wherever it is: what it signed is kept as evidence, and counts for nothing; others' answers stand."""
    story.answers("lahd")
    story.stamps("lahd")
    story.answers("lapd", Lies(sent=lambda pages: pages[:0] if stage == "pages missing" else pages))
    found: dict[str, Settled] = {}
    if stage in ("settled", "taken"):
        story.stamps("lapd")
    if stage == "taken":
        found = settled(story)
        assert found["lapd"].result is not None
    story.exchange.on_member(revoking(story, everything=everything))
    if stage == "taken":
        withdrawn = story.exchange.withdrawn("lapd")
        assert withdrawn is not None and unverifiable(withdrawn)
        assert found["lapd"].result is not None and not found["lapd"].result.pages, "nothing is left to show"
    else:
        found = settled(story)
        assert "lapd" in found and unverifiable(found["lapd"])
    assert found["lahd"].result is not None and story.exchange.withdrawn("lahd") is None
    assert settled(story) == {}, "it settles once"


@pytest.mark.parametrize("stage", ["unstamped", "settled", "taken"])
def test_what_came_under_a_revoked_certificate_is_withdrawn_until_it_is_shown(
    story: Story, stage: str
) -> None:
    """A session's, of a provider whose statement key counts on: the session failed."""
    found: dict[str, Settled] = {}
    story.answers("lapd")
    if stage != "unstamped":
        story.stamps("lapd")
    if stage == "taken":
        found = settled(story)
    story.exchange.on_certificate_revoked("lapd")
    item = story.exchange.withdrawn("lapd") if found else settled(story).get("lapd")
    assert item is not None and item.kind == common_pb2.OUTCOME_KIND_SESSION_FAILED and item.result is None


def test_revocation_withdraws_nothing_that_was_shown_whole(story: Story) -> None:
    """It is with the caller: what was made before the revocation verifies as of then."""
    story.answers("lapd")
    stamp = story.stamps("lapd")
    item = settled(story)["lapd"]
    story.exchange.showing_last("lapd")
    story.exchange.on_member(revoking(story))
    story.exchange.on_certificate_revoked("lapd")
    assert story.exchange.withdrawn("lapd") is None and item.result is not None
    story.answers("lahd")
    story.exchange.on_account(
        story.an_account(lapd=stamp, lahd=story.stamps("lahd")), now=NOW + timedelta(seconds=1)
    )
    assert not story.exchange.findings


def test_revocation_of_another_key_withdraws_nothing(story: Story) -> None:
    """An older key of the same provider is revoked: the answer was signed by the one that counts."""
    story.answers("lapd")
    story.exchange.on_member(revoking(story, SigningKey.generate()))
    story.stamps("lapd")
    assert settled(story)["lapd"].result is not None


@pytest.mark.parametrize("minutes", [-1, 1], ids=["signed after", "dated before"])
def test_receipt_that_comes_after_the_list_is_judged_by_the_list(story: Story, minutes: int) -> None:
    """The question was asked before; the answer is not believed, whenever it says that it was signed."""
    story.exchange.on_member(
        without_revoked(
            story.providers["lapd"].member,
            RevokedOf(
                public_keys={
                    key_digest(story.providers["lapd"].key.public.der): replace(
                        SINCE, at=NOW + timedelta(minutes=minutes)
                    )
                }
            ),
            now=NOW,
        )
    )
    story.answers("lapd")
    item = settled(story).get("lapd")
    assert item is not None and item.kind == common_pb2.OUTCOME_KIND_UNVERIFIABLE and item.result is None


@pytest.mark.parametrize("stage", ["unstamped", "settled", "taken"])
def test_agency_that_is_revoked_is_withdrawn_once(story: Story, stage: str) -> None:
    """Its key and the certificate of its session are revoked with it: that makes one outcome, not two."""
    found: list[Settled] = []
    story.answers("lapd")
    if stage != "unstamped":
        story.stamps("lapd")
    if stage == "taken":
        story.exchange.take_settled()
    story.exchange.on_member(revoking(story, everything=True))
    story.exchange.on_certificate_revoked("lapd")
    found += story.exchange.take_settled()
    withdrawn = story.exchange.withdrawn("lapd")
    found += [withdrawn] if stage == "taken" and withdrawn is not None else []
    assert len(found) == 1 and unverifiable(found[0])
    assert withdrawn is None if stage == "unstamped" else withdrawn is found[0]
    assert story.exchange.held == 0


def test_second_receipt_of_a_revoked_key_accuses_nobody(story: Story) -> None:
    """Whoever has the key can sign two: that the provider lied is not shown by them."""
    story.answers("lapd")
    story.stamps("lapd")
    story.exchange.take_settled()
    story.exchange.showing_last("lapd")
    story.exchange.on_member(revoking(story))
    story.answers("lapd")
    assert not story.exchange.findings


def test_account_of_a_revoked_key_is_none(story: Story) -> None:
    """Dated before the revocation, by whoever holds the key: nothing is settled by it."""
    digest = key_digest(story.broker_key.public.der)
    operator = without_revoked(story.operator, RevokedOf(public_keys={digest: SINCE}), now=NOW)
    exchange = Exchange(story.order, story.expectations, requester="sheriff", operator=operator)
    told = dict.fromkeys(story.providers, common_pb2.OUTCOME_KIND_CANCELLED)
    exchange.on_account(story.an_account(**told), now=NOW)
    assert exchange.account is None and not exchange.take_settled()


def test_broker_that_refused_what_a_revoked_key_signed_is_no_liar(story: Story) -> None:
    """It had the list first: that it took the receipt for a bad one is no contradiction."""
    story.answers("lapd")
    story.exchange.on_member(revoking(story))
    story.answers("lahd")
    told = {"lapd": common_pb2.OUTCOME_KIND_BAD_RECEIPT, "lahd": story.stamps("lahd")}
    story.exchange.on_account(story.an_account(**told), now=NOW + timedelta(seconds=1))
    assert not story.exchange.findings


def an_outcome(kind: common_pb2.OutcomeKind, *, pages: int = 0) -> query_service_pb2.SearchResponse:
    outcome = query_service_pb2.ProviderOutcome(
        agency="lapd", kind=kind, attested_by=query_service_pb2.ATTESTATION_GATEWAY, page_count=pages
    )
    outcome.detail.marking.scheme = result_pb2.MARKING_SCHEME_PLAIN
    return query_service_pb2.SearchResponse(outcome=outcome)


A_PAGE = query_service_pb2.SearchResponse(
    page=query_service_pb2.ProviderPage(agency="lapd", page=result_pb2.Page())
)
WITHDRAWN = (
    an_outcome(common_pb2.OUTCOME_KIND_RESPONDED, pages=2),
    A_PAGE,
    an_outcome(common_pb2.OUTCOME_KIND_UNVERIFIABLE),
)
"""Its first page was shown when it was revoked."""


def test_library_gives_no_outcome_that_was_withdrawn() -> None:
    """The second outcome takes its place: the page of the first is given to nobody."""
    builder = AnswerBuilder()
    (part,) = [part for message in WITHDRAWN for part in builder.take(message)]
    assert part.kind.value == "UNVERIFIABLE" and not part.reads  # type: ignore[union-attr]


def test_command_line_shows_no_outcome_that_was_withdrawn() -> None:
    """Neither its page nor its first outcome, in no form of the answer."""
    answer = Answer()
    for message in WITHDRAWN:
        _collect(answer, message)
    assert [item.kind for item in answer.outcomes] == [common_pb2.OUTCOME_KIND_UNVERIFIABLE]
    assert not answer.pages
