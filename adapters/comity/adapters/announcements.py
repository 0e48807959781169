"""What the broker announced: a question is taken only if the middle has its order on its books.

Announcement and question travel different ways, the one on the link and the other inside a session, so
a question waits a moment for its announcement. Memory is bounded: what nobody asks about leaves the list
when its deadline has passed, or when too many came after it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

from comity.certs.clock import Clock
from comity.certs.instants import to_instant
from comity.v1.link_pb2 import Announcement

MAX_WAITING: Final = 100_000
"""Announcements that are kept at most; the oldest go first."""


class Announcements:
    """Exchanges that the broker announced and whose deadline is still to come."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[bytes, tuple[datetime, Announcement, str]] = {}
        self._waiting: dict[bytes, list[asyncio.Future[None]]] = {}

    def add(self, announcement: Announcement, traceparent: str = "") -> None:
        """Take an announcement; one without a deadline, or past it, is as if it never came.

        `traceparent` is its frame's trace context.
        """
        try:
            deadline = to_instant(announcement, "deadline")
        except ValueError:
            return
        if deadline <= self._clock():
            return
        self._known.setdefault(announcement.exchange_id, (deadline, announcement, traceparent))
        self._forget()
        for waiter in self._waiting.pop(announcement.exchange_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Forget everything: the link is over, and its exchanges with it."""
        self._known.clear()

    async def wait(self, exchange_id: bytes, *, seconds: float) -> Announcement | None:
        """Return the announcement of an exchange, waiting up to `seconds` for it; `None`: it didn't come."""
        if exchange_id not in self._known:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(exchange_id, []).append(waiter)
            try:
                await asyncio.wait_for(waiter, seconds)
            except TimeoutError:
                return None
            finally:
                self._drop(exchange_id, waiter)
        found = self._known.get(exchange_id)
        return None if found is None else found[1]

    def traceparent(self, exchange_id: bytes) -> str:
        """Return the trace context that came with an announcement; empty if none did."""
        found = self._known.get(exchange_id)
        return "" if found is None else found[2]

    def _drop(self, exchange_id: bytes, waiter: asyncio.Future[None]) -> None:
        """Forget one who waited."""
        waiters = self._waiting.get(exchange_id, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._waiting.pop(exchange_id, None)

    def _forget(self) -> None:
        """Drop what is over, from the oldest on, and the oldest of too many."""
        now = self._clock()
        while self._known:
            exchange_id, (deadline, _, _) = next(iter(self._known.items()))
            if deadline > now and len(self._known) <= MAX_WAITING:
                return
            del self._known[exchange_id]
