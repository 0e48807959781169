"""Every order is served once: what was seen stays known for the freshness window, across restarts.

Without this a captured question could be asked again until somebody notices. The key is (agency,
exchange id) and never the envelope's bytes: an ECDSA signature `(r, s)` can be re-encoded as
`(r, n - s)` by anybody, and the same order under other bytes is still a replay.

What arrives while a write is under way joins the next one, so a burst costs one transaction.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import (
    Column,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from comity.adapters.errors import Replayed, StateUnwritable
from comity.certs.clock import Clock

_metadata = MetaData()
_seen = Table(
    "seen_exchanges",
    _metadata,
    Column("agency", String(32), primary_key=True),
    Column("exchange_id", LargeBinary(16), primary_key=True),
    Column("until_ms", Integer, nullable=False, index=True),
)


@dataclass(slots=True)
class _Batch:
    """Rows that are written together, and the task that writes them."""

    rows: list[dict[str, str | bytes | int]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class ReplayGuard:
    """Admits each (agency, exchange id) once; what it admitted is durable before it says so."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        """Wrap a database; call `open` for an adapter's own `state.db`."""
        self._engine = engine
        self._clock = clock
        self._known: dict[tuple[str, bytes], int] = {}
        self._gathering = _Batch()
        self._writing = asyncio.Lock()

    @classmethod
    def open(cls, path: Path, *, clock: Clock) -> ReplayGuard:
        """Return the guard over the SQLite file at `path`, with all that is still in its window.

        Raises `StateUnwritable` if the file can't be read or its table can't be made.
        """
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 5.0})
        event.listen(engine, "connect", _durable)
        guard = cls(engine, clock=clock)
        try:
            _metadata.create_all(engine)
            with engine.connect() as connection:
                rows = connection.execute(
                    select(_seen.c.agency, _seen.c.exchange_id, _seen.c.until_ms)
                    .where(_seen.c.until_ms > _milliseconds(clock()))
                    .order_by(_seen.c.until_ms)
                ).all()
        except SQLAlchemyError as error:
            raise StateUnwritable("replay protection: the state database can't be opened") from error
        guard._known = {(str(agency), bytes(exchange)): int(until) for agency, exchange, until in rows}
        return guard

    async def admit(self, agency: str, exchange_id: bytes, *, until: datetime) -> None:
        """Remember the exchange until `until`, durably, or raise `Replayed` if it was seen before.

        Raises `StateUnwritable` if it can't be written; the exchange then still counts as seen. Of two calls
        for one exchange in the same turn of the loop, one is refused.
        """
        key = (agency, exchange_id)
        if key in self._known:
            raise Replayed
        self._known[key] = _milliseconds(until)
        batch = self._gathering
        batch.rows.append({"agency": agency, "exchange_id": exchange_id, "until_ms": _milliseconds(until)})
        if batch.task is None:
            batch.task = asyncio.get_running_loop().create_task(self._commit(batch))
        await asyncio.shield(batch.task)

    def close(self) -> None:
        """Give the database's files back."""
        self._engine.dispose()

    async def _commit(self, batch: _Batch) -> None:
        """Write one batch when the write before it is through; what arrives until then joins it."""
        async with self._writing:
            self._gathering = _Batch()
            now = _milliseconds(self._clock())
            try:
                await asyncio.to_thread(self._write, batch.rows, now)
            except SQLAlchemyError as error:
                raise StateUnwritable("replay protection: the state database can't be written") from error
            self._forget(now)

    def _forget(self, now: int) -> None:
        """Drop the oldest exchanges from memory as far as they left their window."""
        while self._known and self._known[(oldest := next(iter(self._known)))] <= now:
            del self._known[oldest]

    def _write(self, rows: list[dict[str, str | bytes | int]], now: int) -> None:
        """Insert `rows` and drop what left its window, in one transaction."""
        with self._engine.begin() as connection:
            connection.execute(delete(_seen).where(_seen.c.until_ms <= now))
            connection.execute(insert(_seen), rows)


def _durable(connection: object, _record: object) -> None:
    """Set a fresh SQLite connection to write-ahead mode with a sync at every commit."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _milliseconds(moment: datetime) -> int:
    """Return a time as milliseconds since 1970, UTC."""
    return int(moment.timestamp() * 1000)
