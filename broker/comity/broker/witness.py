"""Checkpoints with every end: a log that was rewritten, shortened or forked is caught by its peers.

What arrives is verified and logged in a task of its own, so that no record of a session waits for it;
what leaves is damped (`PeerCheckpoints.due`), so that two ends don't log each other's checkpoints of
checkpoints for ever.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from comity.audit.errors import AuditError
from comity.audit.peers import PeerCheckpoints
from comity.broker.table import LinkTable
from comity.broker.trust import Trust
from comity.certs.errors import UnknownLog
from comity.v1 import audit_pb2, link_pb2

logger = logging.getLogger("comity.broker")

PACE_SECONDS: Final = 0.5
"""How long to wait between two looks, so that an end can't fill the log with its checkpoints."""


class Witness:
    """Sends the broker's checkpoints to the ends and looks at theirs."""

    def __init__(self, *, checkpoints: PeerCheckpoints, table: LinkTable, trust: Trust) -> None:
        self._checkpoints = checkpoints
        self._table = table
        self._trust = trust
        self._waiting: dict[str, tuple[str, bytes]] = {}
        self._wake = asyncio.Event()

    def offer(self) -> None:
        """Send the newest checkpoint to every end for which it is due."""
        for link in self._table:
            note = self._checkpoints.due(link.admitted.origin)
            if note is not None:
                link.peer.send(link_pb2.LinkFrame(checkpoint=audit_pb2.Checkpoint(note=note)))

    def forget(self, origin: str) -> None:
        """Begin anew with an end: its link is a new one."""
        self._checkpoints.forget(origin)

    def saw(self, agency: str, origin: str, note: bytes) -> None:
        """Take an end's checkpoint, in the place of one of the same log that still waits."""
        self._waiting[origin] = (agency, note)
        self._wake.set()

    async def run(self) -> None:
        """Look at checkpoints until cancelled."""
        while True:
            await self._wake.wait()
            await self.look()
            await asyncio.sleep(PACE_SECONDS)

    async def look(self) -> None:
        """Verify and log what waits."""
        self._wake.clear()
        waiting, self._waiting = self._waiting, {}
        for origin, (agency, note) in waiting.items():
            await self._look(agency, origin, note)

    async def _look(self, agency: str, origin: str, note: bytes) -> None:
        member = self._trust.federation.members.get(agency)
        if member is None:
            return
        try:
            keys = member.key_set.log_key(origin).current
            await self._checkpoints.saw(origin, note, *keys)
        except (AuditError, UnknownLog) as error:
            logger.warning("checkpoint of `%s` is not good: %s", origin, error)
