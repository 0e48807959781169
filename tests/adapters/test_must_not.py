"""What the provider's end must not do: serve the forged, the late, the replayed, the re-addressed; leak."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from comity.adapters.errors import StateUnwritable
from comity.adapters.path import Reply
from comity.audit import merkle
from comity.audit.log import SignedLog
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.members import without_revoked
from comity.certs.revocations import Revoked, RevokedOf, key_digest
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.decision import Decision, Effect, PolicyEngine
from comity.policy.errors import MarkingInvalid, ObligationUnknown
from comity.policy.obligations import Applied
from comity.v1 import common_pb2, query_pb2, session_pb2
from tests.adapters.bench import NOON, Bench, detail_of, malleated, period


async def assert_malformed(bench: Bench, ask: session_pb2.Ask, reason: str, *, peer: str = "lahd") -> Reply:
    """Served nothing, searched nothing, decided nothing; answered with a signed receipt."""
    reply = await bench.reply(ask, peer=peer)
    receipt, detail = bench.receipt(reply.receipt), detail_of(reply)
    assert receipt.kind == detail.kind == common_pb2.OUTCOME_KIND_MALFORMED
    assert detail.violations
    assert reply.pages == ()
    assert bench.source.queries == []
    assert bench.log.kinds() == ["rejected"]
    assert bench.log.entries[0].public["reason"] == reason
    assert dict(bench.log.entries[0].private) == {}
    return reply


async def assert_silent(bench: Bench, ask: session_pb2.Ask, reason: str, *, peer: str = "lahd") -> None:
    """Not even answered: there is nothing but a log entry with a class of reason."""
    searched = len(bench.source.queries)
    assert await bench.answer(ask, peer=peer) is None
    assert len(bench.source.queries) == searched
    entry = bench.log.entries[-1]
    assert (entry.kind, entry.public["reason"]) == ("rejected", reason)
    assert dict(entry.private) == dict(entry.attachments) == {}


# -- orders that are not their bearer's ------------------------------------------------------------


async def test_order_of_a_key_that_nobody_knows_is_not_answered(bench: Bench) -> None:
    """A forged order gets no data and no receipt."""
    await assert_silent(bench, bench.ask(signer=SigningKey.generate()), "forged")


async def test_order_of_another_agency_in_this_session_is_not_answered(bench: Bench) -> None:
    """Nobody passes another's question on as their own errand: the session's peer must have signed."""
    ask = bench.ask(requester="lahd")
    await assert_silent(bench, ask, "forged", peer="sheriff")


async def test_order_in_own_name_signed_by_another_is_not_answered(bench: Bench) -> None:
    """The sheriff's key can't speak for the Port Police."""
    await assert_silent(bench, bench.ask(signer=bench.statement_key("sheriff")), "forged")


async def test_order_changed_after_signing_is_not_answered(bench: Bench) -> None:
    """One bit of the order's payload spoils the signature."""
    ask = bench.ask()
    payload = bytearray(ask.order.payload)
    payload[-1] ^= 1
    ask.order.payload = bytes(payload)
    await assert_silent(bench, ask, "forged")


async def test_order_that_names_another_requester_than_its_signer_is_rejected(bench: Bench) -> None:
    """Signed by the peer but in another's name: rejected, and answered to the peer."""

    def in_anothers_name(order: query_pb2.Order) -> None:
        order.requester = "sheriff"

    await assert_malformed(bench, bench.ask(order=in_anothers_name), "readdressed")


async def test_statement_key_out_of_its_time_signs_nothing(bench: Bench) -> None:
    """The key must have been valid when the order says that it was signed."""
    member = bench.federation.member("lahd")
    old = replace(
        member.key_set,
        statement_keys=tuple(
            replace(key, not_before=NOON - timedelta(days=9), not_after=NOON - timedelta(days=1))
            for key in member.key_set.statement_keys
        ),
    )
    members = {**bench.federation.members, "lahd": replace(member, key_set=old)}
    bench.standing(federation=replace(bench.federation, members=members))
    await assert_silent(bench, bench.ask(), "forged")


