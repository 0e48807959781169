"""Refusals for want of authorization suspend, and what agencies decide of their users holds (Q8)."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from comity.adapters.barring import Barring, Notice, Suspension
from comity.adapters.path import Reply
from comity.adapters.state import open_state
from comity.audit.entry import Entry
from comity.certs.envelope import digest, open_envelope, seal
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.user_acts import UserAct, sign_user_act, verify_suspension
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.suspension import Returns, SuspensionTerms
from comity.v1 import common_pb2, session_pb2, users_pb2
from comity.v1.envelope_pb2 import Envelope
from tests.adapters.bench import NOON, Bench, detail_of
from tests.support.federation import FederationOnDisk

HOUR = timedelta(hours=1)
TABLE = '\n[suspension]\nrefusals = 3\nwindow_hours = 24\naccess_returns = "recertification"\n'


@dataclass
class Session:
    """A session of an agency: what it was sent."""

    peer: str = "lahd"
    is_open: bool = True
    sent: list[session_pb2.SessionMessage] = field(default_factory=list)

    def send(self, *messages: session_pb2.SessionMessage) -> None:
        self.sent.extend(messages)

    def notices(self) -> list[Envelope]:
        return [each for message in self.sent for each in message.suspensions.notices]

    def noted(self) -> list[bytes]:
        return [each for message in self.sent for each in message.noted.digests]


class Desk(Bench):
    """LAPD's end with a policy that suspends after three refusals within a day; the Port Police ask."""

    def __init__(self, made: FederationOnDisk, folder: Path, law: PolicyBundle) -> None:
        super().__init__(made, folder, bundle=law)
        self.session = Session()
        self.people.sessions = {"lahd": self.session}
        self.user = made.user("lahd")

    async def asked(self, *, bad: bool = False, peer: str = "lahd") -> Reply:
        standing = {"good_standing": False} if bad else {}
        jwt = self.made.assertion(peer, self.clock(), **standing)
        return await self.reply(self.ask(self.query(peer, assertion=jwt), requester=peer), peer=peer)

    async def suspend(self) -> None:
        """Refuse three times, without a question."""

        async def append(entry: Entry) -> None:
            await self.log.append(entry)

        for _ in range(3):
            await self.people.refused(
                "lahd", self.user, secrets.token_bytes(16), bundle=self.bundle, append=append
            )
        assert self.bars() == "suspension"

    def act(self, *, terminates: bool = False, key: SigningKey | None = None, **changes: object) -> Envelope:
        facts: dict[str, object] = {"agency": "lahd", "user": self.user, "given_at": self.clock()}
        return sign_user_act(
            key or self.statement_key("lahd"),
            terminates=terminates,
            **(facts | changes),  # type: ignore[arg-type]
        )

    def bars(self) -> str:
        barred = self.barring.barred("lahd", self.user, self.clock())
        return "" if barred is None else barred.by

    def faulty(self, fault: str, early: Envelope) -> tuple[Envelope, Session]:
        """Return an act with a fault, and the session in which it comes."""
        now, session = self.clock(), self.session
        good = users_pb2.UserAct(
            nonce=secrets.token_bytes(16),
            agency="lahd",
            user=self.user,
            kind=users_pb2.USER_ACT_KIND_READMISSION,
            given_at=from_instant(now),
            recertified_at=from_instant(now),
        )
        key = self.statement_key("lahd")
        match fault:
            case "not recertified":
                good.ClearField("recertified_at")
            case "recertified before":
                good.recertified_at.CopyFrom(from_instant(NOON))
            case "signed by another agency":
                key = self.statement_key("sheriff")
            case "signed by nobody known":
                key = SigningKey.generate()
            case "another agency's user":
                good.agency = "sheriff"
            case "in another agency's session":
                session = Session(peer="sheriff")
            case "dated in the future":
                good.given_at.CopyFrom(from_instant(now + HOUR))
            case "a nonce too short":
                good.nonce = bytes(8)
            case "a kind that nobody knows":
                good.kind = 77  # type: ignore[assignment]
            case "recertified after it was given":
                good.recertified_at.CopyFrom(from_instant(now + timedelta(seconds=1)))
        act = seal(good, key)
        if fault == "given before the suspension":
            act = early
        if fault == "changed after signing":
            act.payload = act.payload.replace(b"lahd", b"LAHD")
        if fault == "a notice in its place":
            (act,) = self.session.notices()
        return act, session

    async def give(self, *acts: Envelope, session: Session | None = None) -> None:
        self.people.acts(session or self.session, acts)
        await self.beside.settled()


