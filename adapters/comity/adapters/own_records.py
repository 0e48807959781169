"""Gives a requesting agency the records of its own users, through its session, and of nobody else's (L3, L6).

Whose they are is the session's peer, which its certificate says; the request has no field for it. What leaves
is counted and logged before the first record does. Pages follow as the gateway gives credit, so an export of
any length holds a few pages in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from comity.audit.entry import Entry
from comity.audit.errors import AuditError, RecordsInvalid
from comity.audit.log import Promise
from comity.audit.merkle import RunningRoot
from comity.audit.retrieval.selecting import Selection, Wanted, exported, make_statement
from comity.certs.clock import Clock
from comity.certs.envelope import seal
from comity.certs.instants import to_instant
from comity.certs.keys import SigningKey
from comity.links.errors import LinkError
from comity.v1.records_pb2 import (
    RECORDS_REFUSAL_AUDIT_UNAVAILABLE,
    RECORDS_REFUSAL_LIMIT,
    RECORDS_REFUSAL_MALFORMED,
    LogRecord,
    RecordsRefusal,
)
from comity.v1.session_pb2 import (
    RecordsAnswer,
    RecordsCancel,
    RecordsCredit,
    RecordsPage,
    RecordsRequest,
    SessionMessage,
)

LOGGER = logging.getLogger("comity.adapters")

REQUEST_ID_BYTES: Final = 16
PAGE_BYTES: Final = 256 << 10
"""About how much of records goes into a page; one record may have twice as much."""
PAGE_RECORDS: Final = 200
MOST_CREDIT: Final = 64
"""Pages that may travel without being read, however much credit is given."""
LONGEST: Final = timedelta(hours=1)
"""How long an export may take, whatever the request says."""
WINDOW: Final = timedelta(hours=1)
"""In which the requests of an agency are counted."""


class Peer(Protocol):
    """A session, as far as records need it."""

    @property
    def peer(self) -> str:
        """The agency that the session's certificate names."""

    @property
    def page_window(self) -> int:
        """Pages that may be in flight before credit."""

    def send(self, *messages: SessionMessage) -> None:
        """Queue messages; raise `LinkError`."""


class PublishedLog(Protocol):
    """The end's log, as far as records need it."""

    async def append(self, *entries: Entry) -> list[Promise]:
        """Write entries durably; raise `AuditError`."""

    async def publish(self) -> bytes:
        """Publish what is acknowledged; return the checkpoint; raise `AuditError`."""


