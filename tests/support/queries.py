"""Logs of a gateway and of an adapter that tell of questions, made by the ends' own builders of entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from comity.adapters import records as adapter
from comity.adapters.receipts import Grounds
from comity.adapters.ruling import Ruling
from comity.audit.entry import Entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.certs.clock import Clock
from comity.certs.envelope import digest
from comity.cli.ceilings import make_ceiling
from comity.gateway import records as gateway
from comity.policy.decision import Rule
from comity.v1 import common_pb2, query_service_pb2
from comity.v1.envelope_pb2 import Envelope
from comity.v1.result_pb2 import Receipt

SHERIFF, LAPD = "sheriff.example/gateway", "lapd.example/adapter"
BEGIN = datetime(2026, 10, 5, 8, 0, 0, tzinfo=UTC)
AGREEMENTS = {"lapd": b"\x11" * 32, "cbp": b"\x22" * 32, "dea": b"\x33" * 32}
CEILINGS = {
    "lapd": make_ceiling("lapd", "licence plate reads", "LAW ENFORCEMENT SENSITIVE // NO ONWARD SHARING"),
    "cbp": make_ceiling("cbp", "licence plate reads", "CUI//LEI"),
    "dea": make_ceiling("dea", "licence plate reads", "CUI//LEI//FED ONLY"),
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question as a user typed it; tests change what they are about."""

    user: str = "j.ortega"
    office: str = "Investigations"
    plate: str = "8ABC123"
    state: str = "CA"
    case: str = "26-0417"
    reason: str = "CRIMINAL_INVESTIGATION"
    text: str = "series of burglaries near the harbor"
    readings: tuple[str, ...] = ()
    on_behalf_of: str = ""
    area: tuple[float, float, int] | None = None

    @property
    def folded(self) -> str:
        return self.plate.upper().replace(" ", "").replace("-", "")

    @property
    def claims(self) -> Any:
        return SimpleNamespace(user=self.user, office=self.office)

    def at_gateway(self, at: datetime) -> Any:
        area = None
        if self.area is not None:
            area = common_pb2.Area(latitude=self.area[0], longitude=self.area[1], radius_metres=self.area[2])
        period = common_pb2.Period()
        period.start.FromDatetime(at - timedelta(days=30))
        period.end.FromDatetime(at)
        return SimpleNamespace(
            plate=common_pb2.Plate(number=self.plate, state=self.state, country="US"),
            folded_plate=self.folded,
            period=period,
            reason=common_pb2.ReasonCode.Value(f"REASON_CODE_{self.reason}"),
            case_number=self.case,
            reason_text=self.text,
            on_behalf_of=self.on_behalf_of,
            elements=[common_pb2.ELEMENT_LOCATION],
            area=area,
            limitation_years=0,
            offence="",
            readings=self.readings,
            border_nexus="",
            retry_of=b"",
        )

    def at_adapter(self, at: datetime) -> Any:
        return SimpleNamespace(
            plate=self.plate,
            folded=self.folded,
            state=self.state,
            country="US",
            start=at - timedelta(days=30),
            end=at,
            reason=self.reason,
            case_number=self.case,
            reason_text=self.text,
            on_behalf_of=self.on_behalf_of,
            elements=["LOCATION"],
            area=None
            if self.area is None
            else SimpleNamespace(latitude=self.area[0], longitude=self.area[1], radius_metres=self.area[2]),
            limitation_years=0,
            offence="",
            readings=self.readings,
        )


def kind_of(outcome: str) -> common_pb2.OutcomeKind:
    return common_pb2.OutcomeKind.Value(f"OUTCOME_KIND_{outcome.upper()}")


def receipt(provider: str, exchange: bytes, outcome: str) -> Envelope:
    """A receipt as far as a search reads it: nobody signed it, and its digest is what the entries name."""
    said = Receipt(
        exchange_id=exchange,
        provider=provider,
        kind=kind_of(outcome),
        agreement_digest=AGREEMENTS[provider],
        ceiling_marking=CEILINGS[provider],
    )
    return Envelope(payload=said.SerializeToString())


