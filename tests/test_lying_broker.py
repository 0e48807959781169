"""The lying broker: each lie is detected, and none yields a read that its provider did not release.

What must hold of every answer, whoever lies, the simulator checks itself: what is shown of a provider is,
page for page, what that provider's path decided, logged and signed for, and nothing else; everyone who was
asked is counted once. All tests share one federation: that it answers in full after each of them shows that
it recovers from every lie by itself.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from comity.certs.authority import suspend
from comity.certs.envelope import digest
from comity.gateway.errors import NobodyAnswered, RosterOutOfDate
from comity.gateway.findings import Finding
from comity.gateway.records import contradicted
from comity.links.errors import SessionFailed
from comity.v1 import account_pb2, common_pb2, envelope_pb2, query_pb2, query_service_pb2
from tests.simulator import FederationSimulator, simulate
from tests.support.federation import FederationOnDisk
from tests.support.judging import broken_sessions, is_detected, is_named, require_sound, shows
from tests.support.lie_table import CHECKPOINTS, CLEAR, HARMLESS, LEAVES, RECORDS
from tests.support.lies import Attack

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHERS = ("cbp", "dea", "lahd")
QUIET = 2.0
"""Seconds after an exchange in which ends have told each other of their logs what there was to tell."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    laid_out: FederationOnDisk, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FederationSimulator]:
    root = tmp_path_factory.mktemp("lying-broker") / "f"
    shutil.copytree(laid_out.root, root)
    made = FederationOnDisk(root=root, spec=laid_out.spec)
    async with simulate(made, asking=("sheriff", "lahd")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def federation(running: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    """The shared federation; after the test it is honest again, and must answer in full by itself.

    But for a broker whose log contradicted itself: that one is refused until somebody lifts it.
    """
    yield running
    running.broker.is_honest_again()
    await running.passes(seconds=2)
    await running.pardons()
    assert await running.recovers()


def some(lies: Iterable[str]) -> list[Any]:
    """Return lies of a kind as parameters: every third for the default run, the others for the long one."""
    return [
        lie if number % 3 == 0 else pytest.param(lie, marks=pytest.mark.long)
        for number, lie in enumerate(lies)
    ]


@pytest.mark.parametrize("toward", ["gateway", "adapter"])
@pytest.mark.parametrize("lie", some(RECORDS))
async def test_record_that_is_not_the_senders_next_ends_its_session_alone(
    federation: FederationSimulator, lie: str, toward: str
) -> None:
    """The others answer in full; of that provider nothing is shown that didn't come whole before the lie."""
    await federation.search()  # the sessions stand: what is lied about is no handshake
    await federation.passes(seconds=QUIET)
    before = federation.positions()
    attack = RECORDS[lie](federation.broker, of="lapd", toward=toward)
    answer = await federation.search()
    assert attack.happened
    came_whole = {"RESPONDED"} if toward == "gateway" and lie.startswith(("repeats", "injects")) else set()
    assert answer.outcomes["lapd"].kind in {"SESSION_FAILED", "TIMED_OUT"} | came_whole
    assert all(answer.kinds[name] == "RESPONDED" for name in OTHERS)
    await federation.search(of=["lapd"])
    # a handshake that waits for the rest of its record has ten seconds
    await federation.until(lambda: broken_sessions(federation, before), seconds=60)


@pytest.mark.parametrize("toward", ["gateway", "adapter"])
async def test_reordered_records_end_the_session(federation: FederationSimulator, toward: str) -> None:
    """A record that comes after the one that follows it is no record at all."""
    await federation.search()  # the sessions stand: what is held back is no handshake
    await federation.passes(seconds=QUIET)
    before = federation.positions()
    attack = federation.broker.reorders_records(of="lapd", toward=toward)
    first = await federation.search(of=["lapd"])
    second = await federation.search(of=["lapd"])
    assert attack.happened == 2
    assert "SESSION_FAILED" in (first.kinds["lapd"], second.kinds["lapd"])
    assert broken_sessions(federation, before)


@pytest.mark.parametrize("toward", ["gateway", "adapter"])
async def test_held_records_cost_one_deadline_and_are_named(
    federation: FederationSimulator, toward: str
) -> None:
    """A provider whose records are held is timed out; where its receipt was stamped, that is a finding."""
    await federation.search()  # the sessions stand: what is held is a question or an answer, no handshake
    await federation.passes(seconds=QUIET)
    federation.broker.holds_records(of="lapd", toward=toward)
    answer = await federation.search()
    assert answer.outcomes["lapd"].kind == "TIMED_OUT"
    assert answer.seconds < 5
    assert all(answer.kinds[name] == "RESPONDED" for name in OTHERS)
    stamped = [f for f in answer.findings if f.startswith("lapd: its receipt was stamped")]
    assert len(stamped) == (toward == "gateway")


async def test_records_of_two_sessions_that_change_places_end_both(federation: FederationSimulator) -> None:
    """What LAPD's session carries is never taken for LAHD's."""
    await federation.search()  # the sessions stand: what changes places are answers, no handshakes
    await federation.passes(seconds=QUIET)
    attack = federation.broker.crosses_sessions("lapd", "lahd")
    answer = await federation.search()
    assert attack.happened
    assert answer.kinds == {
        "cbp": "RESPONDED",
        "dea": "RESPONDED",
        "lahd": "SESSION_FAILED",
        "lapd": "SESSION_FAILED",
    }


async def test_records_of_two_requesters_that_change_places_end_both(federation: FederationSimulator) -> None:
    """What the sheriff asks LAPD is never taken for a question of LAHD's: neither is answered."""
    await asyncio.gather(federation.search(of=["lapd"]), federation.search(by="lahd"))  # the sessions stand
    await federation.passes(seconds=QUIET)
    asked = federation["lapd"].asked
    attack = federation.broker.crosses_pairs("lapd")
    one, other = await asyncio.gather(federation.search(of=["lapd"]), federation.search(by="lahd"))
    assert attack.happened
    assert one.kinds["lapd"] == other.kinds["lapd"] == "SESSION_FAILED"
    assert federation["lapd"].asked == asked


@pytest.mark.parametrize("of", ["lapd", "dea"])
async def test_session_that_is_opened_in_another_requesters_name_is_refused(
    federation: FederationSimulator, of: str
) -> None:
    """Told that the sheriff's session is LAHD's, LAPD finds the wrong certificate, and DEA no agreement."""
    federation.forgets_sessions()
    before, asked = federation.positions(), federation[of].asked
    attack = federation.broker.opens_in_another_name("lahd", of=of)
    answer = await federation.search()
    assert attack.happened
    assert answer.outcomes[of].kind == "SESSION_FAILED"
    assert federation[of].asked == asked
    await federation.passes(seconds=0.1)
    assert any(provider == of for _, _, provider in broken_sessions(federation, before))


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
    assert any(
        end == "lapd/adapter" and entry.startswith("session_refused")
        for end, entry, _ in broken_sessions(federation, before)
    )
    assert federation["lapd"].asked == asked


# -- what is in clear --------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", some(CLEAR))
async def test_lie_in_clear_is_a_finding_and_takes_no_signed_answer_away(
    federation: FederationSimulator, lie: str
) -> None:
    """What a provider signed stands and is shown; the answer and the log name who lied, or the pair.

    Who that is stands in the table of lies; what is laid at the broker's door alone, its own signatures show
    to an auditor who has the kept statements and the roster, and believes nobody.
    """
    await federation.search()
    told, of = CLEAR[lie], "lapd"
    before, warned = federation.positions(), len(federation.warnings)
    attack = told.tell(federation, of, random.Random(1))
    assert isinstance(attack, Attack)
    second = (federation.search(by=told.second),) if told.second else ()
    answer, *_ = await asyncio.gather(federation.search(), *second)
    assert attack.happened
    assert answer.outcomes[of].kind == told.outcome
    assert not told.finding or any(line.startswith(told.finding.format(of=of)) for line in answer.findings)
    journal = federation.journals["sheriff/gateway"]
    logged = [entry for entry in journal.of("contradiction") if entry.exchange == answer.exchange_id]
    assert bool(logged) == bool(told.finding)
    assert is_detected(federation, told, [answer], before, warned)
    assert is_named(federation, told, attack, of, [answer], before, warned)
    require_sound(federation, answer)
    assert answer.seconds < 5


@pytest.mark.parametrize("lie", some(HARMLESS))
async def test_lie_that_changes_nothing_changes_nothing(federation: FederationSimulator, lie: str) -> None:
    """Repeats and short delays are ignored: each provider is asked once, everything is shown once."""
    asked = {name: provider.asked for name, provider in federation.providers.items()}
    HARMLESS[lie].tell(federation, "lapd", random.Random(1))
    answer = await federation.search()
    await federation.passes(seconds=3)
    assert set(answer.kinds.values()) == {"RESPONDED"}
    assert answer.findings == []
    assert {name: provider.asked - asked[name] for name, provider in federation.providers.items()} == (
        dict.fromkeys(asked, 1)
    )


async def test_evidence_of_a_finding_is_kept_with_the_log(federation: FederationSimulator) -> None:
    """The statements that a finding rests on lie beside its entry on disk, under the digests it names."""
    CLEAR["signs two accounts"].tell(federation, "lapd", random.Random(1))
    answer = await federation.search()
    assert answer.summary is not None
    [finding] = [one for one in answer.summary.found if list(one.suspects) == ["operator"]]
    assert finding.kind == query_service_pb2.FINDING_KIND_TWO_ACCOUNTS
    kept = federation.journals["sheriff/gateway"].log.openings
    names = {f"evidence:{name.hex()}" for name in finding.evidence}
    await federation.until(lambda: names <= {each.name for each in kept.envelopes(answer.exchange_id)})
    found = {each.name: each.payload for each in kept.envelopes(answer.exchange_id)}
    payloads = [
        envelope_pb2.Envelope.FromString(found[f"evidence:{name.hex()}"]).payload for name in finding.evidence
    ]
    assert [digest(payload) for payload in payloads] == list(finding.evidence)
    assert len(set(payloads)) == 2


async def test_honest_statements_convince_no_auditor_of_anything(federation: FederationSimulator) -> None:
    """The check to which the tests hold attributions says no to the statements of an honest exchange."""
    answer = await federation.search()
    entries = federation.journals["sheriff/gateway"].entries
    of = [entry for entry in entries if entry.exchange == answer.exchange_id]
    kept = {name: data for entry in of for name, data in entry.attachments.items()}
    order = query_pb2.Order.FromString(envelope_pb2.Envelope.FromString(kept["order"]).payload)
    account, receipt = kept["account"], kept["receipt:lapd"]
    assert order.exchange_id == answer.exchange_id
    roster = federation.made.federation(federation.clock())
    for name, statements in {
        "TWO_ACCOUNTS": (account, account),
        "TWO_RECEIPTS": (receipt, receipt),
        "NOT_ITS_WORD": (account,),
        "STAMP_AGAINST_RECEIPT": (account, receipt),
        "TOO_EARLY": (account, kept["order"]),
        "RECEIPT_DENIED": (account, receipt),
    }.items():
        finding = Finding(
            kind=query_service_pb2.FindingKind.Value(f"FINDING_KIND_{name}"),
            text=name,
            suspects=("operator",),
            evidence=tuple(envelope_pb2.Envelope.FromString(data) for data in statements),
        )
        entry = contradicted("sheriff", answer.exchange_id, [finding], federation.clock())
        assert not shows(entry, finding.to_message(), roster), name


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
    told = {entry.provider: entry.kind for entry in account.entries}
    assert told["lapd"] == common_pb2.OUTCOME_KIND_UNREACHABLE


async def test_unreachable_said_of_a_linked_provider_is_refuted_when_they_speak_again(
    federation: FederationSimulator,
) -> None:
    """In the next session the provider says since when its link is up: the gateway logs the contradiction."""
    await federation.passes(seconds=6)  # longer than clocks may differ
    journal = federation.journals["sheriff/gateway"]
    before = len(journal.of("contradiction"))
    federation.broker.says_absent("lapd")
    answer = await federation.search()
    assert answer.kinds["lapd"] == "UNREACHABLE" and len(journal.of("contradiction")) == before
    federation.broker.is_honest_again()
    assert (await federation.search()).is_whole
    await federation.until(lambda: len(journal.of("contradiction")) > before)
    entry = journal.of("contradiction")[-1]
    assert entry.exchange == answer.exchange_id
    assert entry.public["found"] == [
        {
            "kind": "had_a_link",
            "provider": "lapd",
            "suspects": ["operator", "lapd"],
            "evidence": [digest(answer.summary.account.payload).hex()] if answer.summary else [],
        }
    ]


async def test_provider_whose_link_was_lost_is_unreachable_and_nobody_is_called_a_liar(
    federation: FederationSimulator,
) -> None:
    """A link that came up after the order was routed contradicts nothing."""
    await federation.passes(seconds=6)
    journal = federation.journals["sheriff/gateway"]
    before = len(journal.of("contradiction"))
    federation["lapd"].loses_its_link()
    assert (await federation.search()).kinds["lapd"] == "UNREACHABLE"
    await federation.passes(seconds=20)
    assert (await federation.search()).is_whole
    await federation.passes(seconds=1)
    assert len(journal.of("contradiction")) == before


# -- its log, and the roster -------------------------------------------------------------------------


@pytest.mark.parametrize("lie", some(CHECKPOINTS))
async def test_checkpoint_that_is_not_the_brokers_newest_is_told(
    federation: FederationSimulator, lie: str
) -> None:
    """Old, forged, another log's or without proof: an end logs or warns of it; dropped, it is missing."""
    await federation.search(of=["lapd"])
    await federation.passes(seconds=2)
    before, warned, told = federation.positions(), len(federation.warnings), CHECKPOINTS[lie]
    attack = told.tell(federation, "lapd", random.Random(1))
    assert isinstance(attack, Attack)
    answer = await federation.search()
    await federation.passes(seconds=told.waits)
    assert attack.happened and answer.is_whole
    assert is_detected(federation, told, [answer], before, warned)


async def test_checkpoint_that_the_broker_did_not_sign_is_not_taken(federation: FederationSimulator) -> None:
    """A forged one is told to the operator of the end and never logged as seen."""

    def forged(checkpoint: object) -> None:
        checkpoint.note = checkpoint.note.replace(b"\n\n", b"\nextra\n\n")  # type: ignore[attr-defined]

    await federation.passes(seconds=QUIET)  # what was shown before is proven and logged
    federation.broker.forges("checkpoint", forged)
    seen = {name: len(journal.of("checkpoint_seen")) for name, journal in federation.journals.items()}
    size = federation.positions()["operator/broker"]
    del federation.warnings[:]
    await federation.search(of=["lapd"])
    await federation.passes(seconds=3)
    assert any("checkpoint" in line for line in federation.warnings)
    for name in ("sheriff/gateway", "lapd/adapter"):
        notes = federation.journals[name].of("checkpoint_seen")[seen[name] :]
        of_the_broker = [one for one in notes if one.public["peer_origin"] == "operator.example/broker"]
        assert all(int(str(one.public["size"])) <= size for one in of_the_broker)  # signed, and logged late
        assert not any("\nextra\n" in str(one.public["note"]) for one in of_the_broker)


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