@pytest.fixture(scope="module")
def law(tmp_path_factory: pytest.TempPathFactory) -> PolicyBundle:
    """LAPD's bundle, with the table."""
    folder = tmp_path_factory.mktemp("law") / "lapd"
    shutil.copytree(shipped("lapd"), folder)
    manifest = folder / "bundle.toml"
    manifest.write_text(manifest.read_text() + TABLE)
    return PolicyBundle.load(folder)


@pytest.fixture
def desk(provider_federation: FederationOnDisk, tmp_path: Path, law: PolicyBundle) -> Iterator[Desk]:
    desk = Desk(provider_federation, tmp_path, law)
    yield desk
    desk.threads.shutdown()


def refused_by(reply: Reply) -> list[str]:
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    return [rule.policy_id for rule in detail_of(reply).rules]


async def test_third_refusal_within_a_day_suspends(desk: Desk) -> None:
    """The count is reached: suspended, logged, the agency told; what is asked then is refused by Q8."""
    for _ in range(2):
        assert refused_by(await desk.asked(bad=True)) == ["lapd.good-standing"]
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED
    assert refused_by(await desk.asked(bad=True)) == ["lapd.good-standing"]
    reply = await desk.asked()
    assert refused_by(reply) == ["suspension"]
    assert list(detail_of(reply).rules[0].rules) == ["Q8"]
    reason = detail_of(reply).public_reason
    assert "3 refusals" in reason and "signed act of your agency after recertification" in reason
    (entry,) = [entry for entry in desk.log.entries if entry.kind == "user_suspended"]
    assert entry.private == {"user": desk.user} and desk.user not in str(dict(entry.public))


async def test_suspension_is_logged_before_the_refusal_leaves(desk: Desk) -> None:
    """Decision, suspension, release, in this order; the notice names the exchanges that were refused (L1)."""
    for _ in range(3):
        await desk.asked(bad=True)
    (envelope,) = desk.session.notices()
    notice = users_pb2.SuspensionNotice.FromString(envelope.payload)
    logged = [entry.exchange for entry in desk.log.entries if entry.kind == "decided"]
    assert list(notice.exchange_ids) == logged
    kinds = desk.log.kinds()
    at = kinds.index("user_suspended")
    assert kinds[at - 1] == "decided" and kinds[at + 1] == "released"


async def test_agency_is_told_by_a_signed_notice(desk: Desk) -> None:
    """The notice names the user, the exchanges and how access returns, and the provider signed it."""
    await desk.suspend()
    (envelope,) = desk.session.notices()
    member = desk.federation.member("lapd")
    notice = verify_suspension(envelope, member=member, agency="lahd", now=desk.clock())
    assert (notice.user, notice.returns, notice.refusals) == (desk.user, "recertification", 3)
    assert len(set(notice.exchange_ids)) == 3 and notice.ends_at is None


async def test_notice_comes_again_until_it_is_noted(desk: Desk) -> None:
    """An agency that is away is told when it opens a session, also after a restart; noted, never again."""
    desk.session.is_open = False
    await desk.suspend()
    assert desk.session.sent == []
    desk.build()
    again = Session()
    desk.people.sessions = {"lahd": again}
    desk.people.opened(again)
    (envelope,) = again.notices()
    other = Session(peer="sheriff")
    desk.people.noted(other, [digest(envelope.payload)])
    await desk.beside.settled()
    desk.people.opened(again)
    assert len(again.notices()) == 2, "another agency can't note it"
    desk.people.noted(again, [digest(envelope.payload)])
    await desk.beside.settled()
    desk.build()
    desk.people.sessions = {"lahd": again}
    desk.people.opened(again)
    assert len(again.notices()) == 2


async def test_suspension_survives_a_restart(desk: Desk) -> None:
    """What is counted and who is suspended is on disk (Q8)."""
    await desk.asked(bad=True)
    await desk.asked(bad=True)
    desk.build()
    await desk.asked(bad=True)
    desk.build()
    assert refused_by(await desk.asked()) == ["suspension"]


async def test_refusals_older_than_the_window_do_not_count(desk: Desk) -> None:
    """Two today, one the day before: not three within a day (Q8)."""
    await desk.asked(bad=True)
    desk.clock.forward(24 * 3600)
    await desk.asked(bad=True)
    await desk.asked(bad=True)
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED


