"""A run that forgets what is past its time, and the slow timer that begins one by itself (L5).

A run, each step durable before the next:

1. the clock is believable, or nothing is deleted;
2. the log gets `deleted`, stage `begun`: which kinds, how much, before when, why;
3. rows go, newest first, a batch at a time; what is held stays, also if the hold came meanwhile;
4. the file is rewritten, so that no byte of them is left in it;
5. the log gets `deleted`, stage `done`: what went, exactly; the write-ahead segments before it go.

A run that was interrupted goes on from 3, under its own name. No entry holds a private value.
"""

import asyncio
import fcntl
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from comity.audit.acts import Act
from comity.audit.canonical import JsonValue
from comity.audit.entry import Entry
from comity.audit.errors import AuditError, RetentionRefused
from comity.audit.keeping import CONTRACT, TIME, Extent, Keeper, Run, Survey
from comity.audit.log import SignedLog
from comity.audit.retention import Believable, Cutoffs, RetentionTerms, check_clock
from comity.certs.clock import Clock

STATE = "state.db"
LOCK = "retention.lock"
FIRST_LOOK = timedelta(minutes=1)
"""How long after its start an end first looks."""
RETRY = timedelta(hours=1)
"""How long after a run that failed the next is tried."""
_logger = logging.getLogger(__name__)

Enter = Callable[[Act], Awaitable[object]]
"""Enters an act in the end's log, durably; of kind `deleted` it also removes old write-ahead segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """One run: of which end, why, and what is due. `only`: these entries, at a contract's end with `peer`."""

    home: Path
    agency: str
    cutoffs: Cutoffs
    peer: str = ""
    only: Sequence[int] | None = field(default=None, repr=False)


async def forget(wanted: Forgetting, enter: Enter) -> Survey | None:
    """Delete what is due, and first what an interrupted run left; return what went, None if nothing was due.

    The caller has checked the clock. Raises `RetentionRefused` if another run is going on, and what `enter`
    and the state database raise: then the next run goes on.
    """
    keeper = Keeper(wanted.home / STATE)
    if not keeper.exists:
        return None
    with _only_one(wanted.home):
        gone: Survey | None = None
        pending = await asyncio.to_thread(keeper.pending)
        if pending is not None:
            gone = await _finish(keeper, pending, wanted.agency, enter)
        due = await asyncio.to_thread(keeper.survey, wanted.cutoffs, wanted.only)
        if due.is_empty:
            return gone
        run = Run(
            run=secrets.token_hex(8),
            why=TIME if wanted.only is None else CONTRACT,
            peer=wanted.peer,
            cutoffs=wanted.cutoffs,
        )
        await enter(_act("begun", run, due, wanted.agency))
        await asyncio.to_thread(keeper.begin, run, wanted.only)
        return await _finish(keeper, run, wanted.agency, enter)


async def _finish(keeper: Keeper, run: Run, agency: str, enter: Enter) -> Survey:
    while await asyncio.to_thread(keeper.delete_some, run):
        pass
    await asyncio.to_thread(keeper.scrub)
    gone = await asyncio.to_thread(keeper.deleted)
    await enter(_act("done", run, gone, agency))
    await asyncio.to_thread(keeper.end)
    return gone


def _act(stage: str, run: Run, what: Survey, agency: str) -> Act:
    public: dict[str, JsonValue] = {"agency": agency, "run": run.run, "stage": stage, "why": run.why}
    if run.peer:
        public["peer"] = run.peer
    for table, extent in (("openings", what.openings), ("envelopes", what.envelopes)):
        public[table] = _told(extent)
        if run.why == TIME:
            public[f"{table}_before"] = run.cutoffs.of(table)
    if stage == "begun":
        public["held"] = what.held
    return Act(kind="deleted", public=public)


def _told(extent: Extent) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {"count": extent.count}
    if extent.first is not None and extent.last is not None:
        told |= {"first": extent.first, "last": extent.last}
    return told


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Take the end's lock for runs; raise `RetentionRefused` if another run, of any process, has it."""
    descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise RetentionRefused(
                f"in `{home}` another run is deleting; try again when it is done"
            ) from problem
        yield
    finally:
        os.close(descriptor)


class Retaining:
    """The slow timer in an end's process. `run` until cancelled."""

    def __init__(
        self,
        *,
        home: Path,
        agency: str,
        terms: RetentionTerms,
        log: SignedLog,
        believable: Callable[[], Believable],
        clock: Clock,
    ) -> None:
        """`believable` returns between which times the roster in force lets a clock be believed."""
        self._home = home
        self._agency = agency
        self._terms = terms
        self._log = log
        self._believable = believable
        self._clock = clock

    async def run(self) -> None:
        """Look soon after the start and then every so many days; remove old segments each day or so."""
        looked: datetime | None = None
        cleared = self._clock()
        await asyncio.sleep(FIRST_LOOK.total_seconds())
        while True:
            now = self._clock()
            if looked is None or abs(now - looked) >= timedelta(days=self._terms.every_days):
                looked = now if await self._look() else looked
            if abs(now - cleared) >= timedelta(days=self._terms.segments_days):
                cleared = now if await self._clear() else cleared
            await asyncio.sleep(RETRY.total_seconds())

    async def look(self) -> Survey | None:
        """Delete what is due now. Raises `RetentionRefused`, and what log and state database raise."""
        now = self._clock()
        check_clock(now, self._believable())
        wanted = Forgetting(home=self._home, agency=self._agency, cutoffs=self._terms.cutoffs(now))
        return await forget(wanted, self._enter)

    async def _look(self) -> bool:
        try:
            gone = await self.look()
        except (AuditError, OSError) as problem:
            _logger.error("retention: %s", problem)
            return False
        if gone is not None:
            _logger.info(
                "retention: %d openings and %d envelopes deleted", gone.openings.count, gone.envelopes.count
            )
        return True

    async def _clear(self) -> bool:
        try:
            await self._log.forget_segments()
        except AuditError as problem:
            _logger.error("retention: %s", problem)
            return False
        return True

    async def _enter(self, act: Act) -> None:
        entry = Entry(kind=act.kind, at=self._clock(), public=act.public)
        await self._log.append(entry)
        await self._log.forget_segments()
