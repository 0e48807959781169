"""Sessions between honest ends: opened when needed, shared, in order, and closed with what they rest on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from comity.certs.profile import load_certificate
from comity.certs.revocations import Revoked, RevokedOf, serial_bytes
from comity.links.errors import ConfigUnusable, FrameTooLarge, SessionFailed
from comity.links.frames import LinkLimits, kind
from comity.links.sessions.hub import SessionIdentity, SessionLimits
from comity.v1.link_pb2 import CloseReason, LinkFrame, Welcome
from comity.v1.session_pb2 import PageDelivery, SessionMessage
from tests.support.sessions import AgencyKeys, Middle, World, agreement, ask, settle


def page(size: int) -> SessionMessage:
    return SessionMessage(page=PageDelivery(exchange_id=b"e" * 16, page=bytes(size)))


async def test_messages_travel_both_ways_in_order(world: World) -> None:
    """A question goes to the adapter, its answer comes back, and both ends know whom they speak to."""
    gateway, adapter = world.gateway(), world.adapter()
    adapter.reply = lambda session, message: session.send(page(1000), page(10))
    session = await gateway.hub.session("cbp")
    assert session.is_open and session.page_window == 4
    assert session.agreement_digest == world.agreements.agreements[0].digest
    for number in range(10):
        session.send(ask(b"%d" % number))
    await settle(lambda: len(gateway.got) == 20)
    assert adapter.asks == [b"%d" % number for number in range(10)]
    assert {peer for peer, _ in adapter.got} == {"sheriff"}
    assert [len(message.page.page) for _, message in gateway.got] == [1000, 10] * 10
    assert [s.peer for s in adapter.opened] == ["sheriff"]


async def test_callers_share_one_opening(world: World) -> None:
    """Many callers at once cost one handshake, and later ones reuse the session."""
    gateway, adapter = world.gateway(), world.adapter()
    sessions = await asyncio.gather(*(gateway.hub.session("cbp") for _ in range(20)))
    assert len({id(session) for session in [*sessions, await gateway.hub.session("cbp")]}) == 1
    assert len(adapter.opened) == 1


async def test_one_turn_of_the_loop_is_one_frame(world: World) -> None:
    """Messages that were sent in one turn leave in one frame of the link."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    await settle()
    world.middle.seen.clear()
    for number in range(50):
        session.send(ask(b"%d" % number))
    await settle(lambda: len(adapter.got) == 50)
    assert [kind(frame) for link, frame in world.middle.seen if link == gateway.name] == ["session_data"]


async def test_large_messages_pass_a_small_window(tmp_path: Path, agencies: dict[str, AgencyKeys]) -> None:
    """A message far larger than the session's window flows as credit comes back, none lost."""
    middle = Middle(LinkLimits(session_window=16 * 1024, max_frame_bytes=4096))
    world = World(tmp_path, agencies, middle=middle)
    gateway, adapter = world.gateway(), world.adapter()
    adapter.reply = lambda session, message: session.send(page(900_000), page(1), page(300_000))
    (await gateway.hub.session("cbp")).send(ask(b"x"))
    await settle(lambda: len(gateway.got) == 3)
    assert [len(message.page.page) for _, message in gateway.got] == [900_000, 1, 300_000]
    world.close()


async def test_absent_provider_fails_at_once(world: World) -> None:
    """A provider without a link costs no timeout: the broker says that it is absent."""
    gateway = world.gateway()
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp")
    assert failed.value.reason == CloseReason.CLOSE_REASON_PEER_ABSENT
    assert gateway.refused[0][0] == "cbp"


async def test_adapter_that_comes_back_is_reached_again(world: World) -> None:
    """A lost link ends its sessions with PEER_ABSENT; the next question opens a new one."""
    gateway, adapter = world.gateway(), world.adapter()
    first = await gateway.hub.session("cbp")
    world.middle.lose(adapter.name)
    assert gateway.closed[0][:2] == ("cbp", CloseReason.CLOSE_REASON_PEER_ABSENT)
    assert adapter.closed[0][0] == "sheriff"
    with pytest.raises(SessionFailed):
        first.send(ask(b"late"))
    adapter.is_up = True
    adapter.hub.linked(world.gateway("dea").hub._welcome)
    second = await gateway.hub.session("cbp")
    assert second is not first and second.is_open


