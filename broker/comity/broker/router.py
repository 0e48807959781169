"""The links' frames: sessions are relayed, orders and receipts go to the desk.

The broker's half of `comity.links.server.LinkHandler`. What a frame of a session carries is never
looked at: it goes, as it came, to the one other link of that session, or the whole session is reset.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from datetime import datetime

from comity.audit.errors import AuditError
from comity.audit.log import SignedLog
from comity.broker import journal
from comity.broker.admission import Admitted, EndId, admit
from comity.broker.desk import ExchangeDesk
from comity.broker.errors import LinkRefusal, LinkRefused
from comity.broker.scribe import Scribe
from comity.broker.table import Link, LinkTable
from comity.broker.trust import Trust
from comity.broker.witness import Witness
from comity.certs.clock import Clock
from comity.links.errors import ProtocolViolation
from comity.links.frames import HANDOVER_SECONDS, kind, reason_name, session_close
from comity.links.relay import Routed, SessionRelay
from comity.links.roster import RevocationsInbox
from comity.links.server import LinkPeer
from comity.v1 import common_pb2, link_pb2

logger = logging.getLogger("comity.broker")

CloseReason = link_pb2.CloseReason
_REPLACED = "a newer link of this end takes its place"
_FOLLOWED = "followed by a newer link"
LinkFrame = link_pb2.LinkFrame
GATEWAY = common_pb2.END_ROLE_GATEWAY
ADAPTER = common_pb2.END_ROLE_ADAPTER


class Router:
    """Opens, serves and closes the links of one broker."""

    def __init__(
        self,
        *,
        table: LinkTable,
        desk: ExchangeDesk,
        relay: SessionRelay[LinkPeer],
        witness: Witness,
        trust: Trust,
        log: SignedLog,
        scribe: Scribe,
        clock: Clock,
        max_links: int,
        brought: RevocationsInbox | None = None,
    ) -> None:
        self._table = table
        self._desk = desk
        self._relay = relay
        self._witness = witness
        witness.on_refused = self._log_contradicted
        self._trust = trust
        self._log = log
        self._scribe = scribe
        self._clock = clock
        self._max_links = max_links
        self._roster: tuple[LinkFrame, ...] = ()
        self._handed: tuple[bytes, bytes] = (b"", b"")
        """What `Hello` says of those documents: the digests of the timestamp and of agencies' own lists."""
        self._brought = brought
        self._numbers = 0
        self._presence_due = False
        self._followers: dict[EndId, Link] = {}
        """Links that are up and wait for the end's older one to be handed over."""
        self._stopping = False

    @property
    def roster_version(self) -> int:
        """The version of the roster in force."""
        return self._trust.federation.version

    async def greet(self, hello: link_pb2.Hello, peer: LinkPeer, *, connection_certificate: bytes) -> Link:
        """Judge who opens a link, and log it durably: what can't be logged isn't opened.

        Raises LinkRefused.
        """
        now = self._clock()
        try:
            admitted = self._judge(hello, connection_certificate, now)
            self._numbers += 1
            number = self._numbers
            try:
                await self._log.append(journal.link_opened(now, end=admitted.end, link=number))
            except AuditError as error:
                raise LinkRefused(LinkRefusal.LOG, detail=str(error)) from error
        except LinkRefused as refused:
            self.refused(refused)
            raise
        return Link(number=number, admitted=admitted, peer=peer, chain=tuple(hello.chain))

    def refused(self, refused: LinkRefused) -> None:
        """Tell operator and log of a link that is not opened."""
        logger.warning("link refused (%s): %s", refused.refusal.value.reason, refused.detail)
        self._scribe.write(journal.link_refused(self._clock(), reason=refused.refusal.value.reason))

    def can_be_followed(self, end: EndId) -> bool:
        """Return whether an end has a link that a newer one of it may follow without a break."""
        older = self._table.find(end)
        return older is not None and older.peer.is_up and end not in self._followers

    def linked(self, link: Link, *, follows: bool = False) -> None:
        """Enter a link that is up; it takes the place of the end's older one, or follows it unbroken."""
        older = self._table.find(link.end)
        if older is not None and follows:
            link.peer.hold()
            self._followers[link.end] = link
            asyncio.get_running_loop().call_later(HANDOVER_SECONDS, self._too_late, older, link)
            return
        if older is not None:
            waiting = self._followers.pop(link.end, None)
            if waiting is not None:
                self._log_closed(waiting, reason_name(CloseReason.CLOSE_REASON_RENEWAL))
                waiting.peer.close(CloseReason.CLOSE_REASON_RENEWAL, _REPLACED)
            self._end(older, CloseReason.CLOSE_REASON_RENEWAL, _REPLACED)
        self._enter(link)

    def _enter(self, link: Link) -> None:
        self._table.add(link)
        self._witness.connected(link.admitted.origin)
        if link.admitted.has_documents != self._handed:
            self._send_roster(link)
        logger.info("link %d of `%s` is up", link.number, link.end)
        if link.end.role == GATEWAY:
            link.peer.send(self._presence())
        else:
            self._presence_changed()
        self._witness.offer()

    def never_up(self, link: Link) -> None:
        """Log that a link which was logged as opened is over before it carried anything."""
        self._log_closed(link, reason_name(CloseReason.CLOSE_REASON_UNSPECIFIED))

    def unlinked(self, link: Link, reason: CloseReason) -> None:
        """Take out a link that is over, unless it was taken out before."""
        if self._followers.get(link.end) is link:
            del self._followers[link.end]
            self._log_closed(link, reason_name(reason))
        elif self._table.of(link.peer) is link:
            self._remove(link, reason)

    def frames(self, link: Link, frames: Sequence[LinkFrame]) -> Awaitable[None] | None:
        """Take the frames of one message; what is returned must be awaited before the next message.

        Raises ProtocolViolation.
        """
        if self._table.of(link.peer) is not link:
            return None
        placements = [frame for frame in frames if kind(frame) == "order"]
        if placements:
            return self._place(link, placements, frames)
        self._dispatch(link, frames)
        return None

    def trust_replaced(self) -> None:
        """Judge every link again under a newer roster, and close those that may no longer be held."""
        now = self._clock()
        for link in self._all():
            hello = link_pb2.Hello(
                versions=[1],
                spiffe_id=f"spiffe://{link.admitted.origin}",
                role=link.end.role,
                chain=link.chain,
            )
            try:
                again = self._judge(hello, link.chain[0], now, count=False)
                if again.end != link.end:
                    raise LinkRefused(LinkRefusal.IDENTITY)
            except LinkRefused as refused:
                logger.warning("link %d of `%s` is closed: %s", link.number, link.end, refused.detail)
                public = refused.refusal.value
                revoked = public.close == CloseReason.CLOSE_REASON_REVOKED
                reason = public.close if revoked else CloseReason.CLOSE_REASON_CREDENTIALS
                self._end(link, reason, public.text)

    def hand_out(self, roster: tuple[LinkFrame, ...], *, timestamp: bytes, own_lists: bytes) -> None:
        """Hand the published roster to every end that is linked, if it is another one; and to those to come.

        Each verifies it under its own pin: that it came from here says nothing for it.
        """
        is_other = (timestamp, own_lists) != self._handed
        self._roster, self._handed = roster, (timestamp, own_lists)
        for link in self._table if is_other else ():
            self._send_roster(link)

    def _send_roster(self, link: Link) -> None:
        for frame in self._roster:
            link.peer.send(frame)

    def stop(self) -> None:
        """Say goodbye to every link; open no more."""
        self._stopping = True
        for link in self._all():
            self._end(link, CloseReason.CLOSE_REASON_SHUTDOWN, "the broker stops")

    def _all(self) -> list[Link]:
        """Return every link, those first that wait: none is to take the place of one that is closed."""
        return [*self._followers.values(), *self._table]

    def _judge(
        self, hello: link_pb2.Hello, certificate: bytes, now: datetime, *, count: bool = True
    ) -> Admitted:
        if self._stopping:
            raise LinkRefused(LinkRefusal.STOPPING)
        if not self._trust.is_current(now):
            raise LinkRefused(LinkRefusal.ROSTER_EXPIRED)
        admitted = admit(
            hello, connection_certificate=certificate, federation=self._trust.federation, now=now
        )
        if self._witness.is_refused(admitted.origin):
            raise LinkRefused(LinkRefusal.LOG_CONTRADICTED, detail=f"of `{admitted.end}`")
        if count and self._table.find(admitted.end) is None and len(self._table) >= self._max_links:
            raise LinkRefused(LinkRefusal.LIMIT)
        return admitted

    async def _place(self, link: Link, placements: Sequence[LinkFrame], frames: Sequence[LinkFrame]) -> None:
        """Place all orders of a message first, so that nothing after them can overtake an announcement."""
        if link.end.role != GATEWAY:
            raise ProtocolViolation(CloseReason.CLOSE_REASON_PROTOCOL, "an adapter places no orders")
        await self._desk.place(
            link.end.agency,
            [frame.order for frame in placements],
            [frame.traceparent for frame in placements],
        )
        if self._table.of(link.peer) is link:
            self._dispatch(link, frames)

    def _dispatch(self, link: Link, frames: Iterable[LinkFrame]) -> None:
        agency = link.end.agency
        for frame in frames:
            match kind(frame), link.end.role:
                case (("session_data" | "session_credit" | "session_close"), _):
                    self._deliver(self._relay.forward(link.peer, frame))
                case "session_open", common_pb2.END_ROLE_GATEWAY:
                    self._open_session(link, frame.session_open)
                case "receipt", common_pb2.END_ROLE_ADAPTER:
                    self._desk.receipt(agency, frame.receipt, frame.traceparent)
                case "order", common_pb2.END_ROLE_GATEWAY:
                    pass
                case "cancel", common_pb2.END_ROLE_GATEWAY:
                    self._desk.cancel(agency, frame.cancel.exchange_id)
                case "handover", _:
                    self._hand_over(link)
                    return
                case "own_revocations", _:
                    if self._brought is not None:
                        self._brought.add(agency, frame.own_revocations.list)
                case (("checkpoint" | "proof_request" | "proofs" | "cosignature") as name, _):
                    self._witness.took(link.admitted.origin, getattr(frame, name))
                case name, _:
                    raise ProtocolViolation(
                        CloseReason.CLOSE_REASON_PROTOCOL, f"frame `{name}` from this end"
                    )

    def _open_session(self, link: Link, request: link_pb2.SessionOpen) -> None:
        """Open a session for a pair with a lodged ceiling; to no other pair are bytes carried."""
        provider, requester = request.peer, link.end.agency
        if self._trust.ceiling(provider=provider, requester=requester, now=self._clock()) is None:
            reason = CloseReason.CLOSE_REASON_NO_AGREEMENT
            link.peer.send(session_close(reason, reference=request.reference))
            return
        adapter = self._table.find(EndId(agency=provider, role=ADAPTER))
        routed = self._relay.open(
            link.peer,
            request.reference,
            requester=requester,
            provider=provider,
            adapter=None if adapter is None else adapter.peer,
            lane=request.lane,
        )
        self._deliver(routed)

    def _log_contradicted(self, origin: str) -> None:
        """Close the links of an end whose log contradicted itself; it gets no other one."""
        refusal = LinkRefusal.LOG_CONTRADICTED.value
        for link in self._all():
            if link.admitted.origin == origin:
                self._end(link, refusal.close, refusal.text)

    def _deliver(self, routed: Iterable[Routed[LinkPeer]]) -> None:
        for peer, frame in routed:
            peer.send(frame)

    def _hand_over(self, older: Link) -> None:
        """Go on with the newer link of an end, which has sent its last frame on the older one.

        The older stream is closed here: an end that left it open would use up the streams there may be.
        """
        newer = self._followers.pop(older.end, None)
        if newer is None:
            raise ProtocolViolation(CloseReason.CLOSE_REASON_PROTOCOL, "a handover that no link follows")
        older.peer.send(LinkFrame(handover=link_pb2.Handover()))
        self._table.followed(older, newer)
        self._relay.moved(older.peer, newer.peer)
        self._log_closed(older, reason_name(CloseReason.CLOSE_REASON_RENEWAL))
        logger.info("link %d of `%s` follows link %d", newer.number, newer.end, older.number)
        newer.peer.release()
        older.peer.close(CloseReason.CLOSE_REASON_RENEWAL, _FOLLOWED)

    def _too_late(self, older: Link, newer: Link) -> None:
        """End the older of two links that was not handed over in time; the newer one takes its place."""
        if self._followers.get(newer.end) is newer and self._table.of(older.peer) is older:
            self._end(older, CloseReason.CLOSE_REASON_RENEWAL, _REPLACED)

    def _end(self, link: Link, reason: CloseReason, text: str) -> None:
        if self._followers.get(link.end) is link:
            del self._followers[link.end]
            self._log_closed(link, reason_name(reason))
        else:
            self._remove(link, reason)
        link.peer.close(reason, text)

    def _remove(self, link: Link, reason: CloseReason) -> None:
        self._table.remove(link)
        self._deliver(self._relay.link_lost(link.peer))
        if link.end.role == GATEWAY:
            self._desk.gateway_lost(link.end.agency)
        else:
            self._desk.adapter_lost(link.end.agency)
            self._presence_changed()
        name = reason_name(reason)
        logger.info("link %d of `%s` is over (%s)", link.number, link.end, name)
        self._log_closed(link, name)
        newer = self._followers.pop(link.end, None)
        if newer is None:
            return
        if self._witness.is_refused(newer.admitted.origin):
            refusal = LinkRefusal.LOG_CONTRADICTED.value
            self._log_closed(newer, reason_name(refusal.close))
            newer.peer.close(refusal.close, refusal.text)
        elif not self._stopping:  # lost before it was handed over: as if it were new
            self._enter(newer)
            newer.peer.release()

    def _log_closed(self, link: Link, reason: str) -> None:
        entry = journal.link_closed(self._clock(), end=link.end, link=link.number, reason=reason)
        self._scribe.write(entry)

    def _presence(self) -> LinkFrame:
        return LinkFrame(presence=link_pb2.Presence(providers=self._table.present()))

    def _presence_changed(self) -> None:
        """Tell the gateways once a turn, however many adapters came and went in it."""
        if not self._presence_due:
            self._presence_due = True
            asyncio.get_running_loop().call_soon(self._tell_presence)

    def _tell_presence(self) -> None:
        self._presence_due = False
        frame = self._presence()
        for link in self._table:
            if link.end.role == GATEWAY:
                link.peer.send(frame)