@pytest.mark.parametrize("minutes", [-1, 1], ids=["signed after", "dated before"])
async def test_order_of_a_revoked_key_is_not_answered(bench: Bench, minutes: int) -> None:
    """Whenever it says that it was signed: who has a stolen key dates an order as he likes."""
    member = bench.federation.member("lahd")
    listed = Revoked(at=NOON + timedelta(minutes=minutes), reason="key_compromise")
    keys = {key_digest(key.key.der): listed for key in member.key_set.statement_keys}
    revoked = without_revoked(member, RevokedOf(public_keys=keys), now=NOON)
    members = {**bench.federation.members, "lahd": revoked}
    bench.standing(federation=replace(bench.federation, members=members))
    await assert_silent(bench, bench.ask(), "forged")


async def test_expired_roster_verifies_nobody(bench: Bench) -> None:
    """A list past its next update is not trusted (design 4)."""
    bench.clock.now = bench.federation.timestamp_expires_at
    await assert_silent(bench, bench.ask(), "roster_expired")


# -- late, early, unannounced ----------------------------------------------------------------------


async def test_order_older_than_the_window_is_rejected(bench: Bench) -> None:
    """120 s of freshness and 5 s of skew, and not a second more."""
    ask = bench.ask(announce=False)
    bench.clock.forward(125.1)
    bench.announce(ask.exchange_id, "lahd")
    await assert_malformed(bench, ask, "expired")


async def test_order_from_the_future_is_rejected(bench: Bench) -> None:
    """More than the skew ahead of this end's clock."""

    def tomorrow(order: query_pb2.Order) -> None:
        order.issued_at.CopyFrom(from_instant(NOON + timedelta(seconds=6)))

    await assert_malformed(bench, bench.ask(order=tomorrow), "expired")


async def test_order_past_its_deadline_is_rejected(bench: Bench) -> None:
    """Fresh, but over: what comes later is cancelled (design 5)."""
    ask = bench.ask()
    bench.clock.forward(9.99)
    bench.announce(ask.exchange_id, "lahd")
    bench.clock.forward(0.02)
    await assert_malformed(bench, ask, "expired")


async def test_deadline_beyond_the_window_is_rejected(bench: Bench) -> None:
    """An order that could be served after its replays are forgotten is not served at all."""

    def far(order: query_pb2.Order) -> None:
        order.deadline.CopyFrom(from_instant(NOON + timedelta(seconds=120.5)))

    await assert_malformed(bench, bench.ask(order=far), "malformed")


async def test_exchange_that_the_broker_did_not_announce_is_rejected(bench: Bench) -> None:
    """Without the middle's account there is no answer; its receipt doesn't go to the broker."""
    reply = await assert_malformed(bench, bench.ask(announce=False), "unannounced")
    assert not reply.announced


async def test_announcement_for_another_requester_is_none(bench: Bench) -> None:
    """The broker announced the exchange of somebody else."""
    ask = bench.ask(announce=False)
    bench.announce(ask.exchange_id, "sheriff")
    await assert_malformed(bench, ask, "unannounced")


async def test_announcement_that_comes_a_moment_later_counts(bench: Bench) -> None:
    """Link and session are different ways: a question waits for its announcement."""
    ask = bench.ask(announce=False)
    waiting = asyncio.create_task(bench.reply(ask))
    await asyncio.sleep(0.01)
    bench.announce(ask.exchange_id, "lahd")
    assert (await waiting).kind == common_pb2.OUTCOME_KIND_RESPONDED


# -- replays -------------------------------------------------------------------------------------


async def test_replayed_order_is_not_served(bench: Bench) -> None:
    """Twice the same: once an answer, then nothing. One exchange has one receipt."""
    ask = bench.ask()
    await bench.reply(ask)
    await assert_silent(bench, ask, "replayed")


async def test_replayed_order_under_another_signature_is_not_served(bench: Bench) -> None:
    """(r, n - s) is another envelope and the same order (design 3)."""
    ask = bench.ask()
    await bench.reply(ask)
    ask.order.CopyFrom(malleated(ask.order))
    await assert_silent(bench, ask, "replayed")


async def test_order_signed_anew_for_the_same_exchange_is_not_served(bench: Bench) -> None:
    """A retry is a new query: the exchange id alone decides."""
    query = bench.query()
    await bench.reply(bench.ask(query))
    await assert_silent(bench, bench.ask(query), "replayed")


@pytest.mark.parametrize("reencoded", [False, True])
async def test_replayed_order_after_a_restart_is_not_served(bench: Bench, reencoded: bool) -> None:
    """The process starts anew on the same state.db: what was seen is still known."""
    ask = bench.ask()
    await bench.reply(ask)
    bench.build()
    if reencoded:
        ask.order.CopyFrom(malleated(ask.order))
    await assert_silent(bench, ask, "replayed")