async def test_own_link_that_is_down_is_not_the_provider_s_absence(world: World) -> None:
    """Without its own link an end can't say that anybody else is absent."""
    gateway, _ = world.gateway(), world.adapter()
    await gateway.hub.session("cbp")
    world.middle.lose(gateway.name)
    assert gateway.closed[0][:2] == ("cbp", CloseReason.CLOSE_REASON_UNSPECIFIED)
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp")
    assert failed.value.reason == CloseReason.CLOSE_REASON_UNSPECIFIED


@pytest.mark.parametrize("provider", ["ice", "nobody", "sheriff"])
async def test_without_agreement_nothing_leaves_the_house(world: World, provider: str) -> None:
    """Without an agreement in force no session opens, and no byte goes to the broker."""
    gateway = world.gateway()
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session(provider)
    assert failed.value.reason == CloseReason.CLOSE_REASON_NO_AGREEMENT
    await settle()
    assert world.middle.seen == []


@pytest.mark.parametrize("why", ["no agreement", "unknown", "suspended"])
async def test_adapter_refuses_before_any_byte_of_tls(world: World, why: str) -> None:
    """An adapter whose own documents don't carry the requester answers with a close, not a handshake."""
    gateway = world.gateway()
    adapter = world.adapter(agreements=replace(world.agreements, agreements=()))
    if why == "unknown":
        members = {name: one for name, one in world.federation.members.items() if name != "sheriff"}
        federation = replace(world.federation, members=members)
        adapter.hub.refresh(federation, replace(world.agreements, federation=federation))
    elif why == "suspended":
        adapter.hub.refresh(*world.changed("sheriff", suspended=True))
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp")
    assert failed.value.reason == CloseReason.CLOSE_REASON_NO_AGREEMENT
    assert [kind(frame) for link, frame in world.middle.seen if link == adapter.name] == ["session_close"]
    assert adapter.refused[0][:2] == ("sheriff", CloseReason.CLOSE_REASON_NO_AGREEMENT)
    assert adapter.opened == []


async def test_ends_that_hold_different_agreements_don_t_speak(world: World) -> None:
    """Both ends must name the same agreement in force, digest for digest."""
    other = replace(
        agreement(world.agencies["cbp"], world.agencies["sheriff"]), digest=b"other".ljust(32, b"-")
    )
    gateway = world.gateway()
    adapter = world.adapter(agreements=replace(world.agreements, agreements=(other,)))
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp")
    assert failed.value.reason == CloseReason.CLOSE_REASON_NO_AGREEMENT
    await settle()
    assert adapter.got == []


async def test_agreement_that_pins_another_key_opens_nothing(world: World) -> None:
    """A roster that names another identity key than the agreement pins can't slip a false CA in."""
    imposter = AgencyKeys("cbp")
    federation, agreements = world.changed(
        "cbp", identity_key=imposter.identity.public, key_set=imposter.member().key_set
    )
    gateway = world.gateway()
    gateway.hub.refresh(federation, agreements)
    with pytest.raises(SessionFailed, match="pins another identity key"):
        await gateway.hub.session("cbp")
    assert world.middle.seen == []


async def test_caller_s_deadline_is_its_own(world: World) -> None:
    """A caller that runs out of time leaves; the opening goes on for the others."""
    gateway, _ = world.gateway(), world.adapter()
    held: list[object] = []
    world.middle.tamper = lambda link, frame: (held.append((link, frame)), [])[1]
    patient = asyncio.create_task(gateway.hub.session("cbp"))
    await settle()
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp", timeout=0.01)
    assert failed.value.reason == CloseReason.CLOSE_REASON_HANDSHAKE
    world.middle.tamper = lambda link, frame: [frame]
    for link, frame in held:
        world.middle.ends[link].hub.frames([frame])
    assert (await patient).is_open


