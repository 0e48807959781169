"""Questions that arrive by the clock, whether or not those before them were answered: an open load.

A closed load asks less while answers are slow, and so hides what it should show. Here a question is due at
its time. Where too many are in flight it waits, is told as late, and its latency counts from when it was due.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio

from benchmarks.federation import READS, Federation
from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.certs.instants import from_instant
from comity.certs.x509 import split_pem
from comity.cli.asking import Client, load_client
from comity.cli.demonstration.traffic import KNOWN_TO_ALL
from comity.v1 import common_pb2, query_pb2, query_service_pb2, query_service_pb2_grpc, result_pb2

IN_FLIGHT = 96
"""Questions that may be in flight; one more waits."""
LATE_SECONDS = 0.1
"""A question that is sent so long after it was due is late."""
PATIENCE_SECONDS = 20.0
"""How long a call may take; a question's own time is the product's default."""
SIGHT_SECONDS = 2.0
"""How often users log on anew, and a system opens a new connection to its gateway."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """One question: who asked whom, when, and what came of it. Times are seconds since 1970."""

    agency: str
    user: str
    provider: str
    due: float
    sent: float = 0.0
    done: float = 0.0
    shown: float = 0.0
    """When the last page came; 0: none did."""
    fault: str = ""
    """Why the answer isn't complete and without findings; empty: it is."""

    @property
    def is_done(self) -> bool:
        return self.done > 0

    @property
    def is_late(self) -> bool:
        return self.sent - self.due > LATE_SECONDS

    @property
    def latency(self) -> float:
        return self.done - self.due


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The next question's asker, and whom it asks."""

    agency: str
    user: str
    provider: str


class System:
    """An agency's system: a connection to its gateway, renewed now and then, and its users' assertions.

    Certificate, key, CA and assertions are read again each time, as a system does that is started anew.
    """

    def __init__(self, federation: Federation, agency: str, users: Sequence[str]) -> None:
        """`users` are logged on beforehand; another one when it first asks."""
        self.agency = agency
        self.users = users
        self._federation = federation
        self._config: Path = federation.made.client_config(agency)
        self._channel: grpc.aio.Channel | None = None
        self._search: query_service_pb2_grpc.QueryServiceStub | None = None
        self._assertions: dict[str, str] = {}
        self._leaf = b""
        self._draining: list[asyncio.Task[None]] = []

    async def refresh(self) -> None:
        """Log every user on, and open a new connection; the older one is left when its calls are over."""
        client = load_client(self._config)
        (leaf, *_) = split_pem(client.leaf)
        assertions = await asyncio.to_thread(self._log_on, self.users, leaf)
        old, self._channel, self._leaf = self._channel, _channel(client), leaf
        self._search = query_service_pb2_grpc.QueryServiceStub(self._channel)
        self._assertions = assertions
        if old is not None:
            self._draining = [task for task in self._draining if not task.done()]
            self._draining.append(asyncio.create_task(old.close(PATIENCE_SECONDS)))

    def _log_on(self, users: Sequence[str], leaf: bytes) -> dict[str, str]:
        """Return assertions, which count with this leaf alone: the one of the connection that is opened."""
        provider = AgencyHome.load(self._federation.made.home(self.agency)).identity_provider()
        now = utc_now()
        return {user: provider.issue(user, leaf, now) for user in users}

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close(0)
        await asyncio.gather(*self._draining, return_exceptions=True)

    async def ask(self, asked: Asked) -> None:
        """Ask one question; what came of it stands in `asked`."""
        assert self._search is not None
        if asked.user not in self._assertions:
            self._assertions |= self._log_on((asked.user,), self._leaf)
        metadata = (("authorization", f"Bearer {self._assertions[asked.user]}"),)
        pages: list[result_pb2.Page] = []
        outcome, summary = "", query_service_pb2.Summary()
        try:
            call = self._search.Search(
                self._request(asked.provider), metadata=metadata, timeout=PATIENCE_SECONDS
            )
            async for message in call:
                match message.WhichOneof("part"):
                    case "page":
                        pages.append(message.page.page)
                        asked.shown = time.time()
                    case "outcome":
                        kind = common_pb2.OutcomeKind.Name(message.outcome.kind)
                        outcome = f"{kind.removeprefix('OUTCOME_KIND_')} {message.outcome.text}"
                    case "summary":
                        summary = message.summary
        except grpc.aio.AioRpcError as error:
            asked.fault = f"{error.code().name}: {error.details()}; {outcome}"
        else:
            if not summary.complete or summary.findings:
                asked.fault = f"not complete: {outcome}; {summary.incomplete_text}; {list(summary.findings)}"
            elif sum(len(page.reads) for page in pages) != READS:
                asked.fault = f"complete, but not {READS} reads"

    def _request(self, provider: str) -> query_service_pb2.SearchRequest:
        federation = self._federation
        return query_service_pb2.SearchRequest(
            plate=common_pb2.Plate(
                number=KNOWN_TO_ALL.plate, state=KNOWN_TO_ALL.state, country=KNOWN_TO_ALL.country
            ),
            period=common_pb2.Period(start=from_instant(federation.start), end=from_instant(federation.end)),
            reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
            case_number="26-0417",
            reason_text="series of burglaries in the harbor area",
            for_self=True,
            completeness=query_pb2.Completeness(all=True),
            providers=[provider],
        )


