"""Exchanges in flight: from a session's message to the path, and from its reply back to link and session.

One task an exchange. It ends when all is sent, or when the asker cancels, the broker says that it is over,
the session closes or the deadline passes: then nothing more is sent, and the log says so. The receipt goes
to the broker before the result goes into the session; pages follow as the gateway gives credit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from opentelemetry.trace import Span, SpanKind

from comity.adapters import records
from comity.adapters.acknowledgements import Acknowledgements
from comity.adapters.beside import Beside
from comity.adapters.errors import Late
from comity.adapters.path import Reply
from comity.adapters.subjects import Subjects
from comity.adapters.telemetry import METERING, TRACING
from comity.audit.errors import AuditError
from comity.certs.clock import Clock
from comity.links.errors import LinkError
from comity.links.telemetry.context import parse_traceparent, traceparent
from comity.links.telemetry.facts import facts, outcome_name
from comity.links.telemetry.metrics import Stopwatch
from comity.links.telemetry.spans import NO_SPAN
from comity.v1.link_pb2 import CloseReason, LinkFrame, ReceiptDelivery
from comity.v1.session_pb2 import Ask, PageCredit, PageDelivery, Result, SessionMessage

LOGGER = logging.getLogger("comity.adapters")

FLOOD = 4
"""So many times its limit of exchanges in flight, and a requester's session is closed."""


class Answers(Protocol):
    """What answers a question: the path."""

    async def answer(
        self, peer: str, ask: Ask, *, crowded: bool = False, span: Span = NO_SPAN
    ) -> Reply | None:
        """Return a reply, or None; raise `Late`. Its steps are told below `span`."""


class Sender(Protocol):
    """The link, as far as an exchange needs it."""

    def send(self, *frames: LinkFrame) -> None:
        """Queue frames; raise `LinkError`."""


class Peer(Protocol):
    """A session, as far as an exchange needs it."""

    @property
    def peer(self) -> str:
        """The agency that the session's TLS verified."""

    @property
    def page_window(self) -> int:
        """Pages of an exchange that may be in flight before credit."""

    def send(self, *messages: SessionMessage) -> None:
        """Queue messages; raise `LinkError`."""

    def close(self, reason: CloseReason = ..., text: str = ...) -> None:
        """End the session."""


class _Running:
    """One exchange with what may still be sent of it."""

    def __init__(self, session: Peer, ask: Ask, span: Span) -> None:
        self.session = session
        self.ask = ask
        self.exchange_id = ask.exchange_id
        self.span = span
        self.watch = Stopwatch()
        self.outcome = "unanswered"
        self.credit = session.page_window
        self.credited = asyncio.Event()
        self.why = "stopped"
        self.task: asyncio.Task[None] | None = None


