"""One provider's end on a bench: a clock by hand, a store in memory, a requester that lies as told."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from comity.adapters.announcements import Announcements
from comity.adapters.barring import Barring
from comity.adapters.beside import Beside
from comity.adapters.path import AuditLog, ExchangePath, Reply, Standing
from comity.adapters.people import People
from comity.adapters.receipts import ReceiptSigner
from comity.adapters.replay import ReplayGuard
from comity.adapters.ruling import Store
from comity.adapters.sources.source import (
    SourceDescription,
    SourceQuery,
    SourceResult,
    StoredImage,
    StoredRead,
    Survey,
)
from comity.adapters.spending import Spending
from comity.adapters.state import open_state
from comity.adapters.subjects import Subjects
from comity.adapters.threads import StoreThreads
from comity.audit import merkle
from comity.audit.entry import Entry
from comity.audit.errors import LogUnwritable
from comity.audit.log import Promise
from comity.certs.agreements import AgreementBook
from comity.certs.envelope import digest, open_envelope, seal
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import Federation
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.decision import PolicyEngine
from comity.policy.facts import StoreFacts
from comity.policy.plates import fold
from comity.v1 import common_pb2, link_pb2, query_pb2, result_pb2, session_pb2
from comity.v1.envelope_pb2 import Envelope
from tests.support.federation import FederationOnDisk

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PLATE = "8ABC123"


class HandClock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class MemorySource:
    """A store in memory: honest unless `gives` says otherwise."""

    def __init__(self, *reads: StoredRead) -> None:
        self.reads = list(reads)
        self.gives: SourceResult | Exception | None = None
        self.queries: list[SourceQuery] = []
        self.hook: Callable[[], None] = lambda: None

    def search(self, query: SourceQuery) -> SourceResult:
        self.queries.append(query)
        self.hook()
        if isinstance(self.gives, Exception):
            raise self.gives
        if self.gives is not None:
            return self.gives
        found = [read for read in self.reads if fold(read.plate) == query.folded_plate and query.admits(read)]
        found.sort(key=lambda read: read.captured_at, reverse=True)
        return SourceResult(reads=tuple(found[: query.limit]), truncated=len(found) > query.limit)

    def describe(self) -> SourceDescription:
        raise NotImplementedError

    def survey(self) -> Survey:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def __enter__(self) -> MemorySource:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def stored_read(
    number: int = 1, *, store: str = "fixed", at: datetime = NOON - timedelta(days=10), **changes: object
) -> StoredRead:
    """A read of the plate with everything in it."""
    read = StoredRead(
        store_id=store,
        read_id=f"r{number}",
        plate="8ABC-123",
        state="CA",
        country="US",
        captured_at=at,
        latitude=34.05,
        longitude=-118.24,
        address="100 Main St",
        intersection="Main St / 1st St",
        make="Honda",
        model="Civic",
        camera="cam-7",
        camera_kind="fixed",
        images=(StoredImage(image_id="i1", view="front"),),
        confidence=0.9,
        source="patrol",
    )
    return replace(read, **changes)  # type: ignore[arg-type]


class DiaryLog:
    """A log double: keeps entries and the order of things, and can stop taking any."""

    def __init__(self, diary: list[str]) -> None:
        self.diary = diary
        self.entries: list[Entry] = []
        self.unwritable: frozenset[str] = frozenset()

    async def append(self, *entries: Entry) -> list[Promise]:
        await asyncio.sleep(0)
        if {entry.kind for entry in entries} & self.unwritable:
            raise LogUnwritable("the disk is full")
        first = len(self.entries)
        self.entries.extend(entries)
        self.diary.append("+".join(entry.kind for entry in entries))
        return [
            Promise(origin="lapd.example/adapter", index=first + at, leaf_hash=bytes(32))
            for at in range(len(entries))
        ]

    def checkpoint(self) -> bytes:
        return b"the last checkpoint"

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.entries]


class Bench:
    """A provider's path with all its parts at hand, and a requester that can lie in every way."""

    def __init__(
        self,
        made: FederationOnDisk,
        folder: Path,
        *,
        provider: str = "lapd",
        bundle: Path | PolicyBundle | None = None,
    ) -> None:
        self.made = made
        self.folder = folder
        self.provider = provider
        self.clock = HandClock()
        self.diary: list[str] = []
        self.log = DiaryLog(self.diary)
        self.source = MemorySource(stored_read())
        self.announcements = Announcements(self.clock)
        self.threads = StoreThreads(4)
        self.subjects = Subjects(max_in_flight=1_000)
        self.federation = Federation.load(made.public, now=NOON)
        if not isinstance(bundle, PolicyBundle):
            bundle = PolicyBundle.load(bundle or shipped(provider))
        self.bundle = bundle
        self.store_classes = {"fixed": "fixed"}
        self.path = self.build()

    def build(self, log: AuditLog | None = None) -> ExchangePath:
        """A path as after a start of the process: everything it knows is on disk."""
        book = AgreementBook.load(self.made.agreements(self.provider), self.federation)
        assert not book.rejected
        key = SigningKey.load(self.made.adapter_home(self.provider) / "keys" / "statement.key")
        state = open_state(self.folder / "state.db")
        self.barring = Barring(state)
        self.beside = Beside(log or self.log)
        self.people = People(
            agency=self.provider,
            barring=self.barring,
            key=key,
            log=log or self.log,
            beside=self.beside,
            member=lambda agency: self.path.standing.federation.members.get(agency),
            clock=self.clock,
        )
        self.path = ExchangePath(
            standing=Standing(
                agency=self.provider,
                federation=self.federation,
                agreements=book,
                engine=PolicyEngine(self.bundle),
                stores=tuple(
                    Store(facts=StoreFacts(store_id=name, store_class=kind), source=self.source)
                    for name, kind in self.store_classes.items()
                ),
            ),
            log=log or self.log,
            replay=ReplayGuard(state, clock=self.clock),
            spending=Spending(state, clock=self.clock),
            announcements=self.announcements,
            signer=ReceiptSigner(self.provider, key, clock=self.clock),
            threads=self.threads,
            subjects=self.subjects,
            people=self.people,
            clock=self.clock,
            announcement_seconds=0.5,
        )
        return self.path

    def standing(self, **changes: object) -> None:
        """Change what is in force."""
        self.path.standing = replace(self.path.standing, **changes)  # type: ignore[arg-type]

    def statement_key(self, agency: str) -> SigningKey:
        return SigningKey.load(self.made.gateway_home(agency) / "keys" / "statement.key")

    def query(self, requester: str = "lahd", **changes: object) -> query_pb2.Query:
        """A good query; `changes` replace fields of it."""
        assertion = changes.pop("assertion", None) or self.made.assertion(requester, self.clock())
        query = query_pb2.Query(
            nonce=secrets.token_bytes(16),
            exchange_id=secrets.token_bytes(16),
            requester=requester,
            provider=self.provider,
            plate=common_pb2.Plate(number=PLATE, state="CA", country="US"),
            period=period(NOON - timedelta(days=30), NOON),
            reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
            case_number="LA-2026-1",
            reason_text="vehicle seen at the scene",
            elements=[
                common_pb2.ELEMENT_LOCATION,
                common_pb2.ELEMENT_IMAGES,
                common_pb2.ELEMENT_VEHICLE,
                common_pb2.ELEMENT_CAMERA,
            ],
            made_at=from_instant(self.clock()),
        )
        query.subject.jwt = str(assertion)
        for name, value in changes.items():
            if value is None:
                query.ClearField(name)  # type: ignore[arg-type]
            elif hasattr(value, "DESCRIPTOR"):
                getattr(query, name).CopyFrom(value)
            elif isinstance(value, list):
                query.ClearField(name)  # type: ignore[arg-type]
                getattr(query, name).extend(value)
            else:
                setattr(query, name, value)
        return query

    def ask(
        self,
        query: query_pb2.Query | None = None,
        *,
        requester: str = "lahd",
        signer: SigningKey | None = None,
        leaf: Callable[[query_pb2.OrderLeaf], None] = lambda leaf: None,
        order: Callable[[query_pb2.Order], None] = lambda order: None,
        announce: bool = True,
    ) -> session_pb2.Ask:
        """A signed and announced question, with another provider beside this one in the order."""
        query = query or self.query(requester)
        data = query.SerializeToString()
        mine = query_pb2.OrderLeaf(
            provider=self.provider, query_digest=digest(data), salt=secrets.token_bytes(16)
        )
        leaf(mine)
        other = query_pb2.OrderLeaf(provider="vendor", query_digest=bytes(32), salt=secrets.token_bytes(16))
        leaves = [mine.SerializeToString(), other.SerializeToString()]
        hashes = [merkle.leaf_hash(item) for item in leaves]
        signed = query_pb2.Order(
            exchange_id=query.exchange_id,
            requester=requester,
            issued_at=from_instant(self.clock()),
            deadline=from_instant(self.clock() + timedelta(seconds=10)),
            roster_version=self.federation.version,
            root=merkle.root(hashes),
            leaf_count=2,
            nonce=secrets.token_bytes(16),
        )
        order(signed)
        if announce:
            self.announce(query.exchange_id, requester)
        return session_pb2.Ask(
            exchange_id=signed.exchange_id,
            order=seal(signed, signer or self.statement_key(requester)),
            inclusion=query_pb2.OrderInclusion(
                leaf=leaves[0], index=0, path=merkle.inclusion_path(hashes, 0)
            ),
            query=data,
        )

    def announce(self, exchange_id: bytes, requester: str) -> None:
        self.announcements.add(self.announcement(exchange_id, requester))

    def announcement(self, exchange_id: bytes, requester: str) -> link_pb2.Announcement:
        return link_pb2.Announcement(
            exchange_id=exchange_id,
            requester=requester,
            deadline=from_instant(self.clock() + timedelta(seconds=10)),
        )

    async def answer(self, ask: session_pb2.Ask | None = None, *, peer: str = "lahd") -> Reply | None:
        return await self.path.answer(peer, ask or self.ask(requester=peer))

    async def reply(self, ask: session_pb2.Ask | None = None, *, peer: str = "lahd") -> Reply:
        reply = await self.answer(ask, peer=peer)
        assert reply is not None
        return reply

    def receipt(self, envelope: Envelope) -> result_pb2.Receipt:
        """The receipt, verified by this provider's key in the roster."""
        keys = self.federation.member(self.provider).key_set.statement_keys_at(self.clock())
        return open_envelope(envelope, result_pb2.Receipt, keys).message


def period(start: datetime, end: datetime) -> common_pb2.Period:
    return common_pb2.Period(start=from_instant(start), end=from_instant(end))


def detail_of(reply: Reply) -> result_pb2.ResultDetail:
    return result_pb2.ResultDetail.FromString(reply.detail)


def reads_of(reply: Reply) -> Sequence[result_pb2.Read]:
    pages = [result_pb2.Page.FromString(page) for page in reply.pages]
    return [read for page in pages for read in page.reads]


def malleated(envelope: Envelope) -> Envelope:
    """The same order under another valid signature: (r, s) becomes (r, n - s)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = Envelope()
    other.CopyFrom(envelope)
    r, s = decode_dss_signature(envelope.signatures[0].signature)
    other.signatures[0].signature = encode_dss_signature(r, order - s)
    return other