async def test_refusals_for_what_was_asked_do_not_count(desk: Desk) -> None:
    """A purpose that isn't granted is no want of authorization of the person (A3, Q8)."""
    for _ in range(5):
        query = desk.query(reason=common_pb2.REASON_CODE_CIVIL_IMMIGRATION)
        assert (await desk.reply(desk.ask(query))).kind == common_pb2.OUTCOME_KIND_REFUSED
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED


async def test_one_users_refusals_suspend_nobody_else(desk: Desk) -> None:
    """Neither a colleague nor the same name at another agency is suspended (Q8)."""
    await desk.suspend()
    now = desk.clock()
    assert desk.barring.barred("lahd", "somebody.else", now) is None
    assert desk.barring.barred("sheriff", desk.user, now) is None
    assert (await desk.asked(peer="sheriff")).kind == common_pb2.OUTCOME_KIND_RESPONDED


async def test_bundle_without_a_table_suspends_nobody(bench: Bench) -> None:
    """Count, window and length are the policy's to set (A1, Q8)."""
    for _ in range(8):
        jwt = bench.made.assertion("lahd", bench.clock(), good_standing=False)
        await bench.reply(bench.ask(bench.query(assertion=jwt)))
    assert (await bench.reply()).kind == common_pb2.OUTCOME_KIND_RESPONDED


async def test_tables_name_nobody(desk: Desk) -> None:
    """What counts and suspends stands under a keyed hash; only an unnoted notice names its user (L1)."""
    await desk.suspend()
    await desk.give(desk.act(terminates=True))
    desk.people.noted(desk.session, [digest(each.payload) for each in desk.session.notices()])
    await desk.beside.settled()
    with sqlite3.connect(desk.folder / "state.db") as connection:
        dump = "\n".join(connection.iterdump())
    assert "suspended_people" in dump and desk.user not in dump
    assert desk.user.encode().hex() not in dump.lower()


async def test_disk_that_fails_lets_no_refusal_go_uncounted(desk: Desk) -> None:
    """State that can't be written: AUDIT_UNAVAILABLE, and the refusal counts all the same (Q8)."""
    await desk.asked(bad=True)
    await desk.asked(bad=True)
    desk.log.unwritable = frozenset({"user_suspended"})
    reply = await desk.asked(bad=True)
    assert reply.kind == common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE
    desk.log.unwritable = frozenset()
    desk.build()
    await desk.people.take_up()
    assert "user_suspended" in desk.log.kinds(), "what a crash kept out of the log is logged at the start"
    assert refused_by(await desk.asked()) == ["suspension"]


async def test_suspension_is_logged_though_its_exchange_was_cancelled(desk: Desk) -> None:
    """Cancelled while the suspension is being logged: it is logged all the same, and the agency told (L1)."""
    for _ in range(2):
        await desk.asked(bad=True)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def append(entry: Entry) -> None:
        reached.set()
        await go_on.wait()
        await desk.log.append(entry)

    last = desk.people.refused("lahd", desk.user, bytes(16), bundle=desk.bundle, append=append)
    task = asyncio.ensure_future(last)
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    desk.people.tick()
    go_on.set()
    await desk.beside.settled()
    assert desk.log.kinds().count("user_suspended") == 1
    assert len(desk.session.notices()) == 1


