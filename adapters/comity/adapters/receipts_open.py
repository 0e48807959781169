"""Receipts that were given out before a restart and whose end the log doesn't tell (L1, L2).

An adapter that was stopped, or killed, while receipts waited for their acknowledgement finds them in its
own log: `answered` without `acknowledged`, `unacknowledged` or `cancelled` after it. So that a long log isn't
read whole, the adapter keeps in its `state.db` up to which entry no receipt is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from comity.adapters.errors import StateUnwritable
from comity.adapters.orders import FRESHNESS
from comity.adapters.state import SETTLED
from comity.audit.entry import LoggedEntry, from_milliseconds, parse_entry
from comity.audit.tiles import TileFolder

_BEGINS: Final = "answered"
_ENDS: Final = ("acknowledged", "unacknowledged", "cancelled")
_KINDS: Final = tuple(f'"kind":"{kind}"'.encode() for kind in (_BEGINS, *_ENDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReceipt:
    """A receipt that was given out, and nothing more."""

    peer: str
    exchange_id: bytes
    receipt: bytes
    """SHA-256 of its payload."""
    deadline: datetime
    index: int
    """Its place in the log."""


class SettledMark:
    """Up to which entry of the log no receipt is open, in the adapter's `state.db`."""

    def __init__(self, engine: Engine) -> None:
        """Read the mark; 0 if there is none. Raises `StateUnwritable`."""
        self._engine = engine
        try:
            with engine.connect() as connection:
                self._kept = int(connection.execute(select(SETTLED.c.index)).scalar_one_or_none() or 0)
        except SQLAlchemyError as error:
            raise StateUnwritable("acknowledgements: the state database can't be read") from error

    @property
    def index(self) -> int:
        """The first entry that is to be read after a restart."""
        return self._kept

    def keep(self, index: int) -> None:
        """Write the mark if it is another than before. Raises `StateUnwritable`."""
        if index == self._kept:
            return
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(SETTLED))
                connection.execute(insert(SETTLED).values(id=1, index=index))
        except SQLAlchemyError as error:
            raise StateUnwritable("acknowledgements: the state database can't be written") from error
        self._kept = index


def read_open(folder: Path, *, size: int, start: int) -> list[OpenReceipt]:
    """Return the receipts that are open after the first `size` entries of a `log/` folder, oldest first.

    `start` is the mark; one beyond the log is of another log, and counts for nothing. Raises `TileInvalid`
    or `EntryInvalid` if the log is not what it was.
    """
    found: dict[tuple[str, bytes], OpenReceipt] = {}
    for index, leaf in TileFolder(folder).all_entries(size, start if start <= size else 0):
        if not any(kind in leaf for kind in _KINDS):
            continue
        entry = parse_entry(leaf)
        peer = entry.public.get("peer")
        if entry.exchange is None or not isinstance(peer, str):
            continue
        if entry.kind == _BEGINS:
            found[peer, entry.exchange] = _open(entry, peer, entry.exchange, index)
        elif entry.kind in _ENDS:
            found.pop((peer, entry.exchange), None)
    return list(found.values())


def _open(entry: LoggedEntry, peer: str, exchange: bytes, index: int) -> OpenReceipt:
    receipt, deadline = entry.public.get("receipt"), entry.public.get("deadline")
    return OpenReceipt(
        peer=peer,
        exchange_id=exchange,
        receipt=bytes.fromhex(receipt) if isinstance(receipt, str) else b"",
        deadline=_latest(entry.at, deadline if isinstance(deadline, int) else None),
        index=index,
    )


def _latest(at: datetime, deadline: int | None) -> datetime:
    """Return an exchange's deadline, or when it must have been if its entry doesn't tell."""
    if deadline is None:
        return at + FRESHNESS
    return min(from_milliseconds(deadline), at + FRESHNESS + timedelta(seconds=5))
