"""Writes to the log what nobody waits for, batch by batch: notes, and the accounts of exchanges.

One append a turn carries all that gathered, so an fsync is shared by every exchange that ended
meanwhile. An account is signed only after its entry is on disk: while the log cannot be written,
accounts wait, and new orders are refused, so that what waits is bounded. Of notes that nobody waits for,
such as refusals, which a peer can cause at will, so many are kept and further ones are let go and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from comity.audit.entry import Entry
from comity.audit.errors import LogUnwritable
from comity.audit.log import Promise, SignedLog
from comity.broker.telemetry import METERING
from comity.links.telemetry.metrics import Stopwatch

logger = logging.getLogger("comity.broker")

RETRY_SECONDS: Final = 0.2
"""How long to wait before the log is tried again."""

MAX_NOTES: Final = 10_000
"""Notes that may wait to be written."""

Written = Callable[[Promise], None]
"""Called on the event loop once an entry is durable."""


class Scribe:
    """The one writer of entries that are not waited for."""

    def __init__(self, log: SignedLog) -> None:
        self._log = log
        self._waiting: list[tuple[Entry, Written | None]] = []
        self._lost = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def write(self, entry: Entry, written: Written | None = None) -> None:
        """Have an entry written; `written` is called once it is durable.

        One without `written` is let go when too much waits already.
        """
        if written is None and len(self._waiting) >= MAX_NOTES:
            self._lost += 1
            return
        self._waiting.append((entry, written))
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            await self._append(batch)
            if self._lost:
                logger.error("%d notes were not logged: too many waited", self._lost)
                self._lost = 0
            if not self._waiting:
                self._idle.set()

    async def settled(self) -> None:
        """Wait until everything that was handed in is durable."""
        await self._idle.wait()

    async def _append(self, batch: list[tuple[Entry, Written | None]]) -> None:
        failing, watch = False, Stopwatch()
        while True:
            try:
                promises = await self._log.append(*(entry for entry, _ in batch))
                METERING.appended(watch.seconds)
                break
            except LogUnwritable as error:
                if not failing:
                    logger.error("log cannot be written, accounts wait: %s", error)
                failing = True
                await asyncio.sleep(RETRY_SECONDS)
        if failing:
            logger.warning("log can be written again")
        for (_, written), promise in zip(batch, promises, strict=True):
            if written is not None:
                written(promise)
