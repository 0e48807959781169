"""The provider's end of the federation: its link, its sessions, its exchanges, its peers' checkpoints.

Frames come from the link in order and are acted on in that order: an announcement before the question
that follows it, a cancel after the question that it ends. What happens to links and sessions stands in the
log; each side's newest checkpoint goes to the other, so that a log that was rewritten or cut is caught by
those who saw it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from comity.adapters import records
from comity.adapters.acknowledgements import Acknowledgements
from comity.adapters.announcements import Announcements
from comity.adapters.beside import Beside
from comity.adapters.exchanges import Exchanges
from comity.adapters.own_records import OwnRecords
from comity.adapters.people import People
from comity.adapters.telemetry import METERING
from comity.audit.log import SignedLog
from comity.certs.clock import Clock
from comity.certs.roster import Federation
from comity.links.client import LinkClient
from comity.links.frames import reason_name
from comity.links.peer_logs import PeerLogs
from comity.links.roster import OwnRevocations, RosterInbox
from comity.links.sessions.hub import AdapterSessions, Session
from comity.v1.link_pb2 import CloseReason, LinkFrame, Welcome
from comity.v1.result_pb2 import Acknowledgement
from comity.v1.session_pb2 import SessionMessage

LOGGER = logging.getLogger("comity.adapters")

TICK_SECONDS: Final = 1.0
"""How often checkpoints are offered besides when a new one is published."""


class AdapterEnd:
    """What the link tells this end (`LinkEvents`), and what its sessions do. Plain calls on the loop."""

    link: LinkClient
    sessions: AdapterSessions
    exchanges: Exchanges
    acknowledgements: Acknowledgements
    own_records: OwnRecords
    people: People

    def __init__(
        self,
        *,
        agency: str,
        federation: Federation,
        announcements: Announcements,
        log: SignedLog,
        beside: Beside,
        clock: Clock,
    ) -> None:
        """Link, sessions and exchanges are set after: each of them needs this end first."""
        self.federation = federation
        self.first_linked = asyncio.Event()
        self.stopping = False
        self._agency = agency
        self._announcements = announcements
        self._beside = beside
        self._clock = clock
        self.rosters: RosterInbox | None = None
        """Where rosters go that the broker brings."""
        self.own_revocations = OwnRevocations(agency, lambda frame: self.link.send(frame))
        """Brings this agency's own list of revocations to the broker."""
        self.own_revocations.in_force(federation)
        self._open: dict[str, Session] = {}
        self.open: Mapping[str, Session] = MappingProxyType(self._open)
        """The newest open session of each agency."""
        self.logs = PeerLogs(
            log,
            clock,
            end=self,
            opened=self._open,
            peer_role="gateway",
            consequence="nobody can ask this end",
            alarmed=METERING.alarmed,
            logger=LOGGER,
        )
        """What peers and this end say of their logs."""

    # -- the link -------------------------------------------------------------------------------

    def linked(self, welcome: Welcome) -> None:
        """The link is up."""
        self.first_linked.set()
        self.own_revocations.linked(welcome)
        self.logs.connected(self.federation.operator.agency)
        self._record("link_opened", peer=self.federation.operator.agency)
        self.sessions.linked(welcome)

    def unlinked(self, reason: CloseReason, text: str) -> None:
        """The link is gone, and with it every session; the client dials again by itself."""
        level = logging.INFO if self.stopping else logging.WARNING
        LOGGER.log(level, "the link to the broker ended (%s): %s", reason_name(reason), text)
        self.sessions.unlinked(reason, text)
        self._announcements.clear()
        if self.rosters is not None:
            self.rosters.unlinked()
        self._record("link_closed", peer=self.federation.operator.agency, reason=reason_name(reason))

    def frames(self, frames: Sequence[LinkFrame]) -> None:
        """Take one message's frames, in order."""
        for frame in frames:
            match frame.WhichOneof("frame"):
                case "announcement":
                    self._announcements.add(frame.announcement, frame.traceparent)
                case "cancel":
                    self.exchanges.over(
                        frame.cancel.exchange_id, deadline_passed=frame.cancel.deadline_passed
                    )
                case "checkpoint" | "proof_request" | "proofs" | "cosignature" as name:
                    self.logs.took(self.federation.operator.agency, getattr(frame, name))
                case "roster":
                    if self.rosters is not None:
                        self.rosters.add(frame.roster)
                case _:
                    self.sessions.frames((frame,))

    # -- sessions -------------------------------------------------------------------------------

    def on_message(self, session: Session, message: SessionMessage) -> None:
        """Take one message of a session; its peer is whoever the session's TLS verified."""
        match message.WhichOneof("message"):
            case "ask":
                self.exchanges.ask(session, message.ask, message.traceparent)
            case "cancel":
                self.exchanges.cancel(
                    session, message.cancel.exchange_id, deadline_passed=message.cancel.deadline_passed
                )
            case "credit":
                self.exchanges.credit(session, message.credit)
            case "acknowledgement":
                self.acknowledgements.came(session.peer, message.acknowledgement)
            case "records_request":
                self.own_records.request(session, message.records_request)
            case "records_credit":
                self.own_records.credit(session, message.records_credit)
            case "records_cancel":
                self.own_records.cancel(session, message.records_cancel)
            case "user_acts":
                self.people.acts(session, message.user_acts.acts)
            case "noted":
                self.people.noted(session, message.noted.digests)
            case "checkpoint" | "proof_request" | "proofs" | "cosignature" as name:
                if self._open.get(session.peer) is session:  # what an older one carries came too late
                    self.logs.took(session.peer, getattr(message, name))
            case _:
                pass

    def on_opened(self, session: Session) -> None:
        """A session is ready: its peer's certificate was judged, and an agreement is in force."""
        self._open[session.peer] = session
        self.logs.connected(session.peer)
        self.people.opened(session)
        self._record("session_opened", peer=session.peer, certificate=session.certificate.hex())

    def on_closed(self, session: Session, reason: CloseReason, text: str) -> None:
        """A session is over, and with it all that was asked in it."""
        if self._open.get(session.peer) is session:
            del self._open[session.peer]
        self.exchanges.closed(session)
        self.own_records.closed(session)
        refused = reason == CloseReason.CLOSE_REASON_LOG_CONTRADICTED
        level = logging.ERROR if refused else logging.INFO
        LOGGER.log(level, "session with `%s` closed (%s): %s", session.peer, reason_name(reason), text)
        self._record("session_closed", peer=session.peer, reason=reason_name(reason))

    def on_refused(self, peer: str, reason: CloseReason, text: str) -> None:
        """A session never became ready."""
        LOGGER.warning("session with `%s` refused (%s): %s", peer, reason_name(reason), text)
        self._record("session_refused", peer=peer, reason=reason_name(reason))

    # -- peers' logs and ours -------------------------------------------------------------------

    async def tick(self) -> None:
        """Offer checkpoints once a second, for whoever was passed over by the damping, until cancelled.

        And log suspensions that couldn't be logged.
        """
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.logs.offer()
            self.logs.tick()
            self.acknowledgements.tick()
            self.people.tick()

    def promised(self, agency: str, acknowledgement: Acknowledgement, statement: bytes) -> None:
        """Hold a requester's log to what its verified acknowledgement promises of it."""
        self.logs.promised(
            agency,
            acknowledgement.promise,
            exchange=acknowledgement.exchange_id,
            statement=statement,
        )

    def _record(self, kind: str, **public: str) -> None:
        """Log, beside, what happened to a link or a session."""
        self._beside.write(records.event(kind, self._agency, self._clock(), **public))
