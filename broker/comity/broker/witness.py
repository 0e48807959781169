"""Checkpoints with every end: a log that was rewritten, shortened or forked is caught, and its end refused.

What the ends say of their logs goes to the `CheckpointDesk`, whose worker looks at it in a task of its own,
so that no record of a session waits for it. Here stands who is told what, and what an alarm means here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from comity.audit.log import SignedLog
from comity.audit.witnessing import Alarm, CheckpointDesk, LogMessage, kind_of
from comity.broker.table import LinkTable
from comity.broker.telemetry import METERING
from comity.broker.trust import Trust
from comity.certs.clock import Clock
from comity.v1 import link_pb2

logger = logging.getLogger("comity.broker")


class Witness:
    """The broker's checkpoints at the ends, and theirs at the broker. `on_refused` is the router's."""

    def __init__(self, *, log: SignedLog, clock: Clock, table: LinkTable, trust: Trust) -> None:
        self.on_refused: Callable[[str], None] | None = None
        self._table = table
        self._trust = trust
        self._desk = CheckpointDesk(log, clock, keys=self._keys, tell=self._tell, alarm=self._alarm)

    def offer(self) -> None:
        """Send the newest checkpoint to every end for which it is due."""
        self._desk.offer([link.admitted.origin for link in self._table])

    def tick(self) -> None:
        """Count a second: what ends owe for longer than that is told."""
        self._desk.tick([link.admitted.origin for link in self._table])

    def connected(self, origin: str) -> None:
        """Begin anew with an end: its link is a new one."""
        self._desk.connected(origin)

    def is_refused(self, origin: str) -> bool:
        """Return whether an end is refused because its log contradicted itself."""
        return self._desk.is_refused(origin)

    def took(self, origin: str, message: LogMessage) -> None:
        """Take what an end says of its log, or of ours."""
        self._desk.take(origin, message)

    async def run(self) -> None:
        """Look at what ends say until cancelled."""
        await self._desk.run()

    async def look(self) -> None:
        """Look at what waits, now."""
        await self._desk.look()

    def _keys(self, origin: str) -> Sequence[str]:
        found = self._trust.federation.log_of(origin)
        return () if found is None else found[1].current

    def _tell(self, origin: str, message: LogMessage) -> None:
        for link in self._table:
            if link.admitted.origin == origin:
                frame = link_pb2.LinkFrame()
                getattr(frame, kind_of(message)).CopyFrom(message)
                link.peer.send(frame)

    def _alarm(self, alarm: Alarm) -> None:
        METERING.alarmed(alarm.kind)
        if not alarm.is_refused:
            logger.error("checkpoint of `%s` is not good: %s", alarm.origin, alarm.text)
            return
        logger.critical(
            "CHECKPOINT CONTRADICTS ITS LOG: %s; `%s` is refused until `comity audit pardon` lifts that",
            alarm.text,
            alarm.origin,
        )
        if self.on_refused is not None:
            self.on_refused(alarm.origin)
