"""Receipts that this provider gave, kept as its own evidence beside the log's.

A receipt names the log entry that promises it, so it can't stand in that entry. It is kept without
anybody waiting for it: the requester and the broker hold the same bytes.
"""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy import Engine, insert
from sqlalchemy.exc import SQLAlchemyError

from comity.adapters.state import RECEIPTS
from comity.audit.entry import to_milliseconds
from comity.certs.clock import Clock
from comity.certs.envelope import digest
from comity.v1.envelope_pb2 import Envelope

LOGGER = logging.getLogger("comity.adapters")


class ReceiptArchive:
    """Writes receipts behind the exchanges, what gathered in one transaction."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._waiting: list[dict[str, str | bytes | int]] = []
        self._writer: asyncio.Task[None] | None = None

    def keep(self, exchange_id: bytes, requester: str, envelope: Envelope) -> None:
        """Have a receipt kept; returns at once."""
        self._waiting.append(
            {
                "exchange_id": exchange_id,
                "requester": requester,
                "digest": digest(envelope.payload),
                "envelope": envelope.SerializeToString(),
                "at_ms": to_milliseconds(self._clock()),
            }
        )
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def settled(self) -> None:
        """Wait until everything that was handed in is written, or could not be."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        """Write until nothing waits; what can't be written is told and given up."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write, batch)
            except SQLAlchemyError as error:
                LOGGER.error("%d receipts were not kept: %s", len(batch), type(error).__name__)

    def _write(self, batch: list[dict[str, str | bytes | int]]) -> None:
        """Insert a batch in one transaction."""
        with self._engine.begin() as connection:
            connection.execute(insert(RECEIPTS), batch)
