"""The order of things in an exchange: durable before it leaves, durable before it is shown (design 6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from comity.audit.entry import Entry
from comity.audit.errors import LogUnwritable
from comity.audit.log import Promise
from comity.certs.claims import Claims
from comity.certs.keys import SigningKey
from comity.gateway.errors import (
    AuditUnavailable,
    BrokerUnavailable,
    Busy,
    Incomplete,
    NobodyAnswered,
    NobodyToAsk,
    RequestInvalid,
)
from comity.gateway.gateway import Gateway
from comity.gateway.limits import GatewayLimits, Places
from comity.gateway.logons import Logons
from comity.links.errors import SessionFailed
from comity.v1 import audit_pb2, common_pb2, link_pb2, query_pb2, query_service_pb2, session_pb2
from tests.gateway.conftest import NOW, Provider, make_member, make_question
from tests.support import patience

CLAIMS = Claims(
    user="j.ortega",
    agency="sheriff",
    office="",
    duty_station="",
    roles=("investigator",),
    trained_at=NOW,
    rules_accepted_at=NOW,
    rules_digest=bytes(32),
    good_standing=True,
    protections_attested=True,
    issued_at=NOW,
    expires_at=NOW + timedelta(minutes=5),
    jti="1",
)


class World:
    """A gateway between a log, a link and sessions that write down what happens, in order."""

    def __init__(self, *providers: Provider) -> None:
        self.happened: list[str] = []
        self.stops: list[tuple[str, bool]] = []
        self.entries: list[Entry] = []
        self.fails_at = ""
        self.providers = {provider.agency: provider for provider in providers}
        self.absent: set[str] = set()
        self.silent: set[str] = set()
        self.is_up = True
        self.rejects: link_pb2.OrderRejectionReason | None = None
        operator_key = SigningKey.generate()
        world = self

        class Members:
            def __init__(self) -> None:
                self.version = 1
                self.trusted_until = NOW + timedelta(days=1)
                self.own_lists: dict[str, object] = {}
                self.operator = make_member("operator", operator_key, role="broker")
                self.members = {name: provider.member for name, provider in world.providers.items()}
                self.members["sheriff"] = make_member("sheriff", SigningKey.generate(), role="gateway")

            def member(self, agency: str) -> object:
                return self.members[agency]

            def log_of(self, origin: str) -> object:
                return "operator", self.operator.key_set.log_keys[0]

        class Agreements:
            def why_resting(self, **of: object) -> str:
                return ""

            def grant(self, *, provider: str, requester: str, now: datetime) -> object:
                found = world.providers[provider]
                return (found.agreement, found.grant) if found.agency != "stranger" else None

        class Credentials:
            statement = SigningKey.generate()
            chain_der = ()

        self.gateway = Gateway(
            agency="sheriff",
            federation=Members(),  # type: ignore[arg-type]
            agreements=Agreements(),  # type: ignore[arg-type]
            credentials=Credentials(),  # type: ignore[arg-type]
            log=self,  # type: ignore[arg-type]
            clock=self.clock,
            limits=GatewayLimits(max_in_flight=8),
        )
        self.gateway.link = self  # type: ignore[assignment]
        self.gateway.sessions = self  # type: ignore[assignment]
        self.began = asyncio.get_running_loop().time()

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=asyncio.get_running_loop().time() - self.began)

    # the log
    folder = Path("no-log")
    refused: Mapping[str, int] = {}

    async def append(self, *entries: Entry) -> list[Promise]:
        await asyncio.sleep(0.01)  # durable only after a while
        for entry in entries:
            if entry.kind == self.fails_at:
                raise LogUnwritable("the disk is full")
            self.entries.append(entry)
            self.happened.append(f"log {entry.kind}")
        first = len(self.entries) - len(entries)
        return [
            Promise(origin="sheriff.example/gateway", index=first + at, leaf_hash=bytes(32))
            for at in range(len(entries))
        ]

    # the link, and the sessions; one provider a session
    def send(self, *frames: object) -> None:
        for frame in frames:
            assert isinstance(frame, link_pb2.LinkFrame)
            self.happened.append(f"link {frame.WhichOneof('frame')}")
            if frame.WhichOneof("frame") == "order" and self.rejects is not None:
                exchange_id = query_pb2.Order.FromString(frame.order.order.payload).exchange_id
                rejection = link_pb2.OrderRejection(exchange_id=exchange_id, text="no", reason=self.rejects)
                rejected = link_pb2.LinkFrame(order_rejection=rejection)
                asyncio.get_running_loop().call_later(0.05, self.gateway._on_frame, rejected)

    def frames(self, frames: object) -> None: ...

    def unlinked(self, reason: link_pb2.CloseReason, text: str) -> None:
        self.happened.append("sessions unlinked")

    async def session(self, provider: str) -> Line:
        if provider in self.absent:
            raise SessionFailed(provider, link_pb2.CLOSE_REASON_PEER_ABSENT, "absent")
        return Line(self, provider)

    def limit(self, **limits: int) -> None:
        """Have the gateway run with other limits from here on."""
        self.gateway._limits = GatewayLimits(**limits)
        self.gateway._places = Places(self.gateway._limits)

    def brings_page(self, provider: str, exchange_id: bytes, page: bytes) -> None:
        """A page comes through a provider's session."""
        delivery = session_pb2.PageDelivery(exchange_id=exchange_id, page=page)
        line: Any = Line(self, provider)
        self.gateway.on_message(line, session_pb2.SessionMessage(page=delivery))

    async def ask(
        self, *, claims: Claims = CLAIMS, seen: list[str] | None = None, **changes: Any
    ) -> list[query_service_pb2.SearchResponse]:
        """Ask and collect; every message that the caller sees is written down too."""
        answer = []
        async for message in self.gateway.search(make_question(**changes), claims, "jwt"):
            self.happened.append(f"caller {message.WhichOneof('part')}")
            if seen is not None:
                seen.append(str(message.WhichOneof("part")))
            answer.append(message)
        return answer

    def index(self, what: str) -> int:
        return self.happened.index(what)


