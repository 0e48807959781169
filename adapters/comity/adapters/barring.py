"""Who may not ask here: users whom this provider suspended, and users whose agency ended their access (Q8).

Refusals for want of authorization are counted for each (agency, user) as the policy in force says
(`comity.policy.suspension`). What is counted, who is suspended and what agencies decided is on disk before
anybody is told, and known again after a restart. The tables name nobody: a person stands there as
HMAC-SHA256 of (agency, user) under a key of this database, which links what is known of one person and is no
protection against somebody who has the database. A notice names its user until the agency noted it.

Everything that bars takes effect in memory at once and stays there if the disk fails; what gives access back
takes effect once it is on disk.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from comity.adapters.errors import StateUnwritable
from comity.adapters.state import NOTICES, REFUSED, SUBJECT_KEY, SUSPENDED, USER_ACTS
from comity.audit.entry import from_milliseconds, to_milliseconds
from comity.certs.user_acts import UserAct
from comity.policy.facts import Barred
from comity.policy.suspension import Returns, SuspensionTerms

MOST_SUBJECTS: Final = 100_000
"""People whose refusals are counted in memory at a time; beyond them the longest unrefused are dropped."""

Person = bytes
"""HMAC-SHA256 of (agency, user)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """One person's suspension here."""

    since: datetime
    until: datetime | None
    """End of its length; None: it has none."""
    returns: Returns
    refusals: int
    window: timedelta
    recertified: bool = False
    """Whether the agency readmitted the person after recertification; counts where both are needed."""

    def is_over(self, now: datetime) -> bool:
        """Return whether it has ended by its length."""
        passed = self.until is not None and now >= self.until
        match self.returns:
            case Returns.RECERTIFICATION:
                return False
            case Returns.LENGTH | Returns.EITHER:
                return passed
            case Returns.BOTH:
                return passed and self.recertified

    @property
    def text(self) -> str:
        """What the person is told."""
        hours = self.window // timedelta(hours=1)
        within = f"{hours} hour{'s' * (hours != 1)}"
        by_act = "by a signed act of your agency after recertification"
        at = "" if self.until is None else f"{self.until:%Y-%m-%d %H:%M} UTC"
        how = {
            Returns.RECERTIFICATION: by_act,
            Returns.LENGTH: f"at {at}",
            Returns.EITHER: f"at {at}, or before {by_act}",
            Returns.BOTH: f"{by_act}, at {at} at the earliest",
        }[self.returns]
        return (
            f"access is suspended here since {self.since:%Y-%m-%d %H:%M} UTC, after {self.refusals} refusals "
            f"for want of authorization within {within} (Q8): it returns {how}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A signed notice that its agency has not noted yet."""

    digest: bytes
    agency: str
    envelope: bytes = field(repr=False)
    is_logged: bool = False


Sign = Callable[["Suspension", tuple[bytes, ...]], Notice]
"""Gives the signed notice of a suspension and of the exchanges that led to it."""


@dataclass(slots=True, kw_only=True)
class _Act:
    """The last act about a person."""

    terminates: bool
    given_at: datetime
    digest: bytes


class Barring:
    """The tables of `open_state` that say who may not ask. Reads are from memory, on the event loop."""

    def __init__(self, engine: Engine) -> None:
        """Take the database of `open_state`; raise `StateUnwritable` if it can't be read."""
        self._engine = engine
        self._writing = asyncio.Lock()
        self._refusals: dict[Person, list[tuple[datetime, bytes]]] = {}
        self._suspended: dict[Person, Suspension] = {}
        self._acts: dict[Person, _Act] = {}
        self._kept: set[bytes] = set()
        """Digests of acts that are on disk and logged."""
        self._notices: dict[bytes, Notice] = {}
        try:
            with engine.begin() as connection:
                self._key = _key(connection)
                self._read(connection)
        except SQLAlchemyError as error:
            raise StateUnwritable("suspensions: the state database can't be read") from error

    # -- who may not ask ------------------------------------------------------------------------

    def barred(self, agency: str, user: str, now: datetime) -> Barred | None:
        """Return why a user may not ask here now; None: nothing bars them."""
        person = self._person(agency, user)
        act = self._acts.get(person)
        if act is not None and act.terminates:
            text = (
                f"your agency ended your access at {act.given_at:%Y-%m-%d %H:%M} UTC (Q8): it returns by a "
                "later signed act of your agency"
            )
            return Barred(by="termination", text=text)
        suspension = self._suspended.get(person)
        if suspension is not None and not suspension.is_over(now):
            return Barred(by="suspension", text=suspension.text)
        return None

    # -- suspension -----------------------------------------------------------------------------

    async def refused(
        self, agency: str, user: str, exchange_id: bytes, terms: SuspensionTerms, now: datetime, sign: Sign
    ) -> Notice | None:
        """Count a refusal for want of authorization, durably; not while the person is suspended.

        Returns the notice of the suspension that it leads to, of the exchanges that were refused, oldest
        first; both are on disk, and the person is barred from the call on. Raises `StateUnwritable`; the
        refusal counts all the same until the process ends.
        """
        person = self._person(agency, user)
        known = self._suspended.get(person)
        if known is not None and not known.is_over(now):
            return None
        since = now - terms.window
        found = [entry for entry in self._refusals.pop(person, []) if entry[0] > since]
        found.append((now, exchange_id))
        self._refusals[person] = found  # the last one: the first is the longest unrefused
        while len(self._refusals) > MOST_SUBJECTS:
            del self._refusals[next(iter(self._refusals))]
        row = {"person": person, "at_ms": to_milliseconds(now), "exchange_id": exchange_id}
        before = to_milliseconds(since)

        def count(connection: Connection) -> None:
            connection.execute(delete(REFUSED).where(REFUSED.c.at_ms <= before))
            connection.execute(insert(REFUSED), [row])

        if len(found) < terms.refusals:
            await self._write(count)
            return None
        suspension = Suspension(
            since=now,
            until=None if terms.length is None else now + terms.length,
            returns=terms.returns,
            refusals=len(found),
            window=terms.window,
        )
        self._suspended[person] = suspension
        del self._refusals[person]
        notice = sign(suspension, tuple(each for _, each in found))
        self._notices[notice.digest] = notice
        told = {"digest": notice.digest, "agency": agency, "envelope": notice.envelope, "logged": False}

        def suspend(connection: Connection) -> None:
            connection.execute(delete(REFUSED).where(REFUSED.c.person == person))
            connection.execute(delete(SUSPENDED).where(SUSPENDED.c.person == person))
            connection.execute(insert(SUSPENDED), [_suspended_row(person, suspension)])
            connection.execute(insert(NOTICES), [told])

        await self._write(suspend)
        return notice

    def unlogged(self) -> list[Notice]:
        """Return the notices that are not in the log: the process ended between disk and log."""
        return [notice for notice in self._notices.values() if not notice.is_logged]

    async def notice_logged(self, notice: Notice) -> None:
        """A notice is in the log, and may go to its agency; raise `StateUnwritable`."""
        self._notices[notice.digest] = replace(notice, is_logged=True)
        change = update(NOTICES).where(NOTICES.c.digest == notice.digest).values(logged=True)
        await self._write(lambda connection: connection.execute(change))

    def notices(self, agency: str) -> list[Notice]:
        """Return the logged notices that an agency has not noted, oldest first."""
        return [each for each in self._notices.values() if each.agency == agency and each.is_logged]

    async def noted(self, agency: str, digests: Sequence[bytes]) -> None:
        """Forget notices that their own agency noted; raise `StateUnwritable`."""
        told = [each for each in digests if each in self._notices and self._notices[each].agency == agency]
        for each in told:
            del self._notices[each]
        if told:
            gone = delete(NOTICES).where(NOTICES.c.digest.in_(told))
            await self._write(lambda connection: connection.execute(gone))

    # -- what agencies decide -------------------------------------------------------------------

    def knows(self, digest: bytes) -> bool:
        """Return whether this very act is some person's last one, on disk and logged."""
        return digest in self._kept

    def is_stale(self, act: UserAct) -> bool:
        """Return whether the person's last act is another one that is no older."""
        known = self._acts.get(self._person(act.agency, act.user))
        return known is not None and known.digest != act.digest and known.given_at >= act.given_at

    def bar(self, act: UserAct) -> None:
        """Let a termination take effect in memory, at once; of a readmission nothing happens yet."""
        if act.terminates:
            self._acts[self._person(act.agency, act.user)] = _Act(
                terminates=True, given_at=act.given_at, digest=act.digest
            )

    async def keep_act(self, act: UserAct) -> bool | None:
        """Put an act on disk and into force; return whether it ended a suspension.

        None: a later one came first, so it is neither kept nor to be logged. Raises `StateUnwritable`.
        """
        person = self._person(act.agency, act.user)
        row = {
            "person": person,
            "terminates": act.terminates,
            "given_ms": to_milliseconds(act.given_at),
            "digest": act.digest,
            "logged": False,
        }
        async with self._writing:
            if self.is_stale(act):
                return None
            suspension = self._suspended.get(person)
            left = _after(suspension, act)

            def keep(connection: Connection) -> None:
                connection.execute(delete(USER_ACTS).where(USER_ACTS.c.person == person))
                connection.execute(insert(USER_ACTS), [row])
                if left is not suspension:
                    connection.execute(delete(SUSPENDED).where(SUSPENDED.c.person == person))
                    if left is not None:
                        connection.execute(insert(SUSPENDED), [_suspended_row(person, left)])
                if suspension is not None and left is None:
                    connection.execute(delete(REFUSED).where(REFUSED.c.person == person))

            await self._put(keep)
            if not self.is_stale(act):  # a later termination may have been read while this one was written
                self._acts[person] = _Act(terminates=act.terminates, given_at=act.given_at, digest=act.digest)
            if suspension is self._suspended.get(person) and left is not suspension:
                if left is None:
                    del self._suspended[person]
                    self._refusals.pop(person, None)
                else:
                    self._suspended[person] = left
        return suspension is not None and left is None

    async def act_logged(self, act: UserAct) -> None:
        """An act is in the log too: when it is sent again, it is known. Raises `StateUnwritable`."""
        known = self._acts.get(self._person(act.agency, act.user))
        if known is not None and known.digest == act.digest:
            self._kept.add(act.digest)
        change = update(USER_ACTS).where(USER_ACTS.c.digest == act.digest).values(logged=True)
        await self._write(lambda connection: connection.execute(change))

    # -- the database ---------------------------------------------------------------------------

    def _person(self, agency: str, user: str) -> Person:
        return hmac.digest(self._key, f"{agency}\0{user}".encode(), "sha256")

    def _read(self, connection: Connection) -> None:
        for row in connection.execute(select(REFUSED).order_by(REFUSED.c.id)):
            entry = (from_milliseconds(int(row.at_ms)), bytes(row.exchange_id))
            self._refusals.setdefault(bytes(row.person), []).append(entry)
        for row in connection.execute(select(SUSPENDED)):
            self._suspended[bytes(row.person)] = Suspension(
                since=from_milliseconds(int(row.since_ms)),
                until=None if row.until_ms is None else from_milliseconds(int(row.until_ms)),
                returns=Returns(row.returns),
                refusals=int(row.refusals),
                window=timedelta(seconds=int(row.window_seconds)),
                recertified=bool(row.recertified),
            )
        for row in connection.execute(select(USER_ACTS)):
            self._acts[bytes(row.person)] = _Act(
                terminates=bool(row.terminates),
                given_at=from_milliseconds(int(row.given_ms)),
                digest=bytes(row.digest),
            )
            if row.logged:
                self._kept.add(bytes(row.digest))
        for row in connection.execute(select(NOTICES).order_by(NOTICES.c.id)):
            digest = bytes(row.digest)
            self._notices[digest] = Notice(
                digest=digest,
                agency=str(row.agency),
                envelope=bytes(row.envelope),
                is_logged=bool(row.logged),
            )

    async def _write(self, work: Callable[[Connection], object]) -> None:
        async with self._writing:
            await self._put(work)

    async def _put(self, work: Callable[[Connection], object]) -> None:
        """Write while `_writing` is held."""

        def write() -> None:
            with self._engine.begin() as connection:
                work(connection)

        try:
            await asyncio.to_thread(write)
        except SQLAlchemyError as error:
            raise StateUnwritable("suspensions: the state database can't be written") from error


def _after(suspension: Suspension | None, act: UserAct) -> Suspension | None:
    """Return what an act leaves of a suspension: only what is later ends it, and as the policy says."""
    if suspension is None or act.terminates or act.recertified_at is None:
        return suspension
    if act.given_at <= suspension.since or act.recertified_at <= suspension.since:
        return suspension
    match suspension.returns:
        case Returns.RECERTIFICATION | Returns.EITHER:
            return None
        case Returns.LENGTH:
            return suspension
        case Returns.BOTH:
            return replace(suspension, recertified=True)


def _suspended_row(person: Person, suspension: Suspension) -> dict[str, object]:
    return {
        "person": person,
        "since_ms": to_milliseconds(suspension.since),
        "until_ms": None if suspension.until is None else to_milliseconds(suspension.until),
        "returns": suspension.returns.value,
        "refusals": suspension.refusals,
        "window_seconds": int(suspension.window.total_seconds()),
        "recertified": suspension.recertified,
    }


def _key(connection: Connection) -> bytes:
    """Return the key of this database, made when first it is needed."""
    found = connection.execute(select(SUBJECT_KEY.c.key)).scalar()
    if found is not None:
        return bytes(found)
    key = secrets.token_bytes(32)
    connection.execute(insert(SUBJECT_KEY), [{"id": 1, "key": key}])
    return key