async def test_opening_that_nobody_answers_is_given_up(world: World) -> None:
    """A broker that swallows an opening costs the handshake's time; its late answer is closed."""
    gateway, adapter = world.gateway(), world.adapter()
    held: list[object] = []
    world.middle.tamper = lambda link, frame: (held.append((link, frame)), [])[1]
    waiting = asyncio.create_task(gateway.hub.session("cbp"))
    await settle()
    world.clock.ahead = timedelta(seconds=11)
    gateway.hub.tick()
    with pytest.raises(SessionFailed) as failed:
        await waiting
    assert failed.value.reason == CloseReason.CLOSE_REASON_HANDSHAKE
    world.middle.tamper = lambda link, frame: [frame]
    for link, frame in held:
        world.middle.ends[link].hub.frames([frame])
    await settle()
    assert len(world.middle.relay) == 0
    assert adapter.opened == []


async def test_closing_is_told_to_both_owners_once(world: World) -> None:
    """An end that closes a session says so; both owners hear it exactly once."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    session.send(ask(b"last"))
    session.close()
    session.close()
    await settle()
    assert adapter.asks == [b"last"]
    assert [end[:2] for end in gateway.closed] == [("cbp", CloseReason.CLOSE_REASON_SHUTDOWN)]
    assert [end[:2] for end in adapter.closed] == [("sheriff", CloseReason.CLOSE_REASON_SHUTDOWN)]
    assert len(world.middle.relay) == 0


async def test_session_ends_with_the_first_leaf(world: World) -> None:
    """A session doesn't outlive the certificates that it rests on."""
    gateway = world.gateway()
    adapter = world.adapter(leaf=world.agencies["cbp"].leaf("adapter", lifetime=timedelta(hours=2)))
    session = await gateway.hub.session("cbp")
    assert session.ends_at < world.clock() + timedelta(hours=2)
    world.clock.ahead = timedelta(hours=2)
    gateway.hub.tick()
    await settle()
    assert gateway.closed[0][1] == adapter.closed[0][1] == CloseReason.CLOSE_REASON_CREDENTIALS


async def test_suspension_ends_sessions_that_are_open(world: World) -> None:
    """A newer roster that suspends the peer ends its sessions at once."""
    gateway, adapter = world.gateway(), world.adapter()
    await gateway.hub.session("cbp")
    adapter.hub.refresh(*world.changed("sheriff", suspended=True))
    await settle()
    assert adapter.closed[0][1] == CloseReason.CLOSE_REASON_NO_AGREEMENT
    assert gateway.closed[0][1] == CloseReason.CLOSE_REASON_NO_AGREEMENT


async def test_replaced_ca_ends_sessions_of_the_old_one(world: World) -> None:
    """A key set without the CA that issued the peer's leaf ends the session; with it, the session stays."""
    gateway, adapter = world.gateway(), world.adapter()
    await gateway.hub.session("cbp")
    cbp, fresh = world.agencies["cbp"], AgencyKeys("cbp")
    overlap = replace(cbp.member().key_set, ca_certificates=(cbp.ca_der, fresh.ca_der))
    gateway.hub.refresh(*world.changed("cbp", key_set=overlap))
    await settle()
    assert gateway.closed == []
    gateway.hub.refresh(*world.changed("cbp", key_set=replace(overlap, ca_certificates=(fresh.ca_der,))))
    await settle()
    assert gateway.closed[0][1] == CloseReason.CLOSE_REASON_CREDENTIALS
    assert len(adapter.closed) == 1