async def test_who_cancels_while_the_refusal_is_logged_is_counted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going away at the right moment makes no refusal uncounted (Q8)."""
    honest, reached = desk.log.append, asyncio.Event()

    async def slow(*entries: Entry) -> object:
        reached.set()
        await asyncio.sleep(3600)
        return await honest(*entries)

    for _ in range(2):
        await desk.asked(bad=True)
    monkeypatch.setattr(desk.log, "append", slow)
    task = asyncio.create_task(desk.asked(bad=True))
    await reached.wait()
    monkeypatch.setattr(desk.log, "append", honest)
    task.cancel()
    await asyncio.wait([task])
    await desk.beside.settled()
    assert desk.bars() == "suspension" and "user_suspended" in desk.log.kinds()


async def test_suspension_that_was_not_logged_is_logged_without_a_restart(desk: Desk) -> None:
    """A log that takes nothing for a while: at the next tick, or the next session, it is logged once (L1)."""
    desk.log.unwritable = frozenset({"user_suspended"})
    for _ in range(3):
        await desk.asked(bad=True)
    desk.people.tick()
    await desk.beside.settled()
    desk.log.unwritable = frozenset()
    assert desk.session.notices() == []
    desk.people.opened(desk.session)
    desk.people.tick()
    await desk.beside.settled()
    desk.people.tick()
    await desk.beside.settled()
    assert desk.log.kinds().count("user_suspended") == 1
    assert len(desk.session.notices()) == 1


# -- how access returns -------------------------------------------------------------------------


async def test_access_returns_by_the_agencys_act_after_recertification(desk: Desk) -> None:
    """Signed by the agency, recertified after the suspension: logged, noted, and the person may ask (Q8)."""
    await desk.suspend()
    desk.clock.forward(7200)
    act = desk.act(recertified_at=desk.clock() - HOUR)
    await desk.give(act)
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED
    assert desk.session.noted() == [digest(act.payload)]
    (entry,) = [entry for entry in desk.log.entries if entry.kind == "user_readmitted"]
    assert entry.public["suspension_ended"] is True and desk.user not in str(dict(entry.public))
    desk.build()
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED


async def test_three_more_refusals_suspend_again(desk: Desk) -> None:
    """Refusals from before count no more; new ones do, and the old act ends no new suspension (Q8)."""
    await desk.suspend()
    desk.clock.forward(60)
    act = desk.act(recertified_at=desk.clock())
    await desk.give(act)
    desk.clock.forward(60)
    await desk.asked(bad=True)
    await desk.asked(bad=True)
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED
    await desk.asked(bad=True)
    await desk.give(act)
    assert refused_by(await desk.asked()) == ["suspension"]


FAULTS = (
    "not recertified",
    "recertified before",
    "signed by another agency",
    "signed by nobody known",
    "another agency's user",
    "in another agency's session",
    "dated in the future",
    "given before the suspension",
    "changed after signing",
    "a nonce too short",
    "a kind that nobody knows",
    "recertified after it was given",
    "a notice in its place",
)


async def test_act_that_ends_no_suspension(desk: Desk) -> None:
    """Forged, stale, another agency's, or without recertification: the person stays suspended (Q8)."""
    early = desk.act(recertified_at=desk.clock())
    desk.clock.forward(60)
    await desk.suspend()
    for fault in FAULTS:
        desk.clock.forward(60)
        act, session = desk.faulty(fault, early)
        await desk.give(act, session=session)
        assert desk.bars() == "suspension", fault
    desk.clock.forward(1)
    await desk.give(desk.act(recertified_at=desk.clock()))
    assert desk.bars() == "", "an honest act still ends it"
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED


@pytest.mark.parametrize(
    ("returns", "acts", "hours", "may_ask"),
    [
        (Returns.LENGTH, False, 1, False),
        (Returns.LENGTH, False, 2, True),
        (Returns.LENGTH, True, 1, False),
        (Returns.EITHER, True, 1, True),
        (Returns.EITHER, False, 2, True),
        (Returns.BOTH, True, 1, False),
        (Returns.BOTH, False, 3, False),
        (Returns.BOTH, True, 2, True),
        (Returns.RECERTIFICATION, False, 10_000, False),
    ],
)
async def test_access_returns_as_the_policy_says(
    tmp_path: Path, returns: Returns, acts: bool, hours: int, may_ask: bool
) -> None:
    """By act, by length, by either or by both, across a restart (Q8)."""
    state = open_state(tmp_path / "state.db")
    terms = SuspensionTerms(
        refusals=2,
        window=24 * HOUR,
        returns=returns,
        length=None if returns is Returns.RECERTIFICATION else 2 * HOUR,
    )
    barring = Barring(state)

    def sign(suspension: Suspension, exchanges: tuple[bytes, ...]) -> Notice:
        return Notice(digest=bytes(32), agency="lahd", envelope=b"")

    for _ in range(2):
        await barring.refused("lahd", "x", bytes(16), terms, NOON, sign)
    assert barring.barred("lahd", "x", NOON) is not None
    if acts:
        later = NOON + timedelta(minutes=1)
        act = UserAct(
            agency="lahd",
            user="x",
            terminates=False,
            given_at=later,
            recertified_at=later,
            digest=bytes(32),
            envelope=Envelope(),
        )
        await barring.keep_act(act)
    assert (Barring(state).barred("lahd", "x", NOON + hours * HOUR) is None) is may_ask


async def test_older_act_does_not_overwrite_the_newer_one_that_is_being_kept(desk: Desk) -> None:
    """A readmission is being written as an older termination comes: it holds after a restart too (Q8)."""
    await desk.suspend()
    older = desk.act(terminates=True)
    desk.clock.forward(60)
    newer = desk.act(recertified_at=desk.clock())
    desk.people.acts(desk.session, [newer])
    await desk.give(older)
    assert desk.bars() == ""
    assert "user_terminated" not in desk.log.kinds()
    assert desk.session.noted() == [digest(newer.payload)]
    desk.build()
    assert desk.bars() == ""


