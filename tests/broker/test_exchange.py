"""The pure state of one exchange: every outcome that the broker tells, and that the first one stays."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.broker.exchange import SIGNED_KINDS, AcceptedOrder, Arrival, Asked, Exchange
from comity.v1 import audit_pb2, common_pb2

T0 = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
RESPONDED = common_pb2.OUTCOME_KIND_RESPONDED
REFUSED = common_pb2.OUTCOME_KIND_REFUSED
UNREACHABLE = common_pb2.OUTCOME_KIND_UNREACHABLE
TIMED_OUT = common_pb2.OUTCOME_KIND_TIMED_OUT
BAD_RECEIPT = common_pb2.OUTCOME_KIND_BAD_RECEIPT
CANCELLED = common_pb2.OUTCOME_KIND_CANCELLED


def order_for(*providers: str) -> AcceptedOrder:
    return AcceptedOrder(
        exchange_id=secrets.token_bytes(16),
        requester="sheriff",
        digest=b"o" * 32,
        issued_at=T0,
        deadline=T0 + timedelta(seconds=10),
        asked=tuple(
            Asked(provider=p, query_digest=b"q" * 32, ceiling=b"c" + p.encode(), agreement_digest=b"a" * 32)
            for p in providers
        ),
    )


def routed(*providers: str, present: tuple[str, ...] | None = None) -> Exchange:
    exchange = Exchange(
        order_for(*providers), present=providers if present is None else present, routed_at=T0
    )
    exchange.announce()
    return exchange


def kinds(exchange: Exchange) -> dict[str, int]:
    return {entry.provider: entry.kind for entry in exchange.entries()}


def test_receipt_that_verified_gives_its_own_kind_and_a_stamp() -> None:
    """A stamped provider stands in the account with the kind that it signed, refusals included (A1)."""
    exchange = routed("lapd", "cbp")
    exchange.stamp("lapd", kind=REFUSED, receipt_digest=b"1" * 32, now=T0)
    assert not exchange.is_settled
    exchange.stamp("cbp", kind=RESPONDED, receipt_digest=b"2" * 32, now=T0)
    assert kinds(exchange) == {"lapd": REFUSED, "cbp": RESPONDED}
    stamp = exchange.entries()[0].stamp
    assert (stamp.provider, stamp.ceiling_marking, stamp.receipt_digest) == ("lapd", b"clapd", b"1" * 32)


def test_provider_without_a_link_is_unreachable_at_once() -> None:
    """Who has no link is not waited for, is not announced to, and stands in the account."""
    exchange = routed("lapd", "cbp", present=("cbp",))
    assert exchange.announce() == ("cbp",)
    exchange.stamp("cbp", kind=RESPONDED, receipt_digest=b"2" * 32, now=T0)
    assert kinds(exchange) == {"lapd": UNREACHABLE, "cbp": RESPONDED}
    assert [entry.announced for entry in exchange.entries()] == [False, True]


def test_nobody_present_is_an_account_of_absences_not_an_empty_one() -> None:
    """An order whose providers are all absent is settled from the start, and names each of them."""
    exchange = routed("lapd", "cbp", present=())
    assert exchange.is_settled
    assert kinds(exchange) == {"lapd": UNREACHABLE, "cbp": UNREACHABLE}


def test_link_lost_while_asked_is_unreachable_and_says_it_was_announced() -> None:
    """A provider whose link ends in an exchange costs no deadline; that it had been told stays visible."""
    exchange = routed("lapd")
    assert exchange.lost("lapd")
    assert not exchange.lost("lapd")
    (entry,) = exchange.entries()
    assert (entry.kind, entry.announced) == (UNREACHABLE, True)


def test_silent_provider_times_out_and_the_answer_of_the_others_stays() -> None:
    """At the deadline only those are timed out of whom nothing came, and they are to be cancelled."""
    exchange = routed("lapd", "cbp", "dea")
    exchange.stamp("cbp", kind=RESPONDED, receipt_digest=b"2" * 32, now=T0)
    assert exchange.expire() == ("lapd", "dea")
    assert kinds(exchange) == {"lapd": TIMED_OUT, "cbp": RESPONDED, "dea": TIMED_OUT}


def test_cancelled_by_its_asker_names_everyone_still_awaited() -> None:
    """After a cancellation nobody is awaited and nobody is missing."""
    exchange = routed("lapd", "cbp")
    exchange.bad_receipt("cbp")
    assert exchange.cancel() == ("lapd",)
    assert kinds(exchange) == {"lapd": CANCELLED, "cbp": BAD_RECEIPT}


def test_second_receipt_never_changes_an_outcome() -> None:
    """The first statement stays: one more like it is a repeat, a different one a contradiction, told once."""
    exchange = routed("lapd", "cbp")
    assert exchange.arrival("lapd", b"first") is Arrival.FIRST
    exchange.stamp("lapd", kind=RESPONDED, receipt_digest=b"1" * 32, now=T0)
    assert exchange.arrival("lapd", b"first") is Arrival.REPEATED
    assert exchange.arrival("lapd", b"other") is Arrival.CONTRADICTION
    assert exchange.arrival("lapd", b"third") is Arrival.REPEATED
    with pytest.raises(ValueError, match="settled"):
        exchange.stamp("lapd", kind=REFUSED, receipt_digest=b"3" * 32, now=T0)


def test_good_receipt_after_a_bad_one_does_not_wash_it_off() -> None:
    """A provider whose first receipt was bad stays BAD_RECEIPT: else it could try markings out."""
    exchange = routed("lapd", "cbp")
    assert exchange.arrival("lapd", b"bad") is Arrival.FIRST
    exchange.bad_receipt("lapd")
    assert exchange.arrival("lapd", b"good") is Arrival.CONTRADICTION
    with pytest.raises(ValueError, match="settled"):
        exchange.stamp("lapd", kind=RESPONDED, receipt_digest=b"1" * 32, now=T0)


def test_receipt_after_the_deadline_is_late_not_a_contradiction() -> None:
    """What comes after a provider was settled without it is ignored, and blames nobody."""
    exchange = routed("lapd")
    exchange.expire()
    assert exchange.arrival("lapd", b"late") is Arrival.LATE
    assert kinds(exchange) == {"lapd": TIMED_OUT}


@pytest.mark.parametrize("provider", ["dea", "cbp"])
def test_receipt_of_one_who_was_not_told_is_ignored(provider: str) -> None:
    """Neither a provider outside the order nor one that was absent can speak in an exchange."""
    exchange = routed("lapd", "cbp", present=("lapd",))
    assert exchange.arrival(provider, b"x") is Arrival.NOT_ANNOUNCED


@pytest.mark.parametrize("kind", sorted(set(common_pb2.OutcomeKind.values()) - SIGNED_KINDS))
def test_provider_cannot_sign_what_only_others_attest(kind: common_pb2.OutcomeKind) -> None:
    """A stamp is never given for a kind that broker or gateway attest (design 5)."""
    with pytest.raises(ValueError, match="cannot sign"):
        routed("lapd").stamp("lapd", kind=kind, receipt_digest=b"1" * 32, now=T0)


def test_account_leaves_nobody_out_while_somebody_is_awaited() -> None:
    """There is no account of an exchange that isn't over."""
    with pytest.raises(ValueError, match="settled"):
        routed("lapd").entries()


