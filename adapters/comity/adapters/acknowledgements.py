"""What became of a receipt once it was signed: given out, acknowledged, or not (L1, L2).

The receipt is kept as evidence beside the entry `answered`. The requester acknowledges it with a signed
statement once its caller has the result; an acknowledgement that doesn't come in time is logged as missing.
Only receipts that were given out are waited for, so a requester can't fill the log with statements about
others. What was waited for when the adapter ended is waited for again after a restart.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from comity.adapters import records
from comity.adapters.beside import Beside
from comity.adapters.orders import FRESHNESS
from comity.adapters.path import Reply
from comity.adapters.receipts_open import OpenReceipt, SettledMark
from comity.audit.merkle import HASH_SIZE
from comity.certs.clock import Clock
from comity.certs.envelope import digest, open_envelope
from comity.certs.errors import EnvelopeInvalid
from comity.certs.roster import MemberView
from comity.v1.result_pb2 import Acknowledgement
from comity.v1.session_pb2 import AcknowledgementDelivery

LOGGER = logging.getLogger("comity.adapters")

PATIENCE: Final = timedelta(seconds=60)
"""How long after an exchange's deadline an acknowledgement is waited for: callers may read slowly."""

MAX_WAITING: Final = 100_000
"""Receipts that are waited for at a time; of the one that waited longest the log says that nothing came."""

MARK_TICKS: Final = 10
"""Every so many ticks the mark of what is settled is kept, as it was so many ticks before: the entries that
settle a receipt are written beside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """A receipt that was given out."""

    peer: str
    receipt: bytes
    """SHA-256 of its payload."""
    due: datetime
    since: int
    """How long the log was when it was given out, or less: its entry comes after."""


class Acknowledgements:
    """Receipts that were given out and are not acknowledged yet. Plain calls on the event loop."""

    def __init__(
        self,
        *,
        agency: str,
        member: Callable[[str], MemberView | None],
        beside: Beside,
        clock: Clock,
        log_size: Callable[[], int] = lambda: 0,
        mark: SettledMark | None = None,
        promised: Callable[[str, Acknowledgement, bytes], None] | None = None,
    ) -> None:
        """`member` returns a member of the roster in force, by its agency; `mark` is kept up to date.

        `promised` hears of each that verified: whose, what it says, and SHA-256 of its payload.
        """
        self._agency = agency
        self._member = member
        self._beside = beside
        self._clock = clock
        self._promised = promised
        self._given: dict[tuple[str, bytes], _Given] = {}
        self._dues: list[tuple[datetime, str, bytes]] = []
        self._log_size = log_size
        self._mark = mark
        self._ticks = 0
        self._settled = 0 if mark is None else mark.index

    def __len__(self) -> int:
        """Return how many receipts are waited for."""
        return len(self._given)

    def answered(self, peer: str, reply: Reply) -> None:
        """Keep a receipt that is about to be given out, and wait for its acknowledgement."""
        now = self._clock()
        entry = records.answered(
            self._agency,
            peer,
            reply.exchange_id,
            reply.kind,
            reply.receipt,
            deadline=reply.deadline,
            at=now,
        )
        self._beside.write(entry)
        due = max(now, reply.deadline) + PATIENCE
        self._wait(peer, reply.exchange_id, digest(reply.receipt.payload), due, self._log_size())

    def take_up(self, receipts: Iterable[OpenReceipt]) -> None:
        """Wait for what was waited for when the adapter ended: what is overdue by now is so at once.

        A clock that was set back meanwhile makes none of them wait longer than a fresh one would.
        """
        latest = self._clock() + FRESHNESS + PATIENCE
        for one in receipts:
            due = min(one.deadline + PATIENCE, latest)
            self._wait(one.peer, one.exchange_id, one.receipt, due, one.index)

    def _wait(self, peer: str, exchange_id: bytes, receipt: bytes, due: datetime, since: int) -> None:
        if len(self._given) >= MAX_WAITING:
            self._missing(next(iter(self._given)))
        self._given[peer, exchange_id] = _Given(peer=peer, receipt=receipt, due=due, since=since)
        heapq.heappush(self._dues, (due, peer, exchange_id))

    def cancelled(self, peer: str, exchange_id: bytes) -> None:
        """Wait no more for an exchange that ended before all of it was sent: the log says that already."""
        self._given.pop((peer, exchange_id), None)

    def came(self, peer: str, delivery: AcknowledgementDelivery) -> None:
        """Take what the session with `peer` delivered: logged if it is that agency's word on our receipt."""
        given = self._given.get((peer, delivery.exchange_id))
        member = self._member(peer)
        if given is None or member is None:
            return
        now = self._clock()
        try:
            opened = open_envelope(
                delivery.acknowledgement, Acknowledgement, member.key_set.statement_keys_at(now)
            )
        except EnvelopeInvalid as error:
            LOGGER.warning("an acknowledgement of `%s` does not verify: %s", peer, error)
            return
        said = opened.message
        if len(said.promise.leaf_hash) != HASH_SIZE:
            LOGGER.warning("an acknowledgement of `%s` names no entry of its log", peer)
            return
        if (said.exchange_id, said.requester, said.provider, said.receipt_digest) != (
            delivery.exchange_id,
            peer,
            self._agency,
            given.receipt,
        ):
            LOGGER.warning("an acknowledgement of `%s` is not about the receipt that it was given", peer)
            return
        del self._given[peer, delivery.exchange_id]
        if self._promised is not None:
            self._promised(peer, said, digest(delivery.acknowledgement.payload))
        self._beside.write(
            records.acknowledged(
                self._agency,
                peer,
                delivery.exchange_id,
                said,
                acknowledgement=delivery.acknowledgement,
                at=now,
            )
        )

    def tick(self) -> None:
        """Log as missing what should have come by now."""
        now = self._clock()
        while self._dues and self._dues[0][0] <= now:
            due, peer, exchange_id = heapq.heappop(self._dues)
            given = self._given.get((peer, exchange_id))
            if given is not None and given.due == due:
                self._missing((peer, exchange_id))
        self._ticks += 1
        if self._ticks % MARK_TICKS == 0 and self._mark is not None:
            self._beside.start(asyncio.to_thread(self._mark.keep, self._settled))
            first = next(iter(self._given.values()), None)
            self._settled = self._log_size() if first is None else first.since

    def _missing(self, key: tuple[str, bytes]) -> None:
        given = self._given.pop(key)
        entry = records.unacknowledged(self._agency, given.peer, key[1], given.receipt, self._clock())
        self._beside.write(entry)