async def test_session_outlasts_other_cas_of_the_requester_by_more_than_an_exchange(world: World) -> None:
    """The gateway asks on in a session whose leaf counts by the CAs of now: the adapter doesn't end it."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    sheriff, fresh = world.agencies["sheriff"], AgencyKeys("sheriff")
    both = replace(sheriff.member().key_set, ca_certificates=(sheriff.ca_der, fresh.ca_der))
    for hub in (gateway.hub, adapter.hub):
        hub.refresh(*world.changed("sheriff", key_set=both))
    for minutes in range(1, 6):
        world.clock.ahead = timedelta(minutes=minutes)
        assert await gateway.hub.session("cbp") is session
        session.send(ask(b"%d" % minutes))
        await settle()
        adapter.hub.tick()
    assert len(adapter.asks) == 5 and adapter.closed == [] and session.is_open


@pytest.mark.parametrize(
    "what",
    ["its CA was dropped", "its leaf is revoked, too", "its CA is revoked, too", "it has another name"],
)
async def test_what_goes_on_under_a_dropped_ca_may_end_unless_more_is_wrong(world: World, what: str) -> None:
    """An agency ends the overlap of two CAs: what was asked under the old one is answered, no more."""
    gateway, adapter = world.gateway(), world.adapter()
    gateway.hub.is_busy = lambda session: True
    session = await gateway.hub.session("cbp")
    cbp, fresh = world.agencies["cbp"], AgencyKeys("cbp")
    changes: dict[str, object] = {"key_set": replace(cbp.member().key_set, ca_certificates=(fresh.ca_der,))}
    if "revoked" in what:
        revoked = Revoked(at=world.clock(), reason="key_compromise")
        der = session.progress.leaf if "leaf" in what else cbp.ca_der
        session.progress.others = ()  # a peer needn't show its CA
        changes["revoked"] = RevokedOf(serials={serial_bytes(load_certificate(der).serial_number): revoked})
    elif what == "it has another name":
        changes["domain"] = "cbp2.example"
    gateway.hub.refresh(*world.changed("cbp", **changes))
    assert session.is_open == (what == "its CA was dropped")
    if session.is_open:
        session.send(ask(b"last"))
        await settle()
        assert adapter.asks == [b"last"]
        with pytest.raises(SessionFailed):  # this adapter has no leaf of the new CA
            await gateway.hub.session("cbp")
        gateway.hub.is_busy = lambda session: False
        gateway.hub.tick()
        assert gateway.closed[0][1] == CloseReason.CLOSE_REASON_CREDENTIALS


async def test_dropped_ca_is_over_after_the_longest_exchange(world: World) -> None:
    """Whatever goes on in it: a session under a CA that counts no more ends a minute later."""
    gateway, _ = world.gateway(), world.adapter()
    gateway.hub.is_busy = lambda session: True
    await gateway.hub.session("cbp")
    fresh = AgencyKeys("cbp")
    dropped = replace(world.agencies["cbp"].member().key_set, ca_certificates=(fresh.ca_der,))
    gateway.hub.refresh(*world.changed("cbp", key_set=dropped))
    world.clock.ahead = timedelta(seconds=59)
    gateway.hub.tick()
    assert gateway.closed == []
    world.clock.ahead = timedelta(seconds=60)
    gateway.hub.tick()
    assert gateway.closed[0][1] == CloseReason.CLOSE_REASON_CREDENTIALS


async def test_expired_agreement_ends_the_session(world: World) -> None:
    """When the agreement's time is over, so is the session (A2, D4)."""
    book = replace(
        world.agreements,
        agreements=tuple(
            replace(one, expires_at=world.clock() + timedelta(hours=1)) for one in world.agreements.agreements
        ),
    )
    gateway, adapter = world.gateway(agreements=book), world.adapter(agreements=book)
    await gateway.hub.session("cbp")
    world.clock.ahead = timedelta(hours=1)
    adapter.hub.tick()
    await settle()
    assert gateway.closed[0][1] == CloseReason.CLOSE_REASON_NO_AGREEMENT