def at_gateway(
    asked: Asked, exchange: bytes, at: datetime, outcomes: Mapping[str, tuple[str, int]]
) -> list[Entry]:
    """Entries of one question to providers; of each its outcome, and reads where it is `responded`."""
    order = SimpleNamespace(
        exchange_id=exchange,
        digest=exchange * 2,
        envelope=Envelope(payload=b"order"),
        asking={
            name: SimpleNamespace(query=b"query of " + name.encode(), query_digest=exchange * 2)
            for name in outcomes
        },
    )
    entries = [gateway.asked("sheriff", asked.at_gateway(at), asked.claims, order, [], at)]
    settled: dict[str, Any] = {}
    for name, (outcome, reads) in outcomes.items():
        envelope = receipt(name, exchange, outcome)
        signed = outcome in ("responded", "refused")
        result = SimpleNamespace(
            receipt=SimpleNamespace(
                digest=digest(envelope.payload),
                receipt=Receipt.FromString(envelope.payload),
                envelope=envelope,
                detail_bytes=b"detail",
            ),
            read_count=reads,
        )
        settled[name] = SimpleNamespace(
            provider=name,
            kind=kind_of(outcome),
            result=result if signed else None,
            stamp=object(),
            claimed=[],
        )
    later = at + timedelta(seconds=1)
    entries += gateway.delivered("sheriff", exchange, settled.values(), later)
    whole = SimpleNamespace(order=order, account_envelope=None, findings=[])
    return [*entries, *gateway.concluded("sheriff", whole, settled, later)]  # type: ignore[arg-type]


def turned_down(asked: Asked, at: datetime, why: str = "house_rule") -> Entry:
    missing = query_service_pb2.NotAsked(
        agency="lapd", reason=query_service_pb2.NOT_ASKED_REASON_NO_AGREEMENT
    )
    return gateway.turned_down(
        "sheriff", why, at, claims=asked.claims, question=asked.at_gateway(at), not_asked=[missing]
    )


def at_adapter(
    asked: Asked,
    exchange: bytes,
    at: datetime,
    outcome: str,
    reads: int,
    *,
    peer: str = "sheriff",
    rules: Sequence[str] = ("lapd.local-partners",),
) -> list[Entry]:
    """Entries of one question that LAPD received."""
    order: Any = SimpleNamespace(exchange_id=exchange, digest=exchange * 2, requester=peer)
    ask: Any = SimpleNamespace(order=Envelope(payload=b"order"), query=b"query")
    grounds = Grounds(policy_digest=b"\x44" * 32, policy_version="7", agreement_digest=AGREEMENTS["lapd"])
    ruling = Ruling(
        kind=kind_of(outcome),
        rules=tuple(Rule(policy_id=name, rules=("A1",), document="", text="") for name in rules),
    )
    query = exchange * 2
    later = at + timedelta(seconds=1)
    return [
        adapter.received("lapd", order, ask, asked.at_adapter(at), asked.claims, query_digest=query, at=at),
        adapter.decided("lapd", order, ruling, grounds, facts="{}", query_digest=query, at=at),
        adapter.released(
            "lapd",
            order,
            kind_of(outcome),
            grounds,
            query_digest=query,
            content_root=b"\x55" * 32,
            read_count=reads,
            at=later,
        ),
        adapter.answered(
            "lapd",
            peer,
            exchange,
            kind_of(outcome),
            receipt("lapd", exchange, outcome),
            deadline=at + timedelta(seconds=10),
            at=later,
        ),
    ]


def agreement_activated(agency: str, peer: str) -> Entry:
    name = peer if agency == "sheriff" else agency
    return Entry(
        kind="agreement_activated",
        at=BEGIN,
        public={"agency": agency, "agreement": AGREEMENTS[name].hex(), "id": f"sharing-{name}-sheriff"},
    )


async def write_home(home: Path, origin: str, entries: Sequence[Entry], clock: Clock) -> Path:
    """Write an end's folder: its log key, its log with openings, its process down."""
    key = LogKey.generate(origin)
    key.save(home / "keys" / "log.key")
    log = await SignedLog.open(home, origin=origin, key=key, clock=clock)
    for first in range(0, len(entries), 5_000):
        await log.append(*entries[first : first + 5_000])
        await log.publish()
    await log.close()
    return home
