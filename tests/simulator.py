"""The federation in one process: real gateways, adapters, broker and sessions, and no sockets.

Only gRPC is replaced, by wires in memory, and waiting, by time that jumps. Everything else is what runs in
production: signed logs on disk, SQLite stores, Cedar policies, TLS 1.3 through the broker. So an attack is
one line::

    federation.broker.flips_a_byte(records=3)
    federation["lahd"].goes_silent()
    federation.broker.drops("receipt", of="lapd")
    answer = await federation.search(by="sheriff")
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from opentelemetry.trace import Span

import comity.adapters.server
import comity.broker.server
import comity.gateway.server
from comity.adapters.config import load_config as load_adapter
from comity.adapters.end import AdapterEnd
from comity.adapters.path import Reply
from comity.audit.entry import Entry
from comity.audit.log import SignedLog
from comity.broker.config import load_config as load_broker
from comity.certs.instants import from_instant
from comity.cli.demonstration.policies import install_policy
from comity.gateway.config import load_config as load_gateway
from comity.gateway.errors import GatewayError
from comity.gateway.gateway import Gateway
from comity.gateway.question import Question, parse_question
from comity.gateway.subjects import authenticate, require_fit
from comity.links.client import LinkClient, LinkConfig
from comity.v1 import account_pb2, common_pb2, query_service_pb2, result_pb2, session_pb2
from tests.support.federation import FederationOnDisk
from tests.support.jumping import JumpingTime
from tests.support.lies import LyingBroker
from tests.support.wires import NoServer

PLATE = "8ABC123"
TIMEOUT = timedelta(seconds=4)
READS = 130
"""Reads of the plate in each store: two pages."""

STORE_CLASS = {"cbp": "primary"}
"""What a provider's policy calls the store that it shares, where that is not `fixed`."""

STORE = """
[[store]]
id = "fixed"
class = "{kind}"
kind = "sql"
url = "sqlite:///reads.db"
table = "reads"
time_format = "epoch"

[store.columns]
read_id = "id"
plate = "tag"
state = "state"
captured_at = "seen_at"

[store.defaults]
country = "US"
camera_kind = "fixed"
"""

