"""The logs of an end's peers, the broker's among them, held to what they showed over link and sessions (L2).

Gateway and adapter do the same here: a `CheckpointDesk` does the work, and what it says goes over the link or
the session that there is at the moment. Whose log contradicts itself is refused: its session ends, and the
broker's link.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from comity.audit.log import SignedLog
from comity.audit.witnessing import Alarm, CheckpointDesk, LogMessage, kind_of
from comity.certs.clock import Clock
from comity.certs.errors import UnknownLog
from comity.certs.roster import Federation
from comity.links.client import LinkClient
from comity.links.errors import LinkError
from comity.links.sessions.core import SessionHub
from comity.links.sessions.session import Session
from comity.v1.audit_pb2 import LogPromise
from comity.v1.link_pb2 import CloseReason, LinkFrame
from comity.v1.session_pb2 import SessionMessage

_REFUSED: Final = (
    "THE BROKER'S LOG CONTRADICTS what it showed this end before: it is refused, and {}, until "
    "`comity audit pardon` lifts that"
)


class End(Protocol):
    """What is needed of an end; each part as it is at the moment."""

    @property
    def federation(self) -> Federation:
        """The roster in force."""

    @property
    def link(self) -> LinkClient | None:
        """The link to the broker."""

    @property
    def sessions(self) -> SessionHub | None:
        """The sessions with peers."""


class PeerLogs:
    """What an end, its peers and the broker tell each other of their logs. `run` works until cancelled."""

    def __init__(
        self,
        log: SignedLog,
        clock: Clock,
        *,
        end: End,
        opened: Mapping[str, Session],
        peer_role: str,
        consequence: str,
        alarmed: Callable[[str], None],
        logger: logging.Logger,
    ) -> None:
        """Make the desk.

        Args:
            log: The end's own.
            clock: Of the end.
            end: Whose peers these are.
            opened: By agency, the newest session: what an older one carries comes too late.
            peer_role: Which log the agencies keep that this end meets: `adapter` or `gateway`.
            consequence: What can't be done while the broker is refused, to stand in a sentence.
            alarmed: Counts an alarm, by its kind.
            logger: Of the end.
        """
        self._end = end
        self._opened = opened
        self._peer_role = peer_role
        self._refused = _REFUSED.format(consequence)
        self._alarmed = alarmed
        self._logger = logger
        self.desk = CheckpointDesk(log, clock, keys=self._keys, tell=self._tell, alarm=self._alarm)

    async def run(self) -> None:
        """Look at what peers say of their logs, and of ours."""
        await self.desk.run()

    def offer(self) -> None:
        """Show our newest checkpoint to the broker and to every peer for whom it is due.

        To a peer in its newest session: one that is being renewed would deliver it behind a newer one, which
        looks like a log that shrank, and would never be idle.
        """
        self.desk.offer(self._present())

    def tick(self) -> None:
        """Count a second: what peers owe for longer than that is told."""
        self.desk.tick(self._present())

    def broker_refused(self) -> str:
        """Return why the broker may not be dialled: its log contradicted itself; empty if it may."""
        return self._refused if self.is_refused(self._end.federation.operator.agency) else ""

    def is_refused(self, agency: str) -> bool:
        """Return whether a peer is refused because its log contradicted itself."""
        origin = self._origin(agency)
        return origin is not None and self.desk.is_refused(origin)

    def connected(self, agency: str) -> None:
        """Begin anew with a peer: its link or session is a new one."""
        if (origin := self._origin(agency)) is not None:
            self.desk.connected(origin)

    def took(self, agency: str, message: LogMessage) -> None:
        """Take what a peer says of its log, or of ours."""
        if (origin := self._origin(agency)) is not None:
            self.desk.take(origin, message)

    def promised(self, agency: str, promise: LogPromise, *, exchange: bytes, statement: bytes) -> None:
        """Hold a peer's log to what a verified statement of it promises."""
        if (origin := self._origin(agency)) is not None:
            self.desk.promised(origin, promise, exchange=exchange, statement=statement)

    def _present(self) -> list[str]:
        """Return the logs of those to whom something can be said now."""
        agencies = [peer for peer, session in self._opened.items() if session.is_open]
        link = self._end.link
        if link is not None and link.is_up:
            agencies.append(self._end.federation.operator.agency)
        return list(self._origins(agencies))

    def _origins(self, agencies: Iterable[str]) -> Iterable[str]:
        for agency in agencies:
            if (origin := self._origin(agency)) is not None:
                yield origin

    def _origin(self, agency: str) -> str | None:
        """Return the log that a peer keeps, by the roster; None for a stranger."""
        operator = self._end.federation.operator
        member = operator if agency == operator.agency else self._end.federation.members.get(agency)
        if member is None:
            return None
        try:
            return member.key_set.log_key("broker" if member is operator else self._peer_role).origin
        except UnknownLog:
            return None

    def _keys(self, origin: str) -> Sequence[str]:
        found = self._end.federation.log_of(origin)
        return () if found is None else found[1].current

    def _tell(self, origin: str, message: LogMessage) -> None:
        """Send to a peer over the link or the session that there is now; without one it is let go."""
        found = self._end.federation.log_of(origin)
        if found is None:
            return
        try:
            if found[0] == self._end.federation.operator.agency:
                if self._end.link is not None:
                    frame = LinkFrame()
                    getattr(frame, kind_of(message)).CopyFrom(message)
                    self._end.link.send(frame)
            elif (session := self._opened.get(found[0])) is not None and session.is_open:
                said = SessionMessage()
                getattr(said, kind_of(message)).CopyFrom(message)
                session.send(said)
        except LinkError as error:
            self._logger.info("`%s` was not told of a log: %s", origin, error)

    def _alarm(self, alarm: Alarm) -> None:
        self._alarmed(alarm.kind)
        if not alarm.is_refused:
            self._logger.error("a checkpoint of `%s` is not good: %s", alarm.origin, alarm.text)
            return
        self._logger.critical(
            "A CHECKPOINT CONTRADICTS ITS LOG: %s; `%s` is refused until `comity audit pardon` lifts that",
            alarm.text,
            alarm.origin,
        )
        if self._end.link is not None and self.broker_refused():
            reason = CloseReason.CLOSE_REASON_LOG_CONTRADICTED
            self._end.link.hang_up(reason, "the broker's log contradicts itself")
        if self._end.sessions is not None:
            self._end.sessions.tick()
