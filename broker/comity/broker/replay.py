"""Which exchange ids were placed lately: an order is served once.

Remembered as long as an order could still pass as fresh, under whatever signature and whichever
agency's name: an announcement names the exchange by its id alone, so the id must be one of its kind.
After a restart the memory comes back from the broker's own log, which holds every accepted order's
id and is on disk before anybody hears of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from comity.audit.entry import LoggedEntry, parse_entry
from comity.audit.tiles import TileFolder
from comity.broker.orders import REPLAY_MEMORY

_STEP: Final = 1024
"""Entries that are read at a time, from the newest backwards."""


class SeenExchanges:
    """Exchange ids with the time at which they were routed, oldest first."""

    def __init__(self, routed: Iterable[tuple[bytes, datetime]] = ()) -> None:
        self._seen: OrderedDict[bytes, datetime] = OrderedDict()
        for exchange_id, at in routed:
            self.add(exchange_id, at)

    def __len__(self) -> int:
        """Return how many ids are remembered."""
        return len(self._seen)

    def has(self, exchange_id: bytes, now: datetime) -> bool:
        """Whether the id was placed within `REPLAY_MEMORY` before `now`; forgets older ones."""
        while self._seen:
            oldest = next(iter(self._seen))
            if now - self._seen[oldest] <= REPLAY_MEMORY:
                break
            del self._seen[oldest]
        return exchange_id in self._seen

    def add(self, exchange_id: bytes, at: datetime) -> None:
        """Remember an id."""
        self._seen[exchange_id] = at
        self._seen.move_to_end(exchange_id)


def read_routed(folder: Path, *, size: int, now: datetime) -> list[tuple[bytes, datetime]]:
    """Return the exchange ids that the log in `folder` says were routed lately, oldest first.

    `size` is the log's published size. Reads backwards, and stops at entries that are twice as old as
    what must be remembered, because entries may stand a little out of the order of their times. Raises
    TileInvalid or EntryInvalid if the log is not what it was: then replay can't be ruled out.
    """
    tiles = TileFolder(folder)
    found: list[list[tuple[bytes, datetime]]] = []
    end = size
    while end > 0:
        start = max(0, end - _STEP)
        entries = [parse_entry(leaf) for _, leaf in tiles.all_entries(end, start)]
        found.append([routed for entry in entries if (routed := _routed(entry)) is not None])
        if all(now - entry.at > 2 * REPLAY_MEMORY for entry in entries):
            break
        end = start
    return [routed for chunk in reversed(found) for routed in chunk]


def _routed(entry: LoggedEntry) -> tuple[bytes, datetime] | None:
    if entry.kind != "routed" or entry.exchange is None:
        return None
    return entry.exchange, entry.at
