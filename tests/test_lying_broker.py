"""The lying broker: each lie is detected, and none yields a read that its provider did not release.

What must hold of every answer, whoever lies, the simulator checks itself: what is shown of a provider is,
page for page, what that provider's path decided, logged and signed for, and nothing else; everyone who was
asked is counted once. All tests share one federation: that it answers in full after each of them shows that
it recovers from every lie by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from comity.audit.trust import Trust, make_trust
from comity.audit.verify import find_logs, verify_folders
from comity.certs.authority import suspend
from comity.certs.keys import SigningKey
from comity.gateway.errors import NobodyAnswered, RosterOutOfDate
from comity.links.errors import SessionFailed
from comity.v1 import account_pb2, common_pb2, link_pb2
from tests.simulator import FederationSimulator, simulate
from tests.support.federation import FederationOnDisk
from tests.support.lies import Attack, LyingBroker

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHERS = ("cbp", "dea", "lahd")
ORDINARY = ("shutdown", "renewal", "idle")
"""Why sessions end when nobody lies."""

Lie = Callable[[LyingBroker], Attack]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    laid_out: FederationOnDisk, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FederationSimulator]:
    root = tmp_path_factory.mktemp("lying-broker") / "f"
    shutil.copytree(laid_out.root, root)
    async with simulate(FederationOnDisk(root=root, spec=laid_out.spec)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def federation(running: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    """The shared federation; after the test it is honest again, and must answer in full by itself."""
    yield running
    running.broker.is_honest_again()
    await running.passes(seconds=5)
    assert await running.recovers()


def sessions_that_broke(federation: FederationSimulator, since: dict[str, int]) -> list[str]:
    """Which ends logged that a session ended, or never began, for no ordinary reason."""
    return [
        f"{name} {entry.kind} {entry.public['reason']}"
        for name, journal in federation.journals.items()
        for entry in journal.entries[since[name] :]
        if entry.kind in ("session_closed", "session_refused") and entry.public["reason"] not in ORDINARY
    ]


RECORDS: dict[str, Callable[..., Attack]] = {
    "flips a bit": LyingBroker.flips_a_byte,
    "drops and numbers anew": LyingBroker.drops_a_record,
    "drops and leaves a gap": lambda broker, **where: broker.drops_a_record(hides=False, **where),
    "repeats and numbers anew": LyingBroker.repeats_a_record,
    "repeats": lambda broker, **where: broker.repeats_a_record(hides=False, **where),
    "splices in another session's": LyingBroker.splices_a_record,
    "injects garbage": LyingBroker.injects,
    "injects a close_notify": lambda broker, **where: broker.injects(
        b"\x15\x03\x03\x00\x02\x01\x00", **where
    ),
    "truncates": LyingBroker.truncates_a_record,
}


@pytest.mark.parametrize("toward", ["gateway", "adapter"])
@pytest.mark.parametrize("lie", RECORDS)
async def test_record_that_is_not_the_senders_next_ends_its_session_alone(
    federation: FederationSimulator, lie: str, toward: str
) -> None:
    """The others answer in full; of that provider nothing is shown that didn't come whole before the lie."""
    before = federation.positions()
    attack = RECORDS[lie](federation.broker, of="lapd", toward=toward)
    answer = await federation.search()
    assert attack.happened
    came_whole = {"RESPONDED"} if toward == "gateway" and lie.startswith(("repeats", "injects")) else set()
    assert answer.outcomes["lapd"].kind in {"SESSION_FAILED", "TIMED_OUT"} | came_whole
    assert all(answer.kinds[name] == "RESPONDED" for name in OTHERS)
    await federation.search(of=["lapd"])
    assert sessions_that_broke(federation, before)


@pytest.mark.parametrize("toward", ["gateway", "adapter"])
async def test_reordered_records_end_the_session(federation: FederationSimulator, toward: str) -> None:
    """A record that comes after the one that follows it is no record at all."""
    before = federation.positions()
    attack = federation.broker.reorders_records(of="lapd", toward=toward)
    first = await federation.search(of=["lapd"])
    second = await federation.search(of=["lapd"])
    assert attack.happened == 2
    assert "SESSION_FAILED" in (first.kinds["lapd"], second.kinds["lapd"])
    assert sessions_that_broke(federation, before)


