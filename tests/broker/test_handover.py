"""Two links of one end at the broker: what becomes of the older one, and of the one that waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from comity.broker.admission import EndId
from comity.broker.router import Router
from comity.broker.table import Link, LinkTable
from comity.certs.clock import utc_now
from comity.links.errors import ProtocolViolation
from comity.links.frames import LinkLimits
from comity.links.relay import SessionRelay
from comity.v1 import common_pb2, link_pb2

CBP = EndId(agency="cbp", role=common_pb2.END_ROLE_GATEWAY)
RENEWAL = link_pb2.CLOSE_REASON_RENEWAL
ORIGIN = "cbp.example/gateway"


class Peer:
    """A stream that is up; remembers what was sent and why it was closed."""

    def __init__(self) -> None:
        self.is_up = True
        self.sent: list[str | None] = []
        self.closed: list[int] = []

    def send(self, *frames: link_pb2.LinkFrame) -> None:
        self.sent += [frame.WhichOneof("frame") for frame in frames] if self.is_up else []

    def close(self, reason: int, text: str) -> None:
        self.is_up = False
        self.closed.append(reason)

    def hold(self) -> None:
        """Take it: nothing comes on this stream."""

    def release(self) -> None:
        """Take it."""


class Desk:
    """The router of a broker, whose log is the list `closed`: numbers of links and reasons."""

    def __init__(self) -> None:
        self.table, self.witness, self.scribe = LinkTable(), Mock(), Mock()
        self.witness.is_refused = lambda origin: False
        self.router = Router(
            table=self.table,
            desk=Mock(),
            relay=SessionRelay(LinkLimits()),
            witness=self.witness,
            trust=Mock(),
            log=Mock(),
            scribe=self.scribe,
            clock=utc_now,
            max_links=4,
        )
        self.numbers = 0

    def link(self, *, follows: bool = False) -> tuple[Link, Peer]:
        self.numbers += 1
        peer: Any = Peer()
        admitted: Any = SimpleNamespace(end=CBP, origin=ORIGIN, has_documents=(b"", b""))
        link = Link(number=self.numbers, admitted=admitted, peer=peer, chain=())
        self.router.linked(link, follows=follows)
        return link, peer

    def refuse(self) -> None:
        """Have the witness find that the end's log contradicted itself."""
        self.witness.is_refused = lambda origin: origin == ORIGIN
        self.witness.on_refused(ORIGIN)

    @property
    def closed(self) -> int:
        return len(self.scribe.write.call_args_list)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_older_stream_is_closed_once_it_was_handed_over(desk: Desk) -> None:
    """An end can't keep streams that are in no table: the broker hangs up after its last frame (design 6)."""
    older, old = desk.link()
    newer, new = desk.link(follows=True)
    desk.router.frames(older, [link_pb2.LinkFrame(handover=link_pb2.Handover())])
    assert old.sent[-1] == "handover"
    assert old.closed == [RENEWAL]
    assert new.closed == []
    assert desk.table.find(CBP) is newer


async def test_contradicted_log_closes_the_link_that_waits_too(desk: Desk) -> None:
    """The end whose log contradicted itself has no link afterwards, neither of two."""
    _, old = desk.link()
    _, new = desk.link(follows=True)
    desk.refuse()
    assert len(old.closed) == len(new.closed) == 1
    assert desk.table.find(CBP) is None
    assert desk.closed == 2


async def test_link_that_waits_is_not_entered_for_a_refused_end(desk: Desk) -> None:
    """An older link that is lost leaves its place to nobody who was refused meanwhile."""
    older, _ = desk.link()
    _, new = desk.link(follows=True)
    desk.witness.is_refused = lambda origin: True
    desk.router.unlinked(older, RENEWAL)
    assert len(new.closed) == 1
    assert "presence" not in new.sent
    assert desk.table.find(CBP) is None
    assert desk.closed == 2


async def test_waiting_link_that_is_displaced_is_logged_as_closed(desk: Desk) -> None:
    """Each link that was logged as opened is logged as closed."""
    desk.link()
    _, waiting = desk.link(follows=True)
    newest, _ = desk.link()
    assert waiting.closed == [RENEWAL]
    assert desk.table.find(CBP) is newest
    assert desk.closed == 2


async def test_handover_that_no_link_follows_is_a_violation(desk: Desk) -> None:
    """An end can't have its sessions moved to nowhere."""
    link, _ = desk.link()
    with pytest.raises(ProtocolViolation, match="no link follows"):
        desk.router.frames(link, [link_pb2.LinkFrame(handover=link_pb2.Handover())])


async def test_own_list_is_taken_as_that_of_the_links_agency(desk: Desk) -> None:
    """Whose end brought it the broker knows from the link, and from nothing that is sent."""
    taken: list[tuple[str, bytes]] = []
    desk.router._brought = Mock(add=lambda *brought: taken.append(brought))
    link, _ = desk.link()
    desk.router.frames(link, [link_pb2.LinkFrame(own_revocations=link_pb2.OwnRevocations(list=b"list"))])
    assert taken == [("cbp", b"list")]