async def test_two_copies_at_once_are_served_once(bench: Bench) -> None:
    """Copies that arrive together don't both slip through."""
    ask = bench.ask()
    replies = await asyncio.gather(*(bench.answer(ask) for _ in range(4)))
    assert len([reply for reply in replies if reply is not None]) == 1
    assert len(bench.source.queries) == 1


async def test_rejected_exchange_is_not_served_when_it_comes_again(bench: Bench) -> None:
    """A receipt was signed that says malformed; a later one that says otherwise would contradict it."""
    ask = bench.ask(announce=False)
    await bench.reply(ask)
    bench.announce(ask.exchange_id, "lahd")
    await assert_silent(bench, ask, "replayed")


# -- re-addressed ----------------------------------------------------------------------------------


async def test_leaf_of_another_provider_is_rejected(bench: Bench) -> None:
    """A question that was meant for another provider isn't answered here."""

    def for_another(leaf: query_pb2.OrderLeaf) -> None:
        leaf.provider = "vendor"

    await assert_malformed(bench, bench.ask(leaf=for_another), "readdressed")


async def test_ask_about_another_exchange_than_was_ordered_is_rejected(bench: Bench) -> None:
    """What is answered is the exchange that was signed for, under no other id."""
    ask = bench.ask()
    ask.exchange_id = secrets.token_bytes(16)
    await assert_malformed(bench, ask, "malformed")


@pytest.mark.parametrize("count", [0, 65])
async def test_order_of_no_leaf_or_too_many_is_rejected(bench: Bench, count: int) -> None:
    """The bound on a path's length is the bound on the order's leaves."""

    def of(order: query_pb2.Order) -> None:
        order.leaf_count = count

    await assert_malformed(bench, bench.ask(order=of), "malformed")


async def test_leaf_of_another_order_is_rejected(bench: Bench) -> None:
    """A leaf that doesn't stand under this order's root."""
    ask, other = bench.ask(), bench.ask()
    ask.inclusion.CopyFrom(other.inclusion)
    await assert_malformed(bench, ask, "readdressed")


async def test_forged_path_is_rejected(bench: Bench) -> None:
    """A leaf of one's own making needs a path that nobody can compute."""
    ask = bench.ask()
    del ask.inclusion.path[:]
    ask.inclusion.path.append(merkle.leaf_hash(b"other"))
    await assert_malformed(bench, ask, "readdressed")


async def test_query_bytes_that_were_not_ordered_are_rejected(bench: Bench) -> None:
    """One other plate in the query, and its digest isn't the one that was signed."""
    ask = bench.ask()
    query = query_pb2.Query.FromString(ask.query)
    query.plate.number = "9XYZ999"
    ask.query = query.SerializeToString()
    await assert_malformed(bench, ask, "readdressed")


@pytest.mark.parametrize(
    ("field", "value"),
    [("provider", "vendor"), ("requester", "sheriff"), ("exchange_id", secrets.token_bytes(16))],
    ids=["provider", "requester", "exchange_id"],
)
async def test_query_that_names_others_than_the_order_is_rejected(
    bench: Bench, field: str, value: str | bytes
) -> None:
    """Query, order and session name one exchange, one requester, one provider."""
    query = bench.query()
    exchange_id = query.exchange_id
    setattr(query, field, value)

    def of_this_exchange(order: query_pb2.Order) -> None:
        order.exchange_id = exchange_id

    ask = bench.ask(query, order=of_this_exchange)
    bench.announce(exchange_id, "lahd")
    await assert_malformed(bench, ask, "readdressed")


