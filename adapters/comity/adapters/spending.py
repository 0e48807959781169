"""What was asked within a day, so that a policy's budgets can be kept: by agency, by user, by plate.

A question is looked up before it is decided on, and spent once it was: whatever came of it, but not if a
budget turned it away, or it would push back the very instant that it was told. What is turned away before
a decision (a replay, a malformed query, an assertion that doesn't verify) spends nothing, so that only an
agency's own people can spend its budget. Neither takes an `await`: between the two nothing else runs.

Everything is kept under keyed hashes (HMAC-SHA-256, cut to 16 bytes; the key is made with the state
database and stays in it), never a plate, a user or a text in clear, and is dropped after a day. The rows are
written in the transaction that remembers the exchange, so they cost no write of their own, and they are
read back at a start. Counting is in memory: some 750 bytes for each question of the last day, of which an
agency has `MOST_A_DAY` at most: what it asks beyond is turned away before a decision. What was spent for a
decision that the log didn't take is given back.

A clock that steps back frees nothing. By up to a minute: the ledger waits at the later time. By more: what
then lies ahead counts as asked at this moment, so it is forgotten a day from now, and not when the clock
gets there.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from comity.adapters.errors import Crowded, RejectReason, StateUnwritable
from comity.adapters.replay import Write
from comity.adapters.state import SPENDING_KEY, SPENT
from comity.audit.entry import to_milliseconds
from comity.certs.clock import Clock
from comity.policy.budgets import Budget, Scope, Spent

KEY_BYTES: Final = 32
HASH_BYTES: Final = 16
STEP_MS: Final = 60_000
"""The clock may step back by so much without anything being dated anew; and so often the past is dropped."""
MOST_A_DAY: Final = 200_000
"""Questions of one agency within a day that are remembered, each other reading of a plate counted as one."""

_DAY_MS: Final = 24 * 3_600_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was asked before one question, and under which hashes the question itself is spent."""

    at_ms: int
    agency: bytes = field(repr=False)
    user: bytes = field(repr=False)
    text: bytes = field(repr=False)
    plates: tuple[bytes, ...] = field(repr=False)
    """Of the plate first, then of its other readings."""
    spent: Spent
    text_plates: int
    """Plates for which this user gave this text within a day, this one among them."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question of the last day."""

    at_ms: int
    agency: bytes
    user: bytes
    text: bytes
    plates: tuple[bytes, ...]

    def counted(self) -> Iterable[bytes]:
        """Yield under which hashes it counts, as often as it does."""
        for plate in self.plates:
            yield self.agency
            yield self.user
            yield plate