class Line:
    """A session whose provider answers at once, with the broker's stamp."""

    is_open = True
    opened_at = NOW - timedelta(minutes=1)

    def __init__(self, world: World, peer: str) -> None:
        self.world, self.peer = world, peer

    def send(self, message: session_pb2.SessionMessage) -> None:
        kind = message.WhichOneof("message")
        self.world.happened.append(f"session {kind}")
        if kind == "cancel":
            self.world.stops.append((self.peer, message.cancel.deadline_passed))
        if kind == "ask" and self.peer not in self.world.silent:
            asyncio.get_running_loop().call_soon(self.answer, message.ask)

    def answer(self, ask: session_pb2.Ask) -> None:
        gateway, provider = self.world.gateway, self.world.providers[self.peer]
        running = gateway._running[ask.exchange_id]
        result, pages = provider.answer(running.order)
        gateway.on_message(self, session_pb2.SessionMessage(result=result))  # type: ignore[arg-type]
        for page in pages:
            gateway.on_message(self, session_pb2.SessionMessage(page=page))  # type: ignore[arg-type]


@pytest.fixture
async def world() -> World:
    return World(Provider("lapd"), Provider("lahd"))


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(patience.SECONDS):
        while not holds():
            await asyncio.sleep(0.005)


SHORT = {"timeout": timedelta(seconds=1)}


async def test_asked_is_durable_before_a_frame_leaves(world: World) -> None:
    """Nothing is sent, neither on the link nor in a session, before `asked` is on disk."""
    await world.ask(**SHORT)
    asked = world.index("log asked")
    assert asked < world.index("link order") < world.index("session ask")


async def test_delivered_is_durable_before_the_caller_sees_a_read(world: World) -> None:
    """Each provider's `delivered` is on disk before its outcome or pages are yielded."""
    await world.ask(**SHORT)
    delivered = [n for n, what in enumerate(world.happened) if what == "log delivered"]
    shown = [n for n, what in enumerate(world.happened) if what == "caller outcome"]
    assert len(delivered) == len(shown) == 2
    assert max(delivered) < min(shown) or all(d < s for d, s in zip(delivered, shown, strict=True))


async def test_summary_comes_last_and_accounts_for_everyone(world: World) -> None:
    """First the plan, last the summary with every provider once."""
    answer = await world.ask(**SHORT)
    parts = [message.WhichOneof("part") for message in answer]
    assert parts[0] == "plan" and parts[-1] == "summary"
    assert sorted(item.agency for item in answer[-1].summary.providers) == ["lahd", "lapd"]


async def test_log_that_cannot_write_asked_sends_nothing(world: World) -> None:
    """When `asked` isn't durable, nothing of the question leaves the house."""
    world.fails_at = "asked"
    with pytest.raises(AuditUnavailable):
        await world.ask(**SHORT)
    assert not [what for what in world.happened if what.startswith(("link", "session"))]


async def test_log_that_cannot_write_delivered_shows_nothing(world: World) -> None:
    """When `delivered` isn't durable, the caller sees no outcome and no read; providers are told to stop."""
    world.fails_at = "delivered"
    with pytest.raises(AuditUnavailable):
        await world.ask(**SHORT)
    assert not [what for what in world.happened if what in ("caller outcome", "caller page")]
    assert "link cancel" in world.happened


