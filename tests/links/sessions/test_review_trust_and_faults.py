"""Sessions when the roster's own time is over, and when this end's own code fails on one peer's bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from comity.certs.profile import load_certificate
from comity.certs.revocations import Revoked, RevokedOf, certificate_key_digest, serial_bytes
from comity.certs.x509 import VerifiedLeaf, certificate_der, make_ca
from comity.links.errors import SessionFailed
from comity.links.sessions.tls import ExpectedPeer
from comity.v1.link_pb2 import CloseReason, Lane, LinkFrame, SessionOpen
from tests.support.sessions import World, ask, settle


async def test_roster_past_its_time_opens_no_session(world: World) -> None:
    """A list past its next update is not trusted: nobody gains by withholding it (design 4)."""
    gateway = world.gateway()
    world.adapter()
    old = replace(world.federation, timestamp_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    gateway.hub.refresh(old, replace(world.agreements, federation=old))
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp")
    assert failed.value.reason == CloseReason.CLOSE_REASON_NO_AGREEMENT
    assert world.middle.seen == []


async def test_session_ends_when_the_roster_runs_out(world: World) -> None:
    """Nothing has to change on disk: the time alone ends what rested on the roster, at both ends."""
    gateway, adapter = world.gateway(), world.adapter()
    soon = replace(world.federation, timestamp_expires_at=datetime.now(UTC) + timedelta(hours=1))
    adapter.hub.refresh(soon, replace(world.agreements, federation=soon))
    session = await gateway.hub.session("cbp")
    world.clock.ahead = timedelta(minutes=59)
    adapter.hub.tick()
    assert session.is_open
    world.clock.ahead = timedelta(minutes=60)
    adapter.hub.tick()
    await settle(lambda: not session.is_open)
    assert adapter.closed[0][1] == CloseReason.CLOSE_REASON_NO_AGREEMENT


async def test_fault_over_one_peers_bytes_costs_its_session_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that nobody foresaw ends that session; the link and the others' sessions go on."""
    sheriff, dea, adapter = world.gateway(), world.gateway("dea"), world.adapter()
    good, bad = await dea.hub.session("cbp"), await sheriff.hub.session("cbp")
    [inner] = [session for session in adapter.opened if session.peer == "sheriff"]

    def unforeseen(data: object) -> None:
        raise KeyError("8ABC123")

    monkeypatch.setattr(inner.progress.engine, "receive", unforeseen)
    bad.send(ask(b"bad"))
    good.send(ask(b"good"))
    await settle(lambda: adapter.asks == [b"good"] and not bad.is_open)
    assert good.is_open
    assert [peer for peer, _, _ in adapter.closed] == ["sheriff"]


async def test_certificate_that_cannot_be_read_does_not_keep_a_suspended_member(world: World) -> None:
    """A newer roster counts whatever state the own certificate's file is in."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    adapter.hub.identity.chain.unlink()
    adapter.hub.refresh(*world.changed("sheriff", suspended=True))
    await settle(lambda: not session.is_open)


async def test_name_that_the_broker_invents_cannot_forge_a_line_of_the_log(world: World) -> None:
    """Whom a refused session was for is the broker's word alone: told short, and on one line."""
    adapter = world.adapter()
    invented = "cbp\nERROR all is well " + "x" * 9_000
    opened = SessionOpen(session_id=7, peer=invented, lane=Lane.LANE_INTERACTIVE)
    adapter.hub.frames([LinkFrame(session_open=opened)])
    [(peer, reason, text)] = adapter.refused
    assert reason == CloseReason.CLOSE_REASON_NO_AGREEMENT
    assert "\n" not in peer + text
    assert len(peer + text) < 300


async def test_session_that_is_opened_while_the_link_ends_is_no_fault(world: World) -> None:
    """A frame may stand behind the one that ended its link: it is let go, like everything of that link."""
    adapter = world.adapter()
    adapter.is_up = False
    opened = SessionOpen(session_id=7, peer="sheriff", lane=Lane.LANE_INTERACTIVE)
    adapter.hub.frames([LinkFrame(session_open=opened)])
    assert adapter.opened == [] and adapter.refused == []


async def test_certificate_is_judged_once_under_each_newer_roster(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another CA beside the old one, a newer list: the peer's chain is verified then, and not each second."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    judged: list[ExpectedPeer] = []
    real = ExpectedPeer.verify

    def counted(
        expected: ExpectedPeer, leaf: bytes, now: datetime, *, others: Sequence[bytes] = ()
    ) -> VerifiedLeaf:
        judged.append(expected)
        return real(expected, leaf, now, others=others)

    monkeypatch.setattr(ExpectedPeer, "verify", counted)
    keys = world.federation.member("sheriff").key_set
    other, _ = make_ca("sheriff.example", datetime.now(UTC), timedelta(days=9))
    two = replace(keys, ca_certificates=(*keys.ca_certificates, certificate_der(other)))
    listed = RevokedOf(serials={b"\x07": Revoked(at=datetime.now(UTC), reason="superseded")})
    for count, changes in enumerate(({"key_set": two}, {"key_set": two, "revoked": listed}), start=1):
        adapter.hub.refresh(*world.changed("sheriff", **changes))
        for _ in range(3):
            adapter.hub.tick()
        assert len(judged) == count and session.is_open
    everything = {der: one for der in keys.ca_certificates for one in listed.serials.values()}
    gone = RevokedOf(
        serials={serial_bytes(load_certificate(der).serial_number): one for der, one in everything.items()},
        public_keys={certificate_key_digest(load_certificate(der)): one for der, one in everything.items()},
    )
    new = replace(keys, ca_certificates=(certificate_der(other),))
    adapter.hub.refresh(*world.changed("sheriff", key_set=new, revoked=gone))
    await settle(lambda: not session.is_open)