# -- what is asked, and for whom -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("plate", None, "plate.number"),
        ("plate", common_pb2.Plate(number="--", state="CA", country="US"), "plate.number"),
        ("plate", common_pb2.Plate(number="8ABC123", country="US"), "plate.state"),
        ("plate", common_pb2.Plate(number="8ABC123", state="CA"), "plate.country"),
        ("period", None, "period"),
        ("period", period(NOON, NOON), "period.end"),
        ("reason", 0, "reason"),
        ("reason", 99, "reason"),
        ("case_number", "", "case_number"),
        ("case_number", "x" * 65, "case_number"),
        ("reason_text", " ", "reason_text"),
        ("elements", [77], "elements"),
        ("area", common_pb2.Area(latitude=91, longitude=0, radius_metres=5), "area"),
        ("area", common_pb2.Area(latitude=float("nan"), longitude=0, radius_metres=5), "area"),
        ("subject", None, "subject"),
        ("nonce", b"short", "nonce"),
        ("retry_of", b"short", "retry_of"),
        ("offence", "Arson!", "offence"),
    ],
)
async def test_query_with_a_field_missing_or_wrong_is_malformed(
    bench: Bench, field: str, value: object, named: str
) -> None:
    """No query without plate, period, reason, case and text (Q1, Q2, Q3); each fault is named."""
    reply = await assert_malformed(bench, bench.ask(bench.query(**{field: value})), "malformed")
    assert any(violation.startswith(named) for violation in detail_of(reply).violations)


async def test_violations_hold_no_value(bench: Bench) -> None:
    """Fields are named, what was entered in them is not."""
    query = bench.query(plate=common_pb2.Plate(number="SECRET-PLATE-1234567", state="secret", country="x"))
    reply = await bench.reply(bench.ask(query))
    assert b"SECRET" not in reply.detail.upper()


@pytest.mark.parametrize("fault", ["other-agency", "expired", "garbage"])
async def test_assertion_that_does_not_verify_is_rejected(bench: Bench, fault: str) -> None:
    """The person must be vouched for by the requester's own identity provider, now (Q4)."""
    match fault:
        case "other-agency":
            assertion = bench.made.assertion("sheriff", NOON)
        case "expired":
            assertion = bench.made.assertion("lahd", NOON - timedelta(hours=1))
        case _:
            assertion = "a.b.c"
    await assert_malformed(bench, bench.ask(bench.query(assertion=assertion)), "subject")


# -- agreements and policy ---------------------------------------------------------------------------


async def test_expired_agreement_refuses(bench: Bench) -> None:
    """The day it ends nothing is shared any more (A2)."""
    book = bench.path.standing.agreements
    over = tuple(
        replace(agreement, expires_at=NOON - timedelta(days=agreement.extension_days))
        for agreement in book.agreements
    )
    bench.standing(agreements=replace(book, agreements=over))
    await assert_refused_by_agreement(bench)


async def test_no_agreement_refuses(bench: Bench) -> None:
    """Without an agreement nothing is searched (A2)."""
    bench.standing(agreements=replace(bench.path.standing.agreements, agreements=()))
    await assert_refused_by_agreement(bench)


async def test_suspended_requester_is_refused(bench: Bench) -> None:
    """Suspended in the roster: no agreement counts."""
    member = replace(bench.federation.member("lahd"), suspended=True)
    federation = replace(bench.federation, members={**bench.federation.members, "lahd": member})
    book = replace(bench.path.standing.agreements, federation=federation)
    bench.standing(federation=federation, agreements=book)
    await assert_refused_by_agreement(bench)


async def test_purpose_that_the_agreement_does_not_grant_is_refused(bench: Bench) -> None:
    """Even by a policy that permits everything (A2)."""
    book = bench.path.standing.agreements
    narrow = tuple(
        replace(
            agreement,
            grants=tuple(replace(grant, purposes=frozenset({"NARCOTICS"})) for grant in agreement.grants),
        )
        for agreement in book.agreements
    )
    bench.standing(agreements=replace(book, agreements=narrow))
    await assert_refused_by_agreement(bench)


async def assert_refused_by_agreement(bench: Bench) -> None:
    """Refused under A2, decided in the log, nothing searched."""
    reply = await bench.reply()
    detail = detail_of(reply)
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert any("A2" in rule.rules for rule in detail.rules)
    assert bench.source.queries == []
    assert bench.log.kinds() == ["received", "decided", "released"]


class StubEngine(PolicyEngine):
    """The real engine, its decision changed by a function."""

    def __init__(self, bench: Bench, change: object) -> None:
        super().__init__(bench.bundle)
        self.change = change

    def decide(self, request, stores):  # type: ignore[no-untyped-def]
        return self.change(super().decide(request, stores))  # type: ignore[operator]