async def test_content_stands_in_the_log_as_commitments_alone(world: World) -> None:
    """Plate, user, case and reason are private fields of the entries, never public ones (L1)."""
    await world.ask(**SHORT)
    asked = next(entry for entry in world.entries if entry.kind == "asked")
    assert {"plate", "user", "case", "reason", "reason_text", "period"} <= asked.private.keys()
    public = " ".join(str(dict(entry.public)) for entry in world.entries)
    for secret in ("8ABC123", "j.ortega", "26-0417", "burglaries", "CRIMINAL"):
        assert secret not in public


async def test_logon_is_logged_once_before_its_first_query_leaves(world: World) -> None:
    """The first use of a logon is on disk before a frame leaves; its next query is no logon (Q4)."""
    await world.ask(**SHORT)
    assert world.index("log logged_on") < world.index("log asked") < world.index("link order")
    await world.gateway.record_turned_down(CLAIMS, "request_invalid")
    assert world.happened.count("log logged_on") == 1
    logon = next(entry for entry in world.entries if entry.kind == "logged_on")
    assert logon.public["rules"] == bytes(32).hex()


async def test_another_logon_of_the_same_user_is_another_entry(world: World) -> None:
    """Rules accepted anew, or another text of them: a logon of its own (Q4)."""
    later = replace(CLAIMS, rules_accepted_at=NOW + timedelta(seconds=1))
    for claims in (CLAIMS, later, replace(CLAIMS, rules_digest=bytes(range(32))), later):
        await world.gateway.record_turned_down(claims, "request_invalid")
    assert world.happened.count("log logged_on") == 3


async def test_log_that_cannot_write_the_logon_sends_nothing(world: World) -> None:
    """Without the logon's entry nothing leaves, and the next use of the logon writes it (Q4)."""
    world.fails_at = "logged_on"
    with pytest.raises(AuditUnavailable):
        await world.ask(**SHORT)
    assert not [what for what in world.happened if what.startswith(("link", "session"))]
    world.fails_at = ""
    await world.gateway.record_turned_down(CLAIMS, "request_invalid")
    assert world.happened[:2] == ["log logged_on", "log turned_down"]


async def test_nobody_stands_in_the_clear_of_a_logon(world: World) -> None:
    """User, office, station, roles and days are committed to, and never public (L1)."""
    claims = replace(CLAIMS, office="Pier 7", duty_station="Pier 9")
    await world.gateway.record_turned_down(claims, "request_invalid")
    logon = next(entry for entry in world.entries if entry.kind == "logged_on")
    assert logon.private["user"] == "j.ortega" and logon.private["duty_station"] == "Pier 9"
    for secret in ("j.ortega", "Pier", "investigator"):
        assert secret not in str(dict(logon.public)) + repr(logon)


def test_logons_that_ended_are_forgotten() -> None:
    """What can't be used any more isn't remembered: memory stays bounded, and nothing is lost by it (Q4)."""
    logons = Logons()
    for hours in range(100):
        now = NOW + timedelta(hours=hours)
        logons.logged(replace(CLAIMS, rules_accepted_at=now), now)
    assert len(logons) <= 26
    assert logons.entries("sheriff", CLAIMS, NOW + timedelta(hours=99))


async def test_nobody_to_ask_is_logged_and_an_error() -> None:
    """Without an agreement nothing leaves, and the log says who was turned down (A2, D4)."""
    world = World(Provider("stranger"))
    with pytest.raises(NobodyToAsk):
        await world.ask(**SHORT)
    assert [what for what in world.happened if what.startswith("log")] == ["log logged_on", "log turned_down"]
    assert not [what for what in world.happened if what.startswith(("link", "session"))]


async def test_without_a_link_nothing_is_asked(world: World) -> None:
    """No link to the broker: the caller learns it at once."""
    world.is_up = False
    with pytest.raises(BrokerUnavailable):
        await world.ask(**SHORT)
    assert world.happened == []


async def test_nobody_answered_is_an_error_after_the_summary(world: World) -> None:
    """Silence of all is never OK and empty."""
    world.silent = {"lapd", "lahd"}
    seen: list[str] = []
    with pytest.raises(NobodyAnswered):
        async for message in world.gateway.search(make_question(**SHORT), CLAIMS, "jwt"):
            seen.append(str(message.WhichOneof("part")))
    assert seen[-1] == "summary" and seen.count("outcome") == 2


async def test_provider_that_gave_no_word_of_its_own_is_cancelled_with_the_reason(world: World) -> None:
    """What comes late is cancelled at the provider, not only dropped here; who answered is left alone."""
    world.silent = {"lahd"}
    await world.ask(**SHORT)
    (stop,) = world.stops
    assert stop == ("lahd", True)