class Spending:
    """The ledger of one adapter. Plain calls on the event loop."""

    def __init__(self, engine: Engine, *, clock: Clock, most_a_day: int = MOST_A_DAY) -> None:
        """Take the database of `open_state`, with what was asked within a day; raise `StateUnwritable`."""
        self._engine = engine
        self._clock = clock
        self._most_a_day = most_a_day
        self._times: dict[bytes, list[int]] = {}
        self._texts: dict[bytes, dict[bytes, int]] = {}
        self._asked: deque[_Asked] = deque()
        self._latest = to_milliseconds(clock())
        self._dropped = 0
        self._dated_anew = False
        try:
            with engine.begin() as connection:
                self._key = _key(connection)
                self._read(connection)
        except SQLAlchemyError as error:
            raise StateUnwritable("budgets: the state database can't be read") from error

    def __len__(self) -> int:
        """Return how many questions are remembered."""
        return len(self._asked)

    def look(self, *, agency: str, user: str, plates: Sequence[str], likeness: str) -> Looked:
        """Return what `agency` asked before a question; raise `Crowded` if it asked all that is remembered.

        Args:
            agency: Who asks, as its session's TLS and the order's signature say.
            user: Whom it vouches for.
            plates: The folded plate, then the other readings that are searched.
            likeness: Of the free text (`comity.policy.reasons`).
        """
        now = self._now()
        of_agency, of_user = self._hash("agency", agency), self._hash("user", agency, user)
        text = self._hash("text", agency, user, likeness)
        of_plates = tuple(self._hash("plate", agency, plate) for plate in plates)
        hour, day = now - 3_600_000, now - _DAY_MS
        if self._since(of_agency, day) + len(of_plates) > self._most_a_day:
            raise Crowded(RejectReason.CROWDED_DAY)
        spent = Spent(
            agency_hour=self._since(of_agency, hour),
            agency_day=self._since(of_agency, day),
            user_hour=self._since(of_user, hour),
            user_day=self._since(of_user, day),
            plate_hour=max(self._since(plate, hour) for plate in of_plates),
            plate_day=max(self._since(plate, day) for plate in of_plates),
        )
        return Looked(
            at_ms=now,
            agency=of_agency,
            user=of_user,
            text=text,
            plates=of_plates,
            spent=spent,
            text_plates=self._text_plates(text, of_plates[0], day),
        )

    def spend(self, looked: Looked) -> Write:
        """Count a question from now on; return what writes it down."""
        asked = _Asked(looked.at_ms, looked.agency, looked.user, looked.text, looked.plates)
        self._count(asked)
        dated_anew, self._dated_anew = self._dated_anew, False
        drop = looked.at_ms - self._dropped >= STEP_MS
        if drop:
            self._dropped = looked.at_ms
            self._drop(looked.at_ms - _DAY_MS)

        def write(connection: Connection) -> None:
            if dated_anew:
                ahead = update(SPENT).where(SPENT.c.at_ms > asked.at_ms)
                connection.execute(ahead.values(at_ms=asked.at_ms))
            if drop:
                connection.execute(delete(SPENT).where(SPENT.c.at_ms <= asked.at_ms - _DAY_MS))
            connection.execute(
                insert(SPENT),
                {
                    "at_ms": asked.at_ms,
                    "agency": asked.agency,
                    "user": asked.user,
                    "text": asked.text,
                    "plates": b"".join(asked.plates),
                },
            )

        return write

    async def take_back(self, looked: Looked, *, after: asyncio.Task[None]) -> None:
        """Count a question no more, since its decision isn't in the log; raise `StateUnwritable`.

        In memory at once; on disk once `after`, which writes the question down, is through.
        """
        self._uncount(looked)
        await asyncio.wait([after])
        if after.cancelled() or after.exception() is not None:
            return  # it was not written down
        last = (
            select(SPENT.c.id)
            .where(
                SPENT.c.agency == looked.agency,
                SPENT.c.user == looked.user,
                SPENT.c.text == looked.text,
                SPENT.c.plates == b"".join(looked.plates),
                SPENT.c.at_ms <= looked.at_ms,
            )
            .order_by(SPENT.c.id.desc())
            .limit(1)
        )

        def write() -> None:
            with self._engine.begin() as connection:
                connection.execute(delete(SPENT).where(SPENT.c.id == last.scalar_subquery()))

        try:
            await asyncio.to_thread(write)
        except SQLAlchemyError as error:
            raise StateUnwritable("budgets: the state database can't be written") from error

    def fits_at(self, looked: Looked, budgets: Sequence[Budget]) -> datetime:
        """Return from when on a question fits into budgets that it exceeds, if nothing else is asked."""
        instants = [looked.at_ms]
        for budget in budgets:
            span = budget.span.length // timedelta(milliseconds=1)
            keys = {Scope.AGENCY: (looked.agency,), Scope.USER: (looked.user,), Scope.PLATE: looked.plates}
            left = budget.most - budget.costs(len(looked.plates))
            for key in keys[budget.scope]:
                times = self._times.get(key, [])
                if len(times) > left >= 0:
                    instants.append(times[len(times) - left - 1] + span)
        return _EPOCH + timedelta(milliseconds=max(instants))

    def _now(self) -> int:
        """Return the time that counts: it never goes back by little, and what lies ahead is dated anew."""
        now = to_milliseconds(self._clock())
        if now < self._latest <= now + STEP_MS:
            return self._latest
        if now < self._latest:
            self._date_anew(now)
        self._latest = now
        return now

    def _date_anew(self, now: int) -> None:
        """Take what lies ahead, since the clock stepped back, as asked now."""
        self._dated_anew = True
        self._dropped = min(self._dropped, now)
        for times in self._times.values():
            ahead = bisect_right(times, now)
            times[ahead:] = [now] * (len(times) - ahead)
        for plates in self._texts.values():
            for plate, at_ms in plates.items():
                plates[plate] = min(at_ms, now)
        self._asked = deque(
            _Asked(min(one.at_ms, now), one.agency, one.user, one.text, one.plates) for one in self._asked
        )

    def _since(self, key: bytes, instant: int) -> int:
        """Return how often was asked after an instant."""
        times = self._times.get(key)
        return 0 if times is None else len(times) - bisect_right(times, instant)

    def _text_plates(self, text: bytes, plate: bytes, since: int) -> int:
        """Return for how many plates a text was given after an instant, `plate` counted in."""
        plates = self._texts.get(text)
        if plates is None:
            return 1
        while plates and plates[oldest := next(iter(plates))] <= since:
            del plates[oldest]
        return len(plates) + (plate not in plates)

    def _count(self, asked: _Asked) -> None:
        for key in asked.counted():
            self._times.setdefault(key, []).append(asked.at_ms)
        plates = self._texts.setdefault(asked.text, {})
        plates.pop(asked.plates[0], None)  # so that the oldest stays first
        plates[asked.plates[0]] = asked.at_ms
        self._asked.append(asked)

    def _uncount(self, looked: Looked) -> None:
        """Take the last question of these hashes out of memory, if it is still there."""
        same = (looked.agency, looked.user, looked.text, looked.plates)
        for place in range(len(self._asked) - 1, -1, -1):
            asked = self._asked[place]
            if (asked.agency, asked.user, asked.text, asked.plates) == same:
                break
        else:
            return
        del self._asked[place]
        for key in asked.counted():
            times = self._times.get(key, [])
            first = bisect_left(times, asked.at_ms)
            if times[first : first + 1] == [asked.at_ms]:
                del times[first]
            if not times:
                self._times.pop(key, None)
        self._texts.pop(asked.text, None)
        for one in self._asked:
            if one.text == asked.text:
                plates = self._texts.setdefault(one.text, {})
                plates.pop(one.plates[0], None)
                plates[one.plates[0]] = one.at_ms

    def _drop(self, until: int) -> None:
        """Forget what was asked until an instant."""
        while self._asked and self._asked[0].at_ms <= until:
            asked = self._asked.popleft()
            for key in set(asked.counted()):
                times = self._times.get(key, [])
                del times[: bisect_right(times, until)]
                if not times:
                    self._times.pop(key, None)
            plates = self._texts.get(asked.text, {})
            if plates.get(asked.plates[0], until + 1) <= until:
                del plates[asked.plates[0]]
            if not plates:
                self._texts.pop(asked.text, None)

    def _hash(self, *parts: str) -> bytes:
        """Return the keyed hash of texts, each with its length before it."""
        data = b"".join(b"%d:%s" % (len(part), part) for part in (text.encode() for text in parts))
        return hmac.digest(self._key, data, "sha256")[:HASH_BYTES]

    def _read(self, connection: Connection) -> None:
        columns = (SPENT.c.at_ms, SPENT.c.agency, SPENT.c.user, SPENT.c.text, SPENT.c.plates)
        rows = select(*columns).where(SPENT.c.at_ms > self._latest - _DAY_MS).order_by(SPENT.c.at_ms)
        for at_ms, agency, user, text, plates in connection.execute(rows):
            parts = tuple(plates[place : place + HASH_BYTES] for place in range(0, len(plates), HASH_BYTES))
            self._dated_anew = self._dated_anew or at_ms > self._latest
            self._count(_Asked(min(at_ms, self._latest), agency, user, text, parts))


def _key(connection: Connection) -> bytes:
    """Return the key of the hashes, made when it is first asked for."""
    found = connection.execute(select(SPENDING_KEY.c.key)).scalar_one_or_none()
    if found is not None:
        return bytes(found)
    key = secrets.token_bytes(KEY_BYTES)
    connection.execute(insert(SPENDING_KEY), {"id": 1, "key": key})
    return key