async def test_permit_beyond_the_agreement_is_refused(bench: Bench) -> None:
    """A permit, however it came about, carries nothing without an agreement's purpose (A2)."""
    permit = await _decision(bench)
    book = bench.path.standing.agreements
    narrow = tuple(
        replace(
            agreement,
            grants=tuple(replace(grant, purposes=frozenset({"NARCOTICS"})) for grant in agreement.grants),
        )
        for agreement in book.agreements
    )
    bench.standing(
        agreements=replace(book, agreements=narrow), engine=StubEngine(bench, lambda decision: permit)
    )
    reply = await bench.reply()
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert bench.source.queries == []


async def test_permit_without_any_agreement_is_refused(bench: Bench) -> None:
    """The same with no agreement at all (A2)."""
    permit = await _decision(bench)
    bench.standing(
        agreements=replace(bench.path.standing.agreements, agreements=()),
        engine=StubEngine(bench, lambda decision: permit),
    )
    assert (await bench.reply()).kind == common_pb2.OUTCOME_KIND_REFUSED
    assert bench.source.queries == []


async def test_obligation_that_is_not_implemented_refuses(bench: Bench) -> None:
    """A permit that asks for what this adapter can't do is no permit (design 6)."""

    def with_unknown(decision: Decision) -> Decision:
        assert decision.obligations is not None
        strange = Applied(name="blur_faces", text="faces are blurred", policy_id="x")
        return replace(decision, obligations=replace(decision.obligations, applied=(strange,)))

    bench.standing(engine=StubEngine(bench, with_unknown))
    reply = await bench.reply()
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert bench.source.queries == []
    assert bench.log.entries[1].public["outcome"] == "refused"


async def test_unknown_element_to_withhold_refuses(bench: Bench) -> None:
    """Also where one store alone asks for it."""

    def with_unknown(decision: Decision) -> Decision:
        stores = tuple(
            replace(store, obligations=replace(store.obligations, withhold=frozenset({"FACES"})))
            for store in decision.stores
            if store.obligations is not None
        )
        return replace(decision, stores=stores)

    bench.standing(engine=StubEngine(bench, with_unknown))
    assert (await bench.reply()).kind == common_pb2.OUTCOME_KIND_REFUSED