Lie = Callable[[Reply], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the caller saw of one provider. `kind` and `attested_by` are the contract's names, shortened."""

    kind: str
    attested_by: str
    text: str
    stamp: account_pb2.Stamp | None
    pages: tuple[bytes, ...]


@dataclass(kw_only=True)
class Answer:
    """All that the caller saw of one search."""

    exchange_id: bytes = b""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    summary: query_service_pb2.Summary | None = None
    error: GatewayError | None = None
    seconds: float = 0.0
    """How long it took, in the simulation's time."""

    @property
    def findings(self) -> list[str]:
        """What the gateway found that contradicts the broker's or a provider's word."""
        return [] if self.summary is None else list(self.summary.findings)

    @property
    def kinds(self) -> dict[str, str]:
        """Each provider's outcome."""
        return {name: outcome.kind for name, outcome in sorted(self.outcomes.items())}

    @property
    def is_whole(self) -> bool:
        """Whether every provider that was asked responded, and nothing was found."""
        return set(self.kinds.values()) == {"RESPONDED"} and not self.findings and self.error is None


class Journal:
    """What an end logged, in order, as it was handed to its real log."""

    def __init__(self, log: SignedLog) -> None:
        self.log = log
        self.entries: list[Entry] = []
        append = log.append

        async def kept(*entries: Entry) -> list[Any]:
            promises = await append(*entries)
            self.entries += entries
            return promises

        log.append = kept  # type: ignore[method-assign]

    def of(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]


class ProvidersEnd:
    """One agency's adapter: as it is in production, with an ear at what its path releases."""

    def __init__(self, federation: FederationSimulator, agency: str) -> None:
        self.agency = agency
        self.lies: list[Lie] = []
        self.asked = 0
        self.end: AdapterEnd | None = None
        self.stop = asyncio.Event()
        self.serving: asyncio.Task[None]
        self.starts: Callable[[], Awaitable[None]]
        self._federation = federation
        self._speaks = asyncio.Event()
        self._speaks.set()

    @property
    def journal(self) -> Journal:
        """Its log."""
        return self._federation.journals[f"{self.agency}/adapter"]

    def links(self, end: AdapterEnd) -> None:
        """Take the end that dials: its path is overheard from here on."""
        if self.end is not end:
            self.end = end
            self.adapter_answers = end.exchanges._path.answer
            end.exchanges._path = self

    async def answer(
        self, peer: str, ask: session_pb2.Ask, *, crowded: bool = False, span: Span
    ) -> Reply | None:
        """Answer as the path does; what it releases is remembered before any lie is told about it."""
        self.asked += 1
        await self._speaks.wait()
        reply = await self.adapter_answers(peer, ask, crowded=crowded, span=span)
        if reply is not None:
            pages = [canonical(page) for page in reply.pages]
            self._federation.released[reply.exchange_id, self.agency] = pages
            for lie in self.lies:
                reply = lie(reply)
        return reply

    def goes_silent(self) -> None:
        """It keeps link and sessions, and answers nothing."""
        self._speaks.clear()

    def is_honest_again(self) -> None:
        """It answers, and without lies."""
        self._speaks.set()
        self.lies.clear()

    async def ends(self) -> None:
        """Its process is stopped."""
        self.stop.set()
        await self.serving

    def loses_its_link(self) -> None:
        """The network cuts its link; it dials again by itself."""
        self._federation.broker.wires[f"{self.agency}/adapter"].cut()


class RequestersEnd:
    """One agency's gateway, and the assertions of its identity provider."""

    def __init__(self, federation: FederationSimulator, agency: str) -> None:
        self.agency = agency
        self.gateway: Gateway | None = None
        self._federation = federation
        self._assertion = ("", federation.clock() - timedelta(days=1))

    @property
    def journal(self) -> Journal:
        """Its log."""
        return self._federation.journals[f"{self.agency}/gateway"]

    def links(self, gateway: Gateway) -> None:
        """Take the gateway that dials."""
        self.gateway = gateway

    def assertion(self) -> str:
        """Return the user's assertion: the last one, or a new one if that is some minutes old."""
        now = self._federation.clock()
        if now - self._assertion[1] > timedelta(minutes=4):
            self._assertion = (self._federation.made.assertion(self.agency, now), now)
        return self._assertion[0]


class FederationSimulator:
    """The whole federation. `federation["lapd"]` is an adapter, `federation.asking["sheriff"]` a gateway."""

    def __init__(self, made: FederationOnDisk, clock: JumpingTime) -> None:
        self.made = made
        self.clock = clock
        self.broker = LyingBroker(made, clock)
        self.broker.is_heard = self._has_session
        self.providers: dict[str, ProvidersEnd] = {}
        self.asking: dict[str, RequestersEnd] = {}
        self.journals: dict[str, Journal] = {}
        """Every end's log, by the end's name: `lapd/adapter`, `sheriff/gateway`, `operator/broker`."""
        self.released: dict[tuple[bytes, str], list[bytes]] = {}
        """By exchange and provider: the pages that its path decided, logged and signed for."""
        self.warnings: list[str] = []
        """What processes told their operators."""

    def __getitem__(self, agency: str) -> ProvidersEnd:
        return self.providers[agency]

    def question(self, **changes: Any) -> Question:
        """Return a good question, as `request` has it."""
        return parse_question(self.request(**changes), now=self.clock())

    def request(
        self, *, of: Sequence[str] = (), days: int = 2, timeout: timedelta = TIMEOUT, **changes: Any
    ) -> query_service_pb2.SearchRequest:
        """Return a good request about the one plate that every store knows: 2 days give a page, 30 two."""
        now = self.clock()
        request = query_service_pb2.SearchRequest(
            plate=common_pb2.Plate(number=PLATE, state="CA", country="US"),
            period=common_pb2.Period(start=from_instant(now - timedelta(days=days)), end=from_instant(now)),
            reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
            case_number="26-0417",
            reason_text="series of burglaries",
            for_self=True,
            providers=of,
            **changes,
        )
        request.timeout.FromTimedelta(timeout)
        return request

    async def search(
        self, question: Question | None = None, *, by: str = "sheriff", **changes: Any
    ) -> Answer:
        """Ask as a person at an agency's system does, and return all that was shown."""
        end, now = self.asking[by], self.clock()
        assert end.gateway is not None
        claims, assertion = authenticate(
            f"Bearer {end.assertion()}",
            certificate_der=self.made.client_certificate(by),
            member=end.gateway.federation.member(by),
            published=end.gateway.published,
            now=now,
        )
        require_fit(claims, now=now)
        answer, began = Answer(), self.clock.time()
        pages: dict[str, list[bytes]] = {}
        try:
            async for message in end.gateway.search(question or self.question(**changes), claims, assertion):
                self._show(answer, pages, message)
        except GatewayError as error:
            answer.error = error
        answer.seconds = self.clock.time() - began
        self._check(answer, by)
        return answer

    def positions(self) -> dict[str, int]:
        """Return how long every log is now."""
        return {name: len(journal.entries) for name, journal in self.journals.items()}

    def forgets_sessions(self) -> None:
        """Have every gateway close its sessions: the next question needs a handshake."""
        for end in self.asking.values():
            assert end.gateway is not None and end.gateway.sessions is not None
            end.gateway.sessions.close()

    async def recovers(self) -> bool:
        """Return whether an honest federation answers in full again: at the third question at the latest.

        A session whose record was given a longer length swallows up to 16 kB before it fails, as TLS has
        it: for such a deaf one the last question gets new sessions.
        """
        for _ in range(2):
            if (await self.search(days=1)).is_whole:
                return True
        self.forgets_sessions()
        await self.passes(seconds=0.1)
        return (await self.search(days=1)).is_whole

    def refusals(self) -> dict[str, set[str]]:
        """Return of each end whose peers' logs it refuses."""
        refused = {name: set(journal.log.refused) for name, journal in self.journals.items()}
        return {name: origins for name, origins in refused.items() if origins}

    async def pardons(self) -> None:
        """An administrator of each end lifts every refusal (`comity audit pardon`); links come up again."""
        if not self.refusals():
            return
        for journal in self.journals.values():
            for origin in list(journal.log.refused):
                await journal.log.append(journal.log.entry("pardoned", public={"peer_origin": origin}))
        ends: list[Any] = [end.gateway for end in self.asking.values()]
        ends += [end.end for end in self.providers.values()]
        await self.until(lambda: all(end.link.is_up for end in ends), seconds=120)

    async def passes(self, *, seconds: float) -> None:
        """Let time go by."""
        await asyncio.sleep(seconds)

    async def until(self, condition: Callable[[], object], *, seconds: float = 30) -> None:
        """Let time go by until something is true; fail if it doesn't become so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.01)
        assert condition(), f"not true within {seconds:g} s"

    def _has_session(self, end: str, session_id: int) -> bool:
        agency, role = end.split("/")
        if role == "adapter":
            adapter = self.providers[agency].end
            return adapter is not None and session_id in adapter.sessions._sessions
        gateway = self.asking[agency].gateway
        return (
            gateway is not None and gateway.sessions is not None and session_id in gateway.sessions._sessions
        )

    def _show(
        self, answer: Answer, pages: dict[str, list[bytes]], message: query_service_pb2.SearchResponse
    ) -> None:
        match message.WhichOneof("part"):
            case "plan":
                answer.exchange_id = message.plan.exchange_id
            case "outcome":
                one = message.outcome
                if (first := answer.outcomes.get(one.agency)) is not None:
                    withdrawn = (common_pb2.OUTCOME_KIND_UNVERIFIABLE, common_pb2.OUTCOME_KIND_SESSION_FAILED)
                    assert one.kind in withdrawn, "one provider, two outcomes"
                    assert first.attested_by == "PROVIDER", "one provider, one outcome told twice"
                    pages.pop(one.agency, None)
                answer.outcomes[one.agency] = Outcome(
                    kind=common_pb2.OutcomeKind.Name(one.kind).removeprefix("OUTCOME_KIND_"),
                    attested_by=query_service_pb2.Attestation.Name(one.attested_by).removeprefix(
                        "ATTESTATION_"
                    ),
                    text=one.text,
                    stamp=one.stamp if one.HasField("stamp") else None,
                    pages=(),
                )
            case "page":
                pages.setdefault(message.page.agency, []).append(
                    message.page.page.SerializeToString(deterministic=True)
                )
            case "summary":
                answer.summary = message.summary
        for name, seen in pages.items():
            answer.outcomes[name] = replace(answer.outcomes[name], pages=tuple(seen))

    def _check(self, answer: Answer, by: str) -> None:
        """What holds for every answer, whoever lied: nothing is shown that its provider did not release."""
        if answer.summary is None:
            assert not any(outcome.pages for outcome in answer.outcomes.values())
            return
        counted = [one.agency for one in answer.summary.providers]
        assert len(counted) == len(set(counted)), "a provider is counted twice"
        assert set(answer.outcomes) <= set(counted), "a provider is shown and not counted"
        for name, outcome in answer.outcomes.items():
            released = self.released.get((answer.exchange_id, name), [])
            if outcome.kind == "RESPONDED":
                assert list(outcome.pages) == released, f"{name}: shown is not what it released"
            else:
                assert not outcome.pages, f"{name}: reads beside {outcome.kind}"
            signed = outcome.attested_by == "PROVIDER"
            assert not signed or (answer.exchange_id, name) in self.released, f"{name}: never answered"


def canonical(page: bytes) -> bytes:
    """Return a page in a form in which what was released and what was shown can be compared."""
    return result_pb2.Page.FromString(page).SerializeToString(deterministic=True)


class _Operators(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


@asynccontextmanager
async def simulate(
    made: FederationOnDisk, *, asking: Sequence[str] = ("sheriff",), since: datetime | None = None
) -> AsyncIterator[FederationSimulator]:
    """Run the federation that is laid out in `made`: all its providers, and gateways of those `asking`.

    If it ran before, `since` is the time at which it ended: time doesn't go back.
    """
    clock = JumpingTime(since)
    federation = FederationSimulator(made, clock)
    operators = _Operators(federation.warnings)
    logging.getLogger("comity").addHandler(operators)
    stop, stop_broker = asyncio.Event(), asyncio.Event()
    open_log = SignedLog.open

    def dialled(client: LinkClient, config: LinkConfig) -> AbstractAsyncContextManager[Any]:
        return _dialled(client, config, federation)

    async def journaled(home: Path, *, origin: str, **options: Any) -> SignedLog:
        log = await open_log(home, origin=origin, **options)
        if home.is_relative_to(made.root):  # another federation's ends have the same names
            federation.journals[origin.replace(".example", "")] = Journal(log)
        return log

    async def serve(room: Any, config: Any, until: asyncio.Event) -> asyncio.Task[None]:
        ready = asyncio.Event()
        work = room.serve(config, ready=lambda line: ready.set(), stop=until, clock=clock)
        serving = asyncio.create_task(work)
        while not ready.is_set() and not serving.done():
            await asyncio.sleep(0.01)
        if serving.done():
            serving.result()
        return serving

    async def start(provider: ProvidersEnd) -> None:
        config = load_adapter(made.adapter_home(provider.agency) / "adapter.toml")
        provider.stop = asyncio.Event()
        provider.serving = await serve(comity.adapters.server, config, provider.stop)

    works: list[asyncio.Task[None]] = []
    try:
        with (
            patch.object(LinkClient, "_dialled", dialled),
            patch.object(SignedLog, "open", journaled),
            patch("grpc.aio.server", federation.broker.listens),
        ):
            works.append(
                await serve(comity.broker.server, load_broker(made.broker_home / "broker.toml"), stop_broker)
            )
            with patch("grpc.aio.server", NoServer):
                for entry in made.spec.agencies:
                    if entry.provides:
                        provider = federation.providers[entry.agency] = ProvidersEnd(federation, entry.agency)
                        provider.starts = partial(start, provider)
                        await provider.starts()
                for agency in asking:
                    federation.asking[agency] = RequestersEnd(federation, agency)
                    settings = load_gateway(made.gateway_home(agency) / "gateway.toml")
                    works.append(await serve(comity.gateway.server, settings, stop))
            ends = len(works) - 1 + len(federation.providers)
            await federation.until(lambda: len(federation.broker.wires) == ends)
            await federation.passes(seconds=0.1)
            try:
                yield federation
            finally:
                federation.broker.is_honest_again()
                for provider in federation.providers.values():
                    provider.is_honest_again()
                    provider.stop.set()
                stop.set()
                await asyncio.gather(*works[1:], *(one.serving for one in federation.providers.values()))
                stop_broker.set()
                await works[0]
    finally:
        logging.getLogger("comity").removeHandler(operators)
        clock.leave()


@asynccontextmanager
async def _dialled(
    client: LinkClient, config: LinkConfig, federation: FederationSimulator
) -> AsyncIterator[Any]:
    """Give a link a wire in memory, as `LinkClient._dialled` gives it a connection."""
    events = client._events
    name = config.spiffe_id.removeprefix("spiffe://").replace(".example/", "/")
    agency = name.split("/")[0]
    if isinstance(events, AdapterEnd):
        federation.providers[agency].links(events)
    elif isinstance(events, Gateway):
        federation.asking[agency].links(events)
    wire = federation.broker.dialled(name, config.leaf_chain_pem)
    try:
        yield wire.end
    finally:
        wire.cut()


def lay_out(made: FederationOnDisk, now: datetime, *, reads: int = READS) -> None:
    """Give every provider of a federation its shipped policy and a store of its own."""
    for entry in made.spec.agencies:
        if not entry.provides:
            continue
        home = made.adapter_home(entry.agency)
        install_policy(made, entry.agency, now)
        with (home / "adapter.toml").open("a", encoding="utf-8") as settings:
            settings.write(STORE.format(kind=STORE_CLASS.get(entry.agency, "fixed")))
        rows = [
            (
                f"{entry.agency}-{number}",
                PLATE,
                "CA",
                int((now - timedelta(hours=5 * number + 1)).timestamp()),
            )
            for number in range(reads)
        ]
        with sqlite3.connect(home / "reads.db") as store:
            store.execute("CREATE TABLE reads (id TEXT, tag TEXT, state TEXT, seen_at INTEGER)")
            store.executemany("INSERT INTO reads VALUES (?, ?, ?, ?)", rows)
        store.close()
