"""Every order is served once: what was seen stays known for the freshness window, across restarts.

Without this a captured question could be asked again until somebody notices. The key is (agency,
exchange id) and never the envelope's bytes: an ECDSA signature `(r, s)` can be re-encoded as
`(r, n - s)` by anybody, and the same order under other bytes is still a replay.

What arrives while a write is under way joins the next one, so a burst costs one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from comity.adapters.errors import Replayed, StateUnwritable
from comity.adapters.state import SEEN
from comity.audit.entry import to_milliseconds
from comity.certs.clock import Clock

Write = Callable[[Connection], None]
"""Something that is written in the same transaction."""


@dataclass(slots=True)
class _Batch:
    """Rows that are written together, and the task that writes them."""

    rows: list[dict[str, str | bytes | int]] = field(default_factory=list)
    beside: list[Write] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class ReplayGuard:
    """Admits each (agency, exchange id) once; what it admitted is durable before it says so."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        """Take the database of `open_state`, with all that is still in its window.

        Raises `StateUnwritable` if it can't be read.
        """
        self._engine = engine
        self._clock = clock
        self._known: dict[tuple[str, bytes], int] = {}
        self._gathering = _Batch()
        self._writing = asyncio.Lock()
        query = (
            select(SEEN.c.agency, SEEN.c.exchange_id, SEEN.c.until_ms)
            .where(SEEN.c.until_ms > to_milliseconds(clock()))
            .order_by(SEEN.c.until_ms)
        )
        try:
            with engine.connect() as connection:
                for agency, exchange_id, until in connection.execute(query):
                    self._known[(str(agency), bytes(exchange_id))] = int(until)
        except SQLAlchemyError as error:
            raise StateUnwritable("replay protection: the state database can't be read") from error

    def __len__(self) -> int:
        """Return how many exchanges are remembered in memory."""
        return len(self._known)

    async def admit(self, agency: str, exchange_id: bytes, *, until: datetime) -> None:
        """Claim and settle: remember the exchange until `until`, durably, or raise as these do."""
        self.claim(agency, exchange_id, until=until)
        await self.settle(agency, exchange_id, until=until)

    def claim(self, agency: str, exchange_id: bytes, *, until: datetime) -> None:
        """Remember the exchange until `until`, or raise `Replayed` if it was seen before.

        It isn't on the disk before `settle`. Of two calls for one exchange, one is refused.
        """
        key = (agency, exchange_id)
        if key in self._known:
            raise Replayed
        self._known[key] = to_milliseconds(until)

    async def settle(
        self, agency: str, exchange_id: bytes, *, until: datetime, beside: Write | None = None
    ) -> None:
        """Make a claimed exchange durable, and what `beside` writes in one transaction with it.

        Raises `StateUnwritable` if it can't be written; the exchange then still counts as seen.
        """
        batch = self._gathering
        batch.rows.append({"agency": agency, "exchange_id": exchange_id, "until_ms": to_milliseconds(until)})
        if beside is not None:
            batch.beside.append(beside)
        if batch.task is None:
            batch.task = asyncio.get_running_loop().create_task(self._commit(batch))
        await asyncio.shield(batch.task)

    async def _commit(self, batch: _Batch) -> None:
        """Write one batch when the write before it is through; what arrives until then joins it."""
        async with self._writing:
            self._gathering = _Batch()
            now = to_milliseconds(self._clock())
            try:
                await asyncio.to_thread(self._write, batch, now)
            except SQLAlchemyError as error:
                raise StateUnwritable("replay protection: the state database can't be written") from error
            self._forget(now)

    def _forget(self, now: int) -> None:
        """Drop the oldest exchanges from memory as far as they left their window."""
        while self._known and self._known[(oldest := next(iter(self._known)))] <= now:
            del self._known[oldest]

    def _write(self, batch: _Batch, now: int) -> None:
        """Insert the batch and drop what left its window, in one transaction."""
        with self._engine.begin() as connection:
            connection.execute(delete(SEEN).where(SEEN.c.until_ms <= now))
            connection.execute(insert(SEEN), batch.rows)
            for write in batch.beside:
                write(connection)