# -- what agencies decide -----------------------------------------------------------------------


async def test_terminated_user_is_refused_from_the_moment_it_is_read(desk: Desk) -> None:
    """Before it is on disk, after it, and after a restart: refused by Q8, logged, noted once."""
    act = desk.act(terminates=True)
    desk.people.acts(desk.session, [act])
    assert desk.barring.barred("lahd", desk.user, desk.clock()) is not None
    await desk.beside.settled()
    assert refused_by(await desk.asked()) == ["termination"]
    desk.build()
    assert refused_by(await desk.asked()) == ["termination"]
    desk.people.sessions = {"lahd": desk.session}
    await desk.give(act, act)
    assert desk.log.kinds().count("user_terminated") == 1
    assert desk.session.noted() == [digest(act.payload)]


async def test_termination_takes_effect_though_nothing_can_be_logged(desk: Desk) -> None:
    """What bars fails closed: not noted, but in force; sent again, it is logged and noted (Q8)."""
    act = desk.act(terminates=True)
    desk.log.unwritable = frozenset({"user_terminated"})
    await desk.give(act)
    assert desk.session.noted() == []
    assert refused_by(await desk.asked()) == ["termination"]
    desk.log.unwritable = frozenset()
    await desk.give(act)
    assert desk.session.noted() == [digest(act.payload)]
    assert desk.log.kinds().count("user_terminated") == 1


async def test_only_a_newer_act_readmits(desk: Desk) -> None:
    """A readmission from before the termination is nothing, and the termination sent again neither (Q8)."""
    old = desk.act()
    desk.clock.forward(60)
    termination = desk.act(terminates=True)
    await desk.give(termination)
    await desk.give(old)
    assert refused_by(await desk.asked()) == ["termination"]
    desk.clock.forward(60)
    await desk.give(desk.act())
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED
    await desk.give(termination)
    desk.build()
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED


async def test_question_behind_a_readmission_waits_until_that_is_in_force(desk: Desk) -> None:
    """What the agency sent before its question holds for it, though it is still being written (Q8)."""
    await desk.give(desk.act(terminates=True))
    desk.clock.forward(60)
    desk.people.acts(desk.session, [desk.act()])
    assert desk.bars() == "termination"
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED
    desk.clock.forward(60)
    desk.log.unwritable = frozenset({"user_readmitted"})
    desk.people.acts(desk.session, [desk.act()])
    assert (await desk.asked()).kind == common_pb2.OUTCOME_KIND_RESPONDED, "it waits for no disk that fails"


async def test_readmission_after_a_termination_ends_no_suspension(desk: Desk) -> None:
    """To be employed again is not to be certified again (Q8)."""
    await desk.suspend()
    desk.clock.forward(60)
    await desk.give(desk.act(terminates=True))
    desk.clock.forward(60)
    await desk.give(desk.act())
    assert refused_by(await desk.asked()) == ["suspension"]


async def test_attempts_of_a_barred_user_count_nothing(desk: Desk) -> None:
    """Who is suspended is told so each time, and not suspended anew (Q8)."""
    await desk.suspend()
    for _ in range(4):
        assert refused_by(await desk.asked(bad=True)) == ["suspension"]
    assert desk.log.kinds().count("user_suspended") == 1
    assert len(desk.session.notices()) == 1


async def test_decision_about_a_barred_user_is_the_same_when_made_again(desk: Desk) -> None:
    """The facts that are committed to say that the user was barred, and name nobody (L1)."""
    await desk.give(desk.act(terminates=True))
    await desk.asked()
    facts = next(entry for entry in desk.log.entries if entry.kind == "decided").private["facts"]
    assert '"barred":["termination"' in facts and desk.user not in facts


async def test_notice_is_signed_by_the_provider_alone(desk: Desk) -> None:
    """Another's key, another agency's user, another provider's name: not accepted by the agency (Q8)."""
    await desk.suspend()
    (envelope,) = desk.session.notices()
    keys = desk.federation.member("lapd").key_set.statement_keys_at(NOON)
    notice = open_envelope(envelope, users_pb2.SuspensionNotice, keys).message
    assert notice.provider == "lapd" and len(notice.nonce) == 16
    assert notice.policy_digest == desk.bundle.digest