@pytest.mark.parametrize("toward", ["gateway", "adapter"])
async def test_held_records_cost_one_deadline_and_are_named(
    federation: FederationSimulator, toward: str
) -> None:
    """A provider whose records are held is timed out; where its receipt was stamped, that is a finding."""
    await federation.search()  # the sessions stand: what is held is a question or an answer, no handshake
    federation.broker.holds_records(of="lapd", toward=toward)
    answer = await federation.search()
    assert answer.outcomes["lapd"].kind == "TIMED_OUT"
    assert answer.seconds < 5
    assert all(answer.kinds[name] == "RESPONDED" for name in OTHERS)
    stamped = [f for f in answer.findings if f.startswith("lapd: its receipt was stamped")]
    assert len(stamped) == (toward == "gateway")


async def test_records_of_two_sessions_that_change_places_end_both(federation: FederationSimulator) -> None:
    """What LAPD's session carries is never taken for LAHD's."""
    attack = federation.broker.crosses_sessions("lapd", "lahd")
    answer = await federation.search()
    assert attack.happened
    assert answer.kinds == {
        "cbp": "RESPONDED",
        "dea": "RESPONDED",
        "lahd": "SESSION_FAILED",
        "lapd": "SESSION_FAILED",
    }


async def test_gateway_that_is_connected_to_another_provider_asks_it_nothing(
    federation: FederationSimulator,
) -> None:
    """A session for LAPD that leads to DEA's adapter ends in the handshake; DEA gets no other question."""
    federation.forgets_sessions()
    asked = federation["dea"].asked
    attack = federation.broker.connects_to("dea", instead_of="lapd")
    answer = await federation.search()
    assert attack.happened
    assert answer.outcomes["lapd"].kind == "SESSION_FAILED"
    assert federation["dea"].asked == asked + 1


@pytest.mark.parametrize("toward", ["gateway", "adapter"])
async def test_session_whose_ends_are_told_different_lanes_does_not_begin(
    federation: FederationSimulator, toward: str
) -> None:
    """An end that is told of another lane than it speaks refuses; nothing is asked."""
    federation.forgets_sessions()
    attack = federation.broker.opens_another_lane(toward=toward)
    answer = await federation.search()
    assert attack.happened
    assert set(answer.kinds.values()) == {"SESSION_FAILED"}


LEAVES: dict[str, Callable[[FederationOnDisk], Path]] = {
    "its own": lambda made: made.broker_home,
    "another provider's": lambda made: made.adapter_home("dea"),
    "another requester's": lambda made: made.gateway_home("lahd"),
    "the provider's own gateway's": lambda made: made.gateway_home("lapd"),
}


@pytest.mark.parametrize("leaf", LEAVES)
async def test_broker_that_answers_itself_is_told_nothing(federation: FederationSimulator, leaf: str) -> None:
    """The broker ends the session for LAPD here, with a leaf that it may have: no question goes into it."""
    federation.forgets_sessions()
    asked = federation["lapd"].asked
    attack = federation.broker.answers_itself("lapd", with_leaf_of=LEAVES[leaf](federation.made))
    answer = await federation.search()
    assert attack.happened and attack.got == []
    assert answer.outcomes["lapd"].kind == "SESSION_FAILED"
    assert federation["lapd"].asked == asked


@pytest.mark.parametrize("leaf", LEAVES)
async def test_broker_that_asks_itself_gets_no_session(federation: FederationSimulator, leaf: str) -> None:
    """Whoever says that it is the sheriff's gateway, without the sheriff's leaf, is refused, and logged."""
    before, asked = federation.positions(), federation["lapd"].asked
    with pytest.raises(SessionFailed):
        await federation.broker.asks_itself(
            "lapd", in_the_name_of="sheriff", with_leaf_of=LEAVES[leaf](federation.made)
        )
    await federation.passes(seconds=0.1)
    assert any("lapd/adapter session_refused" in line for line in sessions_that_broke(federation, before))
    assert federation["lapd"].asked == asked