async def test_policy_that_errors_permits_nothing(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A forbid that fails while it is evaluated is skipped by Cedar; here it refuses."""
    folder = tmp_path_factory.mktemp("bundle") / "lapd"
    shutil.copytree(shipped("lapd"), folder)
    faulty = """
@id("lapd.faulty")
@rule("A1")
@document("ours")
@text("overflows")
forbid (principal, action, resource)
when { context.query.oldestDaysAgo * 9223372036854775807 > 5 };
"""
    (folder / "policies" / "90-faulty.cedar").write_text(faulty)
    bench.bundle = PolicyBundle.load(folder)
    bench.build()
    reply = await bench.reply()
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert bench.source.queries == []
    assert "lapd.faulty" in bench.log.entries[1].private["errors"]


async def test_engine_that_raises_permits_nothing(bench: Bench) -> None:
    """A fault in the policy's own machinery is a refusal, logged, and tells the peer nothing of it."""

    def broken(decision: Decision) -> Decision:
        raise ValueError("secret detail of the house")

    bench.standing(engine=StubEngine(bench, broken))
    reply = await bench.reply()
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert b"secret" not in reply.detail


async def test_area_cannot_probe_a_withheld_place(bench: Bench) -> None:
    """A hit inside a circle tells where: refused where locations are withheld (A6)."""
    bench.store_classes = {"mobile": "mobile"}
    bench.build()
    query = bench.query("sheriff", area=common_pb2.Area(latitude=34.05, longitude=-118.24, radius_metres=100))
    reply = await bench.reply(bench.ask(query, requester="sheriff"), peer="sheriff")
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert bench.source.queries == []


async def test_area_cannot_probe_a_place_that_the_agreement_withholds(bench: Bench) -> None:
    """The same where the agreement grants no locations, and whatever the policy permits (A6)."""
    permit = await _decision(bench)
    book = bench.path.standing.agreements
    narrow = tuple(
        replace(
            agreement,
            grants=tuple(replace(grant, elements=frozenset({"PLATE"})) for grant in agreement.grants),
        )
        for agreement in book.agreements
    )
    bench.standing(
        agreements=replace(book, agreements=narrow), engine=StubEngine(bench, lambda decision: permit)
    )
    query = bench.query(area=common_pb2.Area(latitude=34.05, longitude=-118.24, radius_metres=100))
    assert (await bench.reply(bench.ask(query))).kind == common_pb2.OUTCOME_KIND_REFUSED
    assert bench.source.queries == []


async def _decision(bench: Bench) -> Decision:
    """The permit of a good question."""
    found: list[Decision] = []

    def keep(decision: Decision) -> Decision:
        found.append(decision)
        return decision

    bench.standing(engine=StubEngine(bench, keep))
    await bench.reply()
    bench.source.queries.clear()
    assert found[0].effect is Effect.PERMIT
    return found[0]


# -- the log can't be written ----------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "searched"), [("decided", 0), ("released", 1)])
async def test_unwritable_log_lets_nothing_out_and_recovers(bench: Bench, kind: str, searched: int) -> None:
    """No durable decision, no search; no durable release, no data. Signed, and over by itself (design 6)."""
    bench.log.unwritable = frozenset({kind})
    reply = await bench.reply()
    receipt = bench.receipt(reply.receipt)
    assert receipt.kind == common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE
    assert receipt.last_checkpoint == b"the last checkpoint"
    assert not receipt.HasField("promise")
    assert reply.pages == ()
    assert detail_of(reply).read_count == 0
    assert b"8ABC" not in reply.detail
    assert len(bench.source.queries) == searched
    bench.log.unwritable = frozenset()
    assert (await bench.reply()).kind == common_pb2.OUTCOME_KIND_RESPONDED


async def test_replay_while_the_log_is_unwritable_gets_no_second_receipt(bench: Bench) -> None:
    """One exchange, one receipt, also then."""
    ask = bench.ask()
    await bench.reply(ask)
    bench.log.unwritable = frozenset({"rejected"})
    assert await bench.answer(ask) is None


async def test_unwritable_state_is_no_excuse(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay table that can't be written protects nobody, so nothing leaves."""

    async def failing(*_: object, **__: object) -> None:
        raise StateUnwritable("disk")

    monkeypatch.setattr("comity.adapters.replay.ReplayGuard.settle", failing)
    reply = await bench.reply()
    assert reply.kind == common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE
    assert bench.source.queries == []


async def test_real_log_that_cannot_be_written_lets_nothing_out_and_recovers(
    bench: Bench, real_log: SignedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real log on a disk that fails: the receipt carries its last checkpoint; then it goes on."""
    bench.build(real_log)

    def full(self: object, records: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("comity.audit.wal.WriteAheadFile.write", full)
        reply = await bench.reply()
    receipt = bench.receipt(reply.receipt)
    assert receipt.kind == common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE
    assert receipt.last_checkpoint == real_log.checkpoint()
    assert bench.source.queries == []
    assert (await bench.reply()).kind == common_pb2.OUTCOME_KIND_RESPONDED


# -- limits ------------------------------------------------------------------------------------------


async def test_requester_over_its_limit_gets_a_receipt_and_nothing_else(bench: Bench) -> None:
    """RATE_LIMITED is signed, logged, says when to come again, and touches no store."""
    reply = await bench.path.answer("lahd", bench.ask(), crowded=True)
    assert reply is not None
    assert bench.receipt(reply.receipt).kind == common_pb2.OUTCOME_KIND_RATE_LIMITED
    assert detail_of(reply).retry_after_seconds > 0
    assert bench.source.queries == []
    assert bench.log.entries[0].public["outcome"] == "rate_limited"


async def test_obligation_that_fails_while_it_is_applied_refuses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found and permitted, but what must be withheld can't be: nothing leaves, and a refusal is released."""

    def failing(*_: object, **__: object) -> None:
        raise ObligationUnknown("obligation `x` is not implemented")

    monkeypatch.setattr("comity.policy.obligations.withhold", failing)
    reply = await bench.reply()
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert reply.pages == ()
    assert b"8ABC" not in reply.detail
    assert bench.log.entries[-1].public["outcome"] == "refused"


async def test_data_that_cannot_be_marked_does_not_leave(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ceiling that no scheme allows: refused, under this provider's own marking (A4)."""

    def failing(*_: object, **__: object) -> None:
        raise MarkingInvalid("level `x` is unknown")

    monkeypatch.setattr("comity.policy.markings.derive", failing)
    reply = await bench.reply()
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert reply.pages == ()
    assert detail_of(reply).marking.provider == "lapd"