class _Export:
    """One request that is being answered."""

    def __init__(self, session: Peer, request_id: bytes) -> None:
        self.session = session
        self.request_id = request_id
        self.credit = session.page_window
        self.credited = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class OwnRecords:
    """All requests for records at one adapter. Its methods are plain calls on the event loop."""

    def __init__(
        self,
        *,
        agency: str,
        home: Path,
        log: PublishedLog,
        key: SigningKey,
        clock: Clock,
        max_per_hour: int,
    ) -> None:
        """`key` signs statements; `max_per_hour` is how many requests of one agency are answered an hour."""
        self._agency = agency
        self._home = home
        self._log = log
        self.key = key
        """The statement key in force."""
        self._clock = clock
        self._max_per_hour = max_per_hour
        self._running: dict[str, _Export] = {}
        self._asked: dict[str, deque[datetime]] = {}

    def __len__(self) -> int:
        """Return how many requests are being answered."""
        return len(self._running)

    def request(self, session: Peer, request: RecordsRequest) -> None:
        """Begin to answer a request, or refuse it."""
        try:
            wanted = Wanted(
                provider=self._agency,
                requester=session.peer,
                start=to_instant(request.period, "start"),
                end=to_instant(request.period, "end"),
            )
            deadline = to_instant(request, "deadline")
            if len(request.request_id) != REQUEST_ID_BYTES:
                raise RecordsInvalid("request: its id has not 16 bytes")
        except (ValueError, RecordsInvalid):
            self._refuse(session, request.request_id[:REQUEST_ID_BYTES], RECORDS_REFUSAL_MALFORMED)
            return
        if not self._may_ask(session.peer):
            LOGGER.warning("`%s` asks for records too often, or twice at a time", session.peer)
            self._refuse(session, request.request_id, RECORDS_REFUSAL_LIMIT)
            return
        seconds = min(LONGEST, deadline - self._clock()).total_seconds()
        export = self._running[session.peer] = _Export(session, request.request_id)
        export.task = asyncio.get_running_loop().create_task(self._answer(export, wanted, seconds))
        export.task.add_done_callback(lambda task: self._finished(export, task))

    def credit(self, session: Peer, credit: RecordsCredit) -> None:
        """Allow more pages of a request, at the word of the session that made it."""
        if (export := self._of(session, credit.request_id)) is not None:
            export.credit = min(MOST_CREDIT, export.credit + credit.pages)
            export.credited.set()

    def cancel(self, session: Peer, cancel: RecordsCancel) -> None:
        """Send no more of a request's records."""
        if (export := self._of(session, cancel.request_id)) is not None and export.task is not None:
            export.task.cancel()

    def closed(self, session: Peer) -> None:
        """Stop what was asked in a session that is over."""
        export = self._running.get(session.peer)
        if export is not None and export.session is session and export.task is not None:
            export.task.cancel()

    async def stop(self) -> None:
        """Stop all, and wait until it has."""
        tasks = [export.task for export in self._running.values() if export.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _may_ask(self, peer: str) -> bool:
        """Count a request of an agency; return whether it is answered."""
        now, times = self._clock(), self._asked.setdefault(peer, deque())
        while times and not timedelta(0) <= now - times[0] < WINDOW:
            times.popleft()
        if peer in self._running or len(times) >= self._max_per_hour:
            return False
        times.append(now)
        return True

    def _of(self, session: Peer, request_id: bytes) -> _Export | None:
        export = self._running.get(session.peer)
        is_its = export is not None and export.session is session and export.request_id == request_id
        return export if is_its else None

    async def _answer(self, export: _Export, wanted: Wanted, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._give(export, wanted)
        except TimeoutError:
            LOGGER.warning("an export of records for `%s` was not done in its time", wanted.requester)
        except LinkError as error:
            LOGGER.info("an export of records for `%s` broke off: %s", wanted.requester, error)
        except (AuditError, OSError) as error:
            LOGGER.error("records for `%s` can't be given: %s", wanted.requester, error)
            self._refuse(export.session, export.request_id, RECORDS_REFUSAL_AUDIT_UNAVAILABLE)

    async def _give(self, export: _Export, wanted: Wanted) -> None:
        """Count, log, sign, and then send page by page."""
        note = await self._log.publish()
        selection = Selection(log=self._home / "log", state=self._home / "state.db", note=note, wanted=wanted)
        found = await asyncio.to_thread(selection.survey)
        promise = await self._log_export(wanted, found, selection.size)
        statement = make_statement(
            wanted, found, note, promise, request_id=export.request_id, at=self._clock()
        )
        answer = RecordsAnswer(request_id=export.request_id, statement=seal(statement, self.key))
        export.session.send(SessionMessage(records_answer=answer))
        pages = _pages(selection.records())
        while True:
            while export.credit < 1:
                export.credited.clear()
                await export.credited.wait()
            page = await asyncio.to_thread(next, pages, None)
            if page is None:
                break
            export.credit -= 1
            sent = RecordsPage(request_id=export.request_id, records=page)
            export.session.send(SessionMessage(records_page=sent))
        LOGGER.info("%d records of its own users were given to `%s`", found.size, wanted.requester)

    async def _log_export(self, wanted: Wanted, found: RunningRoot, size: int) -> Promise:
        entry = Entry(kind="exported", at=self._clock(), public=exported(wanted, found, size))
        return (await self._log.append(entry))[0]

    def _refuse(self, session: Peer, request_id: bytes, refusal: RecordsRefusal) -> None:
        answer = RecordsAnswer(request_id=request_id, refusal=refusal)
        try:
            session.send(SessionMessage(records_answer=answer))
        except LinkError as error:
            LOGGER.info("a request for records was not answered: %s", error)

    def _finished(self, export: _Export, task: asyncio.Task[None]) -> None:
        if self._running.get(export.session.peer) is export:
            del self._running[export.session.peer]
        if not task.cancelled() and (error := task.exception()) is not None:
            LOGGER.error("an export of records failed by a fault of this end: %s", type(error).__name__)


def _pages(records: Iterator[LogRecord]) -> Iterator[list[LogRecord]]:
    """Put records together into pages."""
    page: list[LogRecord] = []
    size = 0
    for record in records:
        if page and (size + record.ByteSize() > PAGE_BYTES or len(page) == PAGE_RECORDS):
            yield page
            page, size = [], 0
        page.append(record)
        size += record.ByteSize()
    if page:
        yield page