# -- what is in clear --------------------------------------------------------------------------------


def _to_lahd(announcement: link_pb2.Announcement) -> None:
    announcement.requester = "lahd"


def _other_digest(stamp: account_pb2.Stamp) -> None:
    stamp.receipt_digest = b"d" * 32


def _ceiling(delivery: link_pb2.StampDelivery) -> None:
    delivery.stamp.ceiling_marking = b"anything goes"


def _of(account: account_pb2.Account, provider: str) -> account_pb2.AccountEntry:
    return next(entry for entry in account.entries if entry.provider == provider)


def _bad_receipt(account: account_pb2.Account) -> None:
    entry = _of(account, "lapd")
    entry.kind = common_pb2.OUTCOME_KIND_BAD_RECEIPT
    entry.ClearField("stamp")


def _unstamped(account: account_pb2.Account) -> None:
    _of(account, "lapd").ClearField("stamp")


def _refused(account: account_pb2.Account) -> None:
    _of(account, "lapd").kind = common_pb2.OUTCOME_KIND_REFUSED


def _without(account: account_pb2.Account) -> None:
    account.entries.remove(_of(account, "lapd"))


def _twice(account: account_pb2.Account) -> None:
    account.entries.append(_of(account, "lapd"))


def _exchange(account: account_pb2.Account) -> None:
    account.exchange_id = b"x" * 16


def _order(account: account_pb2.Account) -> None:
    account.order_digest = b"o" * 32


def _requester(account: account_pb2.Account) -> None:
    account.requester = "lahd"