async def test_old_session_is_replaced_and_closes_once_idle(world: World) -> None:
    """Past its age a session isn't handed out any more; it goes on for what runs in it, until idle."""
    gateway, adapter = world.gateway(), world.adapter()
    old = await gateway.hub.session("cbp")
    world.clock.ahead = timedelta(hours=1, seconds=1)
    old.send(ask(b"still running"))
    fresh = await gateway.hub.session("cbp")
    gateway.hub.tick()
    await settle()
    assert fresh is not old and fresh.is_open and old.is_open
    world.clock.ahead += timedelta(seconds=181)
    fresh.send(ask(b"new"))
    gateway.hub.tick()
    await settle()
    assert not old.is_open and fresh.is_open
    assert gateway.closed[0][1] == CloseReason.CLOSE_REASON_RENEWAL
    assert adapter.asks == [b"still running", b"new"]


@pytest.mark.parametrize(("role", "hours"), [("gateway", 1), ("adapter", 2)])
async def test_old_session_that_is_never_idle_ends_all_the_same(world: World, role: str, hours: int) -> None:
    """What keeps coming in a session past its age keeps it no longer than an exchange could last."""
    ends = {"gateway": world.gateway(), "adapter": world.adapter()}
    session = await ends["gateway"].hub.session("cbp")
    await settle(lambda: ends["adapter"].opened)
    for minutes in range(60 * hours + 4):
        world.clock.ahead = timedelta(minutes=minutes)
        if session.is_open:
            session.send(ask(b"a checkpoint, say"))
            await settle()
        ends[role].hub.tick()
        await settle()
        if minutes < 60 * hours:
            assert session.is_open
    assert not session.is_open
    assert [reason for _, reason, _ in ends[role].closed] == [CloseReason.CLOSE_REASON_RENEWAL]


async def test_own_leaf_that_was_renewed_is_used_from_the_next_link_on(world: World) -> None:
    """After its link came back, an end shows the certificate that lies on disk now."""
    gateway, adapter = world.gateway(), world.adapter()
    await gateway.hub.session("cbp")
    await settle(lambda: adapter.opened)
    world.identity("sheriff", "gateway")  # another leaf, in the files of the first
    world.middle.lose(gateway.name)
    gateway.is_up = True
    limits = world.middle.limits
    gateway.hub.linked(Welcome(session_window=limits.session_window, max_frame_bytes=limits.max_frame_bytes))
    await gateway.hub.session("cbp")
    await settle(lambda: len(adapter.opened) == 2)
    assert adapter.opened[0].certificate != adapter.opened[1].certificate


async def test_session_without_credit_pauses_at_its_sender_and_goes_on(world: World) -> None:
    """No more than the window is on its way; the rest waits where it was made, and arrives in order."""
    gateway, adapter = world.gateway(), world.adapter()
    await gateway.hub.session("cbp")
    await settle(lambda: adapter.opened)
    held: list[LinkFrame] = []

    def hold(link: str, frame: LinkFrame) -> list[LinkFrame]:
        if kind(frame) != "session_credit":
            return [frame]
        held.append(frame)
        return []

    world.middle.tamper = hold
    (session,) = adapter.opened
    window = world.middle.limits.session_window
    for number in range(6):
        session.send(page(500_000 + number))
        await settle()
    carried = sum(
        len(frame.session_data.records) for link, frame in world.middle.seen if link == adapter.name
    )
    assert carried <= window + 4096 and len(gateway.got) == 1  # 4096: the handshake's records
    assert session.pending_bytes > 1_900_000
    world.middle.tamper = lambda link, frame: [frame]
    adapter.hub.frames(held)
    await settle(lambda: len(gateway.got) == 6)
    assert [len(message.page.page) for _, message in gateway.got] == [500_000 + n for n in range(6)]
    assert session.pending_bytes == 0 and session.is_open