async def test_caller_that_goes_away_cancels_everywhere(world: World) -> None:
    """A cancelled call is cancelled at the providers and at the broker, and the log says so."""
    world.silent = {"lapd", "lahd"}
    search = world.gateway.search(make_question(timeout=timedelta(seconds=30)), CLAIMS, "jwt")
    assert (await anext(search)).WhichOneof("part") == "plan"
    await until(lambda: world.happened.count("session ask") == 2)
    await search.aclose()  # type: ignore[attr-defined]
    await until(lambda: world.entries[-1].kind == "concluded" and not world.gateway._running)
    assert world.happened.count("session cancel") == 2
    assert "link cancel" in world.happened
    assert world.entries[-1].kind == "concluded" and world.entries[-1].public["cancelled"] is True
    assert not world.gateway._running


async def test_absent_provider_costs_no_more_than_the_deadline(world: World) -> None:
    """A provider without a link is named; the other one's answer is there."""
    world.absent = {"lahd"}
    answer = await world.ask(**SHORT)
    kinds = {item.agency: item.kind for item in answer[-1].summary.providers}
    assert kinds == {
        "lapd": common_pb2.OUTCOME_KIND_RESPONDED,
        "lahd": common_pb2.OUTCOME_KIND_UNREACHABLE,
    }


async def test_lost_link_ends_every_exchange_at_once(world: World) -> None:
    """Nobody waits for a deadline when the link that would bring the answer is gone; the finding says so."""
    world.silent = {"lapd", "lahd"}
    asyncio.get_running_loop().call_later(0.1, world.gateway.unlinked, link_pb2.CLOSE_REASON_UNSPECIFIED, "")
    summary = query_service_pb2.Summary()
    with pytest.raises(NobodyAnswered):
        async with asyncio.timeout(30):
            async for message in world.gateway.search(
                make_question(timeout=timedelta(seconds=60)), CLAIMS, "jwt"
            ):
                summary = message.summary
    assert list(summary.findings) == ["broker: the link was lost before it gave an account"]


async def test_reason_that_nobody_knows_still_ends_the_sessions(world: World) -> None:
    """A close reason of a later version, or of a liar, is no fault: the sessions are told."""
    world.gateway.unlinked(77, "gone")  # type: ignore[arg-type]
    assert "sessions unlinked" in world.happened
    await world.gateway.settle_tasks()
    assert world.entries[-1].public["reason"] == "reason 77"


async def test_burst_does_not_pass_the_limit_of_exchanges_in_flight(world: World) -> None:
    """A place is taken before `asked` is written, so that many at once cannot all be let in."""
    world.silent = {"lapd", "lahd"}
    asking = [asyncio.create_task(world.ask(timeout=timedelta(seconds=2))) for _ in range(20)]
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(result, Busy) for result in done) == 12
    assert world.happened.count("link order") == 8


async def test_flood_of_checkpoints_keeps_one_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many checkpoints a peer sends in a turn, one waits to be looked at."""
    seen: list[bytes] = []

    async def saw(origin: str, note: bytes, *keys: str) -> list[object]:
        seen.append(note)
        return []

    monkeypatch.setattr(world.gateway.logs.desk.peers, "saw", saw)
    for number in range(1000):
        frame = link_pb2.LinkFrame(checkpoint=audit_pb2.Checkpoint(note=str(number).encode()))
        world.gateway.frames([frame])
    await world.gateway.logs.desk.look()
    await world.gateway.logs.desk.look()
    assert seen == [b"999"]


async def test_completeness_that_nobody_could_meet_asks_nobody(world: World) -> None:
    """What can only fail tells nobody of the question: neither the log's `asked` nor a frame (design 5)."""
    for rule in (
        query_pb2.Completeness(quorum=3),
        query_pb2.Completeness(required=query_pb2.RequiredProviders(agencies=["dea"])),
    ):
        with pytest.raises(RequestInvalid):
            await world.ask(completeness=rule)
    assert world.happened == []


async def test_unmet_quorum_is_an_error_after_the_summary(world: World) -> None:
    """One of two responds: the summary says what lacks, and the call ends as incomplete."""
    world.silent = {"lahd"}
    summary = query_service_pb2.Summary()
    with pytest.raises(Incomplete):
        async for message in world.gateway.search(
            make_question(completeness=query_pb2.Completeness(quorum=2), **SHORT), CLAIMS, "jwt"
        ):
            summary = message.summary
    assert not summary.complete and "1 of 2" in summary.incomplete_text