CLEAR: dict[str, tuple[Lie, str, str]] = {
    "drops the order": (lambda b: b.drops("order"), "MALFORMED", "gave no account"),
    "drops an announcement": (
        lambda b: b.drops("announcement", of="lapd"),
        "MALFORMED",
        "lapd: the broker attests `timed_out`",
    ),
    "announces too late": (
        lambda b: b.delays("announcement", 3, of="lapd"),
        "MALFORMED",
        "lapd: the broker attests `timed_out`",
    ),
    "announces another requester": (
        lambda b: b.forges("announcement", _to_lahd, of="lapd"),
        "MALFORMED",
        "lapd: the broker attests `timed_out`",
    ),
    "drops a receipt": (
        lambda b: b.drops("receipt", of="lapd"),
        "RESPONDED",
        "lapd: the broker attests `timed_out`",
    ),
    "delays a receipt": (
        lambda b: b.delays("receipt", 5, of="lapd"),
        "RESPONDED",
        "lapd: the broker attests `timed_out`",
    ),
    "replays a receipt": (
        lambda b: b.replays("receipt", of="lapd", anew=True),
        "RESPONDED",
        "lapd: the broker attests `bad_receipt`",
    ),
    "changes a receipt": (
        lambda b: b.forges("receipt", lambda r: r.receipt.ClearField("signatures"), of="lapd"),
        "RESPONDED",
        "lapd: the broker attests `bad_receipt`",
    ),
    "swaps two receipts": (
        lambda b: b.swaps_receipts("lapd", "lahd"),
        "RESPONDED",
        "lapd: the broker attests `bad_receipt`",
    ),
    "stamps another receipt": (
        lambda b: b.forges("stamp", lambda s: _other_digest(s.stamp), of="lapd"),
        "RESPONDED",
        "lapd: the account does not bind the stamp",
    ),
    "stamps another ceiling": (
        lambda b: b.forges("stamp", _ceiling, of="lapd"),
        "RESPONDED",
        "lapd: the broker's stamp has another ceiling",
    ),
    "drops the account": (lambda b: b.drops("account"), "RESPONDED", "broker: gave no account"),
    "delays the account": (lambda b: b.delays("account", 9), "RESPONDED", "broker: gave no account"),
    "replays an account": (
        lambda b: b.replays("account", anew=True),
        "RESPONDED",
        "broker: account: names another exchange",
    ),
    "signs with another key": (
        lambda b: b.forges_account(lambda account: None, key=SigningKey.generate()),
        "RESPONDED",
        "broker: account: is not signed by the operator",
    ),
    "leaves a provider out": (
        lambda b: b.forges_account(_without),
        "RESPONDED",
        "broker: account: does not name every provider",
    ),
    "names a provider twice": (
        lambda b: b.forges_account(_twice),
        "RESPONDED",
        "broker: account: does not name every provider",
    ),
    "accounts for another exchange": (
        lambda b: b.forges_account(_exchange),
        "RESPONDED",
        "broker: account: names another exchange",
    ),
    "accounts for another order": (
        lambda b: b.forges_account(_order),
        "RESPONDED",
        "broker: account: tells of another order",
    ),
    "accounts to another requester": (
        lambda b: b.forges_account(_requester),
        "RESPONDED",
        "broker: account: names another requester",
    ),
    "binds another stamp": (
        lambda b: b.forges_account(lambda a: _other_digest(_of(a, "lapd").stamp)),
        "RESPONDED",
        "lapd: the broker stamped another receipt",
    ),
    "tells another outcome": (
        lambda b: b.forges_account(_refused),
        "RESPONDED",
        "lapd: the account's kind is not the receipt's",
    ),
    "tells a provider's outcome as its own": (
        lambda b: b.forges_account(_unstamped),
        "RESPONDED",
        "broker: account: tells an outcome that is not the broker's",
    ),
    "calls a good receipt bad": (
        lambda b: b.forges_account(_bad_receipt),
        "RESPONDED",
        "lapd: the broker attests `bad_receipt`",
    ),
    "signs two accounts": (
        lambda b: b.signs_two_accounts(_bad_receipt),
        "RESPONDED",
        "broker: signed two different accounts",
    ),
    "says at once that it timed out": (
        lambda b: b.attests({"lapd": "TIMED_OUT"}),
        "RESPONDED",
        "lapd: the broker attests `timed_out`",
    ),
    "says at once that nobody is there": (
        lambda b: b.attests(dict.fromkeys(("cbp", "dea", "lahd", "lapd"), "UNREACHABLE")),
        "RESPONDED",
        "lapd: the broker attests `unreachable`",
    ),
    "says at once that the asker cancelled": (
        lambda b: b.attests({"lapd": "CANCELLED"}),
        "RESPONDED",
        "lapd: the broker attests `cancelled`",
    ),
    "stamps a receipt that nobody gave": (
        lambda b: b.attests({"lapd": "RESPONDED"}, stamps=True),
        "RESPONDED",
        "lapd: the broker stamped another receipt",
    ),
    "tells a provider that the asker has gone": (lambda b: b.cancels(of="lapd"), "TIMED_OUT", ""),
}


@pytest.mark.parametrize("lie", CLEAR)
async def test_lie_in_clear_is_a_finding_and_takes_no_signed_answer_away(
    federation: FederationSimulator, lie: str
) -> None:
    """What a provider signed stands, is shown and refutes the broker: a finding, in answer and log."""
    await federation.search()
    tell, kind, finding = CLEAR[lie]
    logged = len(federation.journals["sheriff/gateway"].of("contradiction"))
    attack = tell(federation.broker)
    answer = await federation.search()
    assert attack.happened
    assert answer.outcomes["lapd"].kind == kind
    assert not finding or any(line.startswith(finding) or finding in line for line in answer.findings)
    assert (len(federation.journals["sheriff/gateway"].of("contradiction")) > logged) == bool(finding)
    assert answer.seconds < 5


HARMLESS: dict[str, Lie] = {
    "announces twice": lambda b: b.repeats("announcement"),
    "takes receipts twice": lambda b: b.repeats("receipt"),
    "stamps twice": lambda b: b.repeats("stamp"),
    "accounts twice": lambda b: b.repeats("account"),
    "delays announcements a little": lambda b: b.delays("announcement", 1),
    "delays receipts a little": lambda b: b.delays("receipt", 1),
    "delays stamps": lambda b: b.delays("stamp", 2),
    "drops stamps": lambda b: b.drops("stamp"),
    "swaps a stamp's copy of the receipt": lambda b: b.forges("stamp", lambda s: s.ClearField("receipt")),
    "hides who is present": lambda b: b.drops("presence"),
    "drops credit": lambda b: b.drops("session_credit"),
}