async def test_sender_that_ignores_its_window_loses_the_session_at_both_ends(world: World) -> None:
    """The broker counts along: what is over the window is not carried, the session is reset with LIMIT."""
    gateway, adapter = world.gateway(), world.adapter()
    await gateway.hub.session("cbp")
    await settle(lambda: adapter.opened)
    (session,) = adapter.opened
    session.progress.engine.channel._out.window = 1 << 40
    for _ in range(4):
        session.send(page(500_000))
    await settle(lambda: adapter.closed and gateway.closed)
    for end in (gateway, adapter):
        assert [reason for _, reason, _ in end.closed] == [CloseReason.CLOSE_REASON_LIMIT]
    assert len(gateway.got) <= 2 and len(world.middle.relay) == 0


async def test_session_is_renewed_before_its_keys_are_worn_out(
    tmp_path: Path, agencies: dict[str, AgencyKeys]
) -> None:
    """One pair of keys protects a bounded number of records (RFC 8446, section 5.5)."""
    world = World(tmp_path, agencies, limits=SessionLimits(max_records=3))
    gateway, adapter = world.gateway(), world.adapter()
    old = await gateway.hub.session("cbp")
    assert await gateway.hub.session("cbp") is old
    for _ in range(3):
        old.send(ask(b"x"))
        await settle()
    fresh = await gateway.hub.session("cbp")
    assert fresh is not old and fresh.is_open
    assert len(adapter.opened) == 2
    world.close()


async def test_reader_that_never_gives_credit_costs_bounded_memory(
    tmp_path: Path, agencies: dict[str, AgencyKeys]
) -> None:
    """What waits for credit is capped: the session closes with LIMIT."""
    world = World(tmp_path, agencies, limits=SessionLimits(pending_bytes=3 * 1024 * 1024))
    gateway, adapter = world.gateway(), world.adapter()
    await gateway.hub.session("cbp")
    world.middle.tamper = lambda link, frame: [] if kind(frame) == "session_credit" else [frame]
    session = adapter.opened[0]
    with pytest.raises(SessionFailed) as failed:
        for _ in range(100):
            session.send(page(500_000))
            await settle()
    assert failed.value.reason == CloseReason.CLOSE_REASON_LIMIT
    assert session.pending_bytes == 0
    await settle()
    assert gateway.closed[0][1] == adapter.closed[0][1] == CloseReason.CLOSE_REASON_LIMIT
    world.close()


async def test_message_over_a_mebibyte_is_not_sent(world: World) -> None:
    """A message that is too large is refused where it is made, and the session goes on."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    with pytest.raises(FrameTooLarge):
        session.send(ask(b"small"), ask(bytes(1024 * 1024)))
    session.send(ask(b"after"))
    await settle(lambda: adapter.got)
    assert adapter.asks == [b"after"]


async def test_fault_of_an_owner_costs_one_session(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that raises ends its session; others live, and what it raised with is not logged."""
    gateway, dea, adapter = world.gateway(), world.gateway("dea"), world.adapter()

    def fail(session: object, message: SessionMessage) -> None:
        raise KeyError(message.ask.query)

    other = await dea.hub.session("cbp")
    session = await gateway.hub.session("cbp")
    adapter.reply = fail
    session.send(ask(b"8ABC123"))
    await settle(lambda: gateway.closed)
    assert other.is_open
    assert "KeyError" in caplog.text and "8ABC123" not in caplog.text


async def test_requester_has_a_limited_number_of_sessions(
    tmp_path: Path, agencies: dict[str, AgencyKeys]
) -> None:
    """A requester can't fill an adapter with sessions."""
    world = World(tmp_path, agencies, limits=SessionLimits(sessions_per_requester=1))
    gateway, _ = world.gateway(), world.adapter()
    await gateway.hub.session("cbp")
    world.clock.ahead = timedelta(hours=1, seconds=1)
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp")
    assert failed.value.reason == CloseReason.CLOSE_REASON_LIMIT
    world.close()


async def test_own_certificate_must_be_readable(world: World, tmp_path: Path) -> None:
    """A hub without its certificate says so when it is made."""
    hub = world.gateway().hub
    missing = SessionIdentity(agency="cbp", chain=tmp_path / "none.pem", key=tmp_path / "none.key")
    with pytest.raises(ConfigUnusable):
        replace(hub, identity=missing)