def _channel(client: Client) -> grpc.aio.Channel:
    """Open a connection of its own: gRPC would share those that look alike."""
    credentials = grpc.ssl_channel_credentials(client.ca, client.key, client.leaf)
    options = [
        ("grpc.ssl_target_name_override", client.gateway_name),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.secure_channel(client.gateway, credentials, options)


@dataclass(slots=True)
class OpenLoad:
    """Asks by the clock until it is stopped. `asked` has every question, in the order in which it was due."""

    systems: Mapping[str, System]
    rate: float
    whom: Callable[[int], Who]
    """Who asks whom in the question of this number; it may say another thing each time."""
    asked: list[Asked] = field(default_factory=list)
    in_flight: int = 0
    most_waiting: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))

    async def run(self) -> None:
        """Ask until cancelled; then wait for what is in flight."""
        refreshing = asyncio.create_task(self._refresh())
        begun, before, number = time.monotonic(), time.time(), 0
        try:
            while True:
                due = number / self.rate
                ahead = begun + due - time.monotonic()
                if ahead > 0:
                    await asyncio.sleep(ahead)
                if refreshing.done():
                    refreshing.result()
                who = self.whom(number)
                asked = Asked(agency=who.agency, user=who.user, provider=who.provider, due=before + due)
                self.asked.append(asked)
                task = asyncio.create_task(self._ask(asked))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                number += 1
                self.most_waiting = max(self.most_waiting, len(self._tasks) - self.in_flight)
        finally:
            refreshing.cancel()
            await asyncio.gather(*self._tasks, refreshing, return_exceptions=True)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(SIGHT_SECONDS)
            for system in self.systems.values():
                await system.refresh()

    async def _ask(self, asked: Asked) -> None:
        async with self._room:
            self.in_flight += 1
            asked.sent = time.time()
            try:
                await self.systems[asked.agency].ask(asked)
            except Exception as error:
                asked.fault = f"{type(error).__name__}: {error}"
                raise
            finally:
                self.in_flight -= 1
                asked.done = time.time()

    def between(self, begun: float, ended: float) -> Sequence[Asked]:
        """Return what was due in this time."""
        first, last = (bisect_left(self.asked, at, key=lambda asked: asked.due) for at in (begun, ended))
        return self.asked[first:last]

    async def settled(self, begun: float, ended: float) -> None:
        """Wait until each question that was due in this time is over."""
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            while not all(asked.is_done for asked in self.between(begun, ended)):
                await asyncio.sleep(0.1)