@pytest.mark.parametrize("lie", HARMLESS)
async def test_lie_that_changes_nothing_changes_nothing(federation: FederationSimulator, lie: str) -> None:
    """Repeats and short delays are ignored: each provider is asked once, everything is shown once."""
    asked = {name: provider.asked for name, provider in federation.providers.items()}
    HARMLESS[lie](federation.broker)
    answer = await federation.search()
    await federation.passes(seconds=3)
    assert set(answer.kinds.values()) == {"RESPONDED"}
    assert answer.findings == []
    assert {name: provider.asked - asked[name] for name, provider in federation.providers.items()} == (
        dict.fromkeys(asked, 1)
    )


async def test_dropped_stamp_is_logged_as_missing(federation: FederationSimulator) -> None:
    """The result is shown without a stamp, and the gateway's log says that it had none."""
    federation.broker.drops("stamp", of="lapd")
    answer = await federation.search()
    assert answer.outcomes["lapd"].stamp is None and answer.outcomes["lahd"].stamp is not None
    delivered = federation.journals["sheriff/gateway"].of("delivered")[-8:]
    stamped = {
        entry.public["peer"]: entry.public["stamped"]
        for entry in delivered
        if entry.exchange == answer.exchange_id
    }
    assert stamped["lapd"] is False and stamped["lahd"] is True


async def test_order_that_the_broker_repeats_to_itself_is_loud(federation: FederationSimulator) -> None:
    """A second placement is refused as a replay, and the refusal ends the exchange: nobody is asked twice."""
    asked = federation["lapd"].asked
    federation.broker.repeats("order", seconds=0.5)
    answer = await federation.search()
    assert isinstance(answer.error, NobodyAnswered)
    await federation.passes(seconds=3)
    assert federation["lapd"].asked <= asked + 1


async def test_order_that_is_taken_and_denied_is_loud(federation: FederationSimulator) -> None:
    """A rejection ends the exchange with the broker's own words, cut to a line; nothing is shown of it."""
    federation.broker.rejects_orders("no\x1b[2J" + "n" * 1000)
    answer = await federation.search()
    assert isinstance(answer.error, NobodyAnswered)
    assert set(answer.kinds.values()) == {"TIMED_OUT"}
    assert all(
        len(outcome.text) <= 200 and outcome.text.isprintable() for outcome in answer.outcomes.values()
    )


async def test_unreachable_said_of_a_linked_provider_is_refuted_by_its_own_log(
    federation: FederationSimulator,
) -> None:
    """Told the same way in session, announcement and account it can't be told from bad weather at once.

    The evidence is signed by both: the broker's account, and the provider's log of a link that was up.
    """
    await federation.search()
    federation.broker.says_absent("lapd")
    answer = await federation.search()
    assert answer.outcomes["lapd"].kind == "UNREACHABLE"
    assert answer.outcomes["lapd"].attested_by == "BROKER"
    assert all(answer.kinds[name] == "RESPONDED" for name in OTHERS)
    links = federation["lapd"].journal.of("link_opened", "link_closed")
    assert links[-1].kind == "link_opened"
    assert answer.summary is not None
    account = account_pb2.Account.FromString(answer.summary.account.payload)
    assert _of(account, "lapd").kind == common_pb2.OUTCOME_KIND_UNREACHABLE


# -- its log, and the roster -------------------------------------------------------------------------