def test_account_binds_order_promise_and_times() -> None:
    """The account names requester, order, log entry and both times, and is in leaf order."""
    for providers in permutations(("lapd", "cbp", "dea")):
        exchange = routed(*providers, present=())
        promise = audit_pb2.LogPromise(origin="operator.example/broker", index=7, leaf_hash=b"h" * 32)
        account = exchange.account(nonce=b"n" * 16, closed_at=T0 + timedelta(seconds=1), promise=promise)
        assert [entry.provider for entry in account.entries] == list(providers)
        assert account.requester == "sheriff"
        assert account.order_digest == b"o" * 32
        assert account.promise == promise
        assert account.closed_at.ToDatetime(tzinfo=UTC) - account.routed_at.ToDatetime(
            tzinfo=UTC
        ) == timedelta(seconds=1)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["stamp", "bad", "lost", "expire", "cancel", "arrive"]),
        st.sampled_from(["lapd", "cbp", "dea", "dhs"]),
        st.sampled_from([b"a", b"b"]),
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(present=st.sets(st.sampled_from(["lapd", "cbp", "dea"])), steps=STEPS)
def test_whatever_happens_everyone_is_accounted_for_once_and_first_wins(
    present: set[str], steps: list[tuple[str, str, bytes]]
) -> None:
    """Under any course of events each provider has one outcome, and it never changes once it is known."""
    exchange = Exchange(order_for("lapd", "cbp", "dea"), present=present, routed_at=T0)
    exchange.announce()
    known: dict[str, int] = {}
    for name, provider, statement in steps:
        before = set(exchange.awaited)
        match name:
            case "stamp" if provider in before:
                exchange.stamp(provider, kind=RESPONDED, receipt_digest=b"r" * 32, now=T0)
            case "bad" if provider in before:
                exchange.bad_receipt(provider)
            case "lost":
                assert exchange.lost(provider) == (provider in before)
            case "expire":
                assert set(exchange.expire()) == before
            case "cancel":
                assert set(exchange.cancel()) == before
            case "arrive":
                exchange.arrival(provider, statement)
        if exchange.is_settled:
            now_known = kinds(exchange)
            assert not known or known == now_known
            known = now_known
    exchange.expire()
    assert [entry.provider for entry in exchange.entries()] == ["lapd", "cbp", "dea"]
    assert all(entry.kind != common_pb2.OUTCOME_KIND_UNSPECIFIED for entry in exchange.entries())
    for entry in exchange.entries():
        assert entry.HasField("stamp") == (entry.kind in SIGNED_KINDS)