class Exchanges:
    """All exchanges of one adapter. Its methods are plain calls on the event loop."""

    def __init__(
        self,
        *,
        agency: str,
        path: Answers,
        link: Sender,
        acknowledgements: Acknowledgements,
        beside: Beside,
        subjects: Subjects,
        clock: Clock,
        max_in_flight: int,
        max_exchanges: int,
    ) -> None:
        """`max_in_flight` is of one requester, `max_exchanges` of all: beyond either it is too crowded."""
        self._agency = agency
        self._path = path
        self._link = link
        self._acknowledgements = acknowledgements
        self._beside = beside
        self._subjects = subjects
        self._clock = clock
        self._max_in_flight = max_in_flight
        self._max_exchanges = max_exchanges
        self._running: set[_Running] = set()
        self._by_peer: Counter[str] = Counter()
        self._stopping = False

    def __len__(self) -> int:
        """Return how many exchanges are in flight."""
        return len(self._running)

    def ask(self, session: Peer, ask: Ask, parent: str = "") -> None:
        """Begin work on a question; `parent` is its message's trace context."""
        in_flight = self._by_peer[session.peer]
        if self._stopping:
            return
        if in_flight >= FLOOD * self._max_in_flight:
            LOGGER.warning("`%s` has %d exchanges in flight: its session is closed", session.peer, in_flight)
            session.close(CloseReason.CLOSE_REASON_LIMIT, "too many exchanges in flight")
            return
        span = TRACING.begin(
            "answer",
            parent=parse_traceparent(parent),
            kind=SpanKind.SERVER,
            facts=facts(requester=session.peer),
        )
        running = _Running(session, ask, span)
        self._running.add(running)
        self._by_peer[session.peer] += 1
        crowded = in_flight >= self._max_in_flight or len(self._running) > self._max_exchanges
        running.task = asyncio.get_running_loop().create_task(self._run(running, ask, crowded))
        running.task.add_done_callback(lambda task: self._finished(running, task))

    def cancel(self, session: Peer, exchange_id: bytes, *, deadline_passed: bool = False) -> None:
        """Stop an exchange at the word of the session that asked it; of any other, nothing happens."""
        for running in self._of(exchange_id):
            if running.session is session:
                self._stop(running, "deadline" if deadline_passed else "caller")

    def over(self, exchange_id: bytes, *, deadline_passed: bool) -> None:
        """Stop an exchange at the broker's word."""
        for running in self._of(exchange_id):
            self._stop(running, "deadline" if deadline_passed else "caller")

    def dismiss(self, agency: str, user: str) -> None:
        """Stop all that is in flight of a user whose agency ended their access (Q8)."""
        for running in list(self._running):
            if self._subjects.holds(running.ask, requester=agency, user=user):
                self._stop(running, "terminated")

    def credit(self, session: Peer, credit: PageCredit) -> None:
        """Allow more pages of an exchange."""
        for running in self._of(credit.exchange_id):
            if running.session is session:
                running.credit += credit.pages
                running.credited.set()

    def closed(self, session: Peer) -> None:
        """Stop all that was asked in a session that is over."""
        for running in [running for running in self._running if running.session is session]:
            self._stop(running, "session")

    async def stop(self, *, seconds: float) -> None:
        """Take no more questions; let those in flight end by themselves for so long, then stop them."""
        self._stopping = True
        tasks = [running.task for running in self._running if running.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for running in list(self._running):
            self._stop(running, "stopped")
        while tasks := [running.task for running in self._running if running.task is not None]:
            await asyncio.wait(tasks)

    async def _run(self, running: _Running, ask: Ask, crowded: bool) -> None:
        """Answer one question and send the reply, or log why not all of it was sent."""
        try:
            reply = await self._path.answer(running.session.peer, ask, crowded=crowded, span=running.span)
            if reply is not None:
                with TRACING.step(running.span, "send"):
                    await self._deliver(running, reply)
                running.outcome = outcome_name(reply.kind)
        except (Late, TimeoutError):
            self._note(running, "deadline")
        except LinkError:
            self._note(running, "session")
        except AuditError as error:
            LOGGER.error("an exchange was given up, the log can't be written: %s", type(error).__name__)
            running.outcome = "log_unwritable"

    async def _deliver(self, running: _Running, reply: Reply) -> None:
        """Send the receipt to the broker, then result and pages to the gateway, until the deadline."""
        session, exchange_id = running.session, reply.exchange_id
        seconds = (reply.deadline - self._clock()).total_seconds()
        if seconds <= 0:  # it passed while the release was written
            raise Late
        self._acknowledgements.answered(session.peer, reply)
        if reply.announced:
            delivery = ReceiptDelivery(exchange_id=exchange_id, receipt=reply.receipt)
            self._link.send(LinkFrame(receipt=delivery, traceparent=traceparent(running.span)))
        result = Result(exchange_id=exchange_id, detail=reply.detail, receipt=reply.receipt)
        session.send(SessionMessage(result=result, traceparent=traceparent(running.span)))
        async with asyncio.timeout(seconds):
            for page in reply.pages:
                while running.credit < 1:
                    running.credited.clear()
                    await running.credited.wait()
                running.credit -= 1
                session.send(SessionMessage(page=PageDelivery(exchange_id=exchange_id, page=page)))

    def _of(self, exchange_id: bytes) -> Iterator[_Running]:
        """Return the work on an exchange: one, or more where it is asked twice."""
        return iter([running for running in self._running if running.exchange_id == exchange_id])

    def _stop(self, running: _Running, why: str) -> None:
        """Cancel the work on an exchange; nothing more of it is sent. The first reason is the one."""
        if running.task is not None and not running.task.cancelling():
            running.why = why
            running.task.cancel()

    def _note(self, running: _Running, why: str) -> None:
        """Log, beside, that an exchange ended before all of it was sent."""
        running.outcome = why
        self._acknowledgements.cancelled(running.session.peer, running.exchange_id)
        entry = records.cancelled(self._agency, running.session.peer, running.exchange_id, why, self._clock())
        self._beside.write(entry)

    def _finished(self, running: _Running, task: asyncio.Task[None]) -> None:
        """Forget an exchange; a fault of our own is told by its kind alone."""
        self._running.discard(running)
        self._subjects.leave(running.ask)
        self._by_peer[running.session.peer] -= 1
        if not self._by_peer[running.session.peer]:
            del self._by_peer[running.session.peer]
        if task.cancelled():
            self._note(running, running.why)
        elif (error := task.exception()) is not None:
            LOGGER.error("an exchange failed by a fault of this end: %s", type(error).__name__)
            self._note(running, "fault")
        said = facts(requester=running.session.peer, outcome=running.outcome)
        METERING.settled(said)
        METERING.took(said, running.watch.seconds)
        running.span.set_attributes(said)
        running.span.end()