@pytest.mark.parametrize("lie", ["forks_its_log", "shortens_its_log"])
async def test_rewritten_log_is_caught_by_every_end_that_saw_it(
    federation: FederationSimulator, lie: str
) -> None:
    """Two roots for one size, or fewer entries than before: each logs the contradiction, with the note."""
    ends = [name for name in federation.journals if name != "operator/broker"]
    before = {name: len(federation.journals[name].of("contradiction")) for name in ends}
    getattr(federation.broker, lie)()
    await federation.search()
    await federation.passes(seconds=5)
    for name in ends:
        found = [
            entry
            for entry in federation.journals[name].of("contradiction")[before[name] :]
            if entry.public.get("peer_origin") == "operator.example/broker"
        ]
        assert found, name
        assert "operator.example/broker" in str(found[0].public["note"])
    root = federation.made.root
    reports = verify_folders(find_logs([root]), Trust.parse(make_trust(federation.made.public)))
    accused = {report.origin for report in reports.logs if not report.verified}
    assert accused == {"operator.example/broker"}


async def test_checkpoint_that_the_broker_did_not_sign_is_not_taken(federation: FederationSimulator) -> None:
    """A forged one is told to the operator of the end and never logged as seen."""

    def forged(checkpoint: object) -> None:
        checkpoint.note = checkpoint.note.replace(b"\n\n", b"\nextra\n\n")  # type: ignore[attr-defined]

    federation.broker.forges("checkpoint", forged)
    seen = {name: len(journal.of("checkpoint_seen")) for name, journal in federation.journals.items()}
    del federation.warnings[:]
    await federation.search(of=["lapd"])
    await federation.passes(seconds=3)
    assert any("checkpoint" in line for line in federation.warnings)
    for name in ("sheriff/gateway", "lapd/adapter"):
        notes = federation.journals[name].of("checkpoint_seen")[seen[name] :]
        assert all(entry.public["peer_origin"] != "operator.example/broker" for entry in notes)


async def test_checkpoints_that_are_dropped_are_missing_in_the_logs(federation: FederationSimulator) -> None:
    """Whoever hides its log from the others shows up as the one whose checkpoints nobody has."""
    federation.broker.drops("checkpoint")
    seen = len(federation.journals["sheriff/gateway"].of("checkpoint_seen"))
    await federation.search()
    await federation.passes(seconds=5)
    notes = federation.journals["sheriff/gateway"].of("checkpoint_seen")[seen:]
    origins = {str(entry.public["peer_origin"]) for entry in notes}
    assert origins and "operator.example/broker" not in origins


@pytest.fixture
def suspended(laid_out: FederationOnDisk, tmp_path: Path) -> FederationOnDisk:
    shutil.copytree(laid_out.root, tmp_path / "f")
    return FederationOnDisk(root=tmp_path / "f", spec=laid_out.spec)


@pytest.mark.asyncio(loop_scope="function")
async def test_roster_that_is_rolled_back_brings_no_suspended_member_back(
    suspended: FederationOnDisk, tmp_path: Path
) -> None:
    """Whoever serves the published folder serves the old roster again: every end keeps the newer one."""
    shutil.copytree(suspended.public, tmp_path / "old")
    async with simulate(suspended) as federation:
        assert (await federation.search()).is_whole
        suspend(suspended.root, "dea", federation.clock())
        await federation.passes(seconds=4)
        answer = await federation.search()
        assert "dea" not in answer.outcomes
        shutil.copytree(tmp_path / "old", suspended.public, dirs_exist_ok=True)
        await federation.passes(seconds=4)
        again = await federation.search()
        assert "dea" not in again.outcomes and again.is_whole
        assert any("roster" in line for line in federation.warnings)


@pytest.mark.asyncio(loop_scope="function")
async def test_frozen_roster_is_trusted_no_longer_than_its_time(suspended: FederationOnDisk) -> None:
    """When the authority's timestamp is past, sessions end and no question leaves the house."""
    async with simulate(suspended) as federation:
        assert (await federation.search()).is_whole
        asked = {name: provider.asked for name, provider in federation.providers.items()}
        roster = suspended.federation(federation.clock())
        left = roster.trusted_until - federation.clock() + timedelta(seconds=2)
        federation.clock.jump(left.total_seconds())
        await federation.passes(seconds=2)
        answer = await federation.search()
        assert isinstance(answer.error, RosterOutOfDate)
        assert {name: provider.asked for name, provider in federation.providers.items()} == asked
        for name in federation.providers:
            assert federation[name].journal.of("session_closed")
