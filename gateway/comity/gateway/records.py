"""What a gateway writes to its log: pure builders of entries (L1).

In clear stand ids, digests, agencies, outcomes and the reason's code from the list (`purpose`, for
statistics: L7); everything that the user entered, and who the user is, stands as a commitment, its opening
in this end's own store.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from comity.audit.canonical import MAX_INTEGER
from comity.audit.entry import Entry, JsonValue, to_milliseconds
from comity.audit.log import Promise
from comity.certs.assertions import Claims
from comity.certs.envelope import digest
from comity.certs.instants import from_instant, to_instant
from comity.certs.revocations import Revoked
from comity.gateway.exchange import Exchange, Settled
from comity.gateway.findings import Finding
from comity.gateway.house import HouseSaid
from comity.gateway.order import SignedOrder
from comity.gateway.question import Question
from comity.v1 import audit_pb2, common_pb2, link_pb2, query_service_pb2, result_pb2
from comity.v1.envelope_pb2 import Envelope


def kind_name(kind: common_pb2.OutcomeKind) -> str:
    """Return `responded` for `OUTCOME_KIND_RESPONDED`, and so on."""
    return common_pb2.OutcomeKind.Name(kind).removeprefix("OUTCOME_KIND_").lower()


def event(kind: str, agency: str, at: datetime, **public: str) -> Entry:
    """Return an entry of the end itself: started, stopped, links and sessions."""
    return Entry(kind=kind, at=at, public={"agency": agency, **public})


def revocations_activated(agency: str, at: datetime, issuer: str, version: int, digest: bytes) -> Entry:
    """Return the entry of a newer list of revocations; `issuer` is whose own it is, empty the authority's."""
    whose = {"issuer": issuer} if issuer else {}
    return event("revocations_activated", agency, at, version=str(version), digest=digest.hex(), **whose)


def call_cut(agency: str, at: datetime, certificate: str, revoked: Revoked) -> Entry:
    """Return the entry of a call that was cut; no serial number of a certificate: its user is revoked."""
    whose = {"certificate": certificate} if certificate else {}
    since = to_milliseconds(revoked.at)
    public: dict[str, JsonValue] = {"agency": agency, "reason": revoked.reason, "since": since, **whose}
    return Entry(kind="call_cut", at=at, public=public)


def asked(
    agency: str,
    question: Question,
    claims: Claims,
    order: SignedOrder,
    not_asked: Sequence[query_service_pb2.NotAsked],
    at: datetime,
    house: HouseSaid | None = None,
) -> Entry:
    """Return the entry that must be durable before a frame of the exchange leaves."""
    attachments = {"order": order.envelope.SerializeToString()}
    attachments.update({f"query:{name}": asking.query for name, asking in order.asking.items()})
    queries: dict[str, JsonValue] = {name: asking.query_digest.hex() for name, asking in order.asking.items()}
    return Entry(
        kind="asked",
        at=at,
        exchange=order.exchange_id,
        public={
            "agency": agency,
            "order": order.digest.hex(),
            "asked": queries,
            "not_asked": _reasons(not_asked),
            "purpose": _purpose(question),
            "area": question.area is not None,
            "retry": bool(question.retry_of),
            **_house(house),
        },
        private=_entered(question, claims),
        attachments=attachments,
    )


def turned_down(
    agency: str,
    why: str,
    at: datetime,
    *,
    claims: Claims,
    question: Question | None = None,
    not_asked: Sequence[query_service_pb2.NotAsked] = (),
    house: HouseSaid | None = None,
) -> Entry:
    """Return the entry of a request of which nothing left the house; `why` is a class, never content."""
    if question is None:
        return Entry(
            kind="turned_down",
            at=at,
            public={"agency": agency, "why": why},
            private={"user": claims.user, "office": claims.office},
        )
    return Entry(
        kind="turned_down",
        at=at,
        public={
            "agency": agency,
            "why": why,
            "not_asked": _reasons(not_asked),
            "purpose": _purpose(question),
            **_house(house),
        },
        private=_entered(question, claims),
    )


def delivered(agency: str, exchange_id: bytes, batch: Iterable[Settled], at: datetime) -> list[Entry]:
    """Return the entries that must be durable before the caller sees the results in `batch`."""
    return [
        Entry(
            kind="delivered",
            at=at,
            exchange=exchange_id,
            public={
                "agency": agency,
                "peer": item.provider,
                "outcome": kind_name(item.kind),
                "receipt": item.result.receipt.digest.hex(),
                "policy": item.result.receipt.receipt.policy_digest.hex(),
                "stamped": item.stamp is not None,
                **_hit(item.kind, item.result.read_count),
                **_promised(item.result.receipt.receipt),
            },
            private={
                "results": item.result.receipt.receipt.content_root.hex(),
                "reads": str(item.result.read_count),
            },
            attachments={
                f"receipt:{item.provider}": item.result.receipt.envelope.SerializeToString(),
                f"detail:{item.provider}": item.result.receipt.detail_bytes,
            },
        )
        for item in batch
        if item.result is not None
    ]


def acknowledgement(
    agency: str, provider: str, exchange_id: bytes, receipt_digest: bytes, promise: Promise, at: datetime
) -> result_pb2.Acknowledgement:
    """Return the statement that a result was given to its caller, which stands in the log at `promise`."""
    return result_pb2.Acknowledgement(
        nonce=secrets.token_bytes(16),
        exchange_id=exchange_id,
        requester=agency,
        provider=provider,
        receipt_digest=receipt_digest,
        delivered_at=from_instant(at),
        promise=audit_pb2.LogPromise(origin=promise.origin, index=promise.index, leaf_hash=promise.leaf_hash),
    )


def _hit(kind: common_pb2.OutcomeKind, read_count: int) -> dict[str, JsonValue]:
    """Return whether an answer holds reads, which stands in clear so that hits can be counted (L7)."""
    return {"hit": read_count > 0} if kind == common_pb2.OUTCOME_KIND_RESPONDED else {}


def _promised(receipt: result_pb2.Receipt) -> dict[str, JsonValue]:
    """Return where the provider's log keeps what its receipt promises; nothing if it promises nothing."""
    if not receipt.HasField("promise"):
        return {}
    return {
        "index": min(receipt.promise.index, MAX_INTEGER),
        "leaf": receipt.promise.leaf_hash[:32].hex(),
    }


def concluded(agency: str, exchange: Exchange, settled: Mapping[str, Settled], at: datetime) -> list[Entry]:
    """Return the entries of a finished exchange: all outcomes, the account, and contradictions if any.

    A provider's receipt of which nothing was shown is kept too: what it signed can be held against it.
    """
    outcomes: dict[str, JsonValue] = {name: kind_name(item.kind) for name, item in settled.items()}
    public: dict[str, JsonValue] = {"agency": agency, "outcomes": outcomes}
    claimed = {
        name: {digest(receipt.payload): receipt for receipt in item.claimed} for name, item in settled.items()
    }
    attachments = {
        f"unshown:{name}:{key.hex()}": receipt.SerializeToString()
        for name, receipts in claimed.items()
        for key, receipt in receipts.items()
    }
    if attachments:
        public["unshown"] = {name: [key.hex() for key in found] for name, found in claimed.items() if found}
    if exchange.account_envelope is not None:
        public["account"] = digest(exchange.account_envelope.payload).hex()
        attachments["account"] = exchange.account_envelope.SerializeToString()
    exchange_id = exchange.order.exchange_id
    entries = [Entry(kind="concluded", at=at, exchange=exchange_id, public=public, attachments=attachments)]
    if found := exchange.findings:
        entries.append(contradicted(agency, exchange_id, found, at, order=exchange.order))
    return entries


def contradicted(
    agency: str,
    exchange_id: bytes,
    found: Sequence[Finding],
    at: datetime,
    *,
    order: SignedOrder | None = None,
) -> Entry:
    """Return the entry of an exchange's findings.

    It names the digests of the statements that show them; beside it are kept their envelopes and, for what
    contradicts the order, all its leaves.
    """
    envelopes = {
        f"evidence:{name.hex()}": envelope.SerializeToString()
        for finding in found
        for name, envelope in zip(finding.digests, finding.evidence, strict=True)
    }
    if order is not None and f"evidence:{order.digest.hex()}" in envelopes:
        placement = link_pb2.OrderPlacement(order=order.envelope, leaves=order.leaves)
        envelopes["placement"] = placement.SerializeToString()
    lines: list[JsonValue] = [finding.text for finding in found]
    told: list[JsonValue] = [
        {
            "kind": query_service_pb2.FindingKind.Name(finding.kind).removeprefix("FINDING_KIND_").lower(),
            "provider": finding.provider,
            "suspects": list(finding.suspects),
            "evidence": [name.hex() for name in finding.digests],
        }
        for finding in found
    ]
    return Entry(
        kind="contradiction",
        at=at,
        exchange=exchange_id,
        public={"agency": agency, "findings": lines, "found": told},
        attachments=envelopes,
    )


def retrieving(
    agency: str, provider: str, claims: Claims, *, start: datetime, end: datetime, at: datetime
) -> Entry:
    """Return the entry of an auditor who retrieves a provider's records of this agency's users (L3)."""
    return Entry(
        kind="exported",
        at=at,
        public={
            "agency": agency,
            "peer": provider,
            "from": to_milliseconds(start),
            "to": to_milliseconds(end),
        },
        private={"user": claims.user, "office": claims.office},
    )


def unverifiable(agency: str, provider: str, why: str, statement: Envelope | None, at: datetime) -> Entry:
    """Return the entry of records that do not verify; what the provider signed is kept beside it."""
    public: dict[str, JsonValue] = {"agency": agency, "findings": [f"records of {provider}: {why}"]}
    attachments = {}
    if statement is not None:
        public["statement"] = digest(statement.payload).hex()
        attachments["statement"] = statement.SerializeToString()
    return Entry(kind="contradiction", at=at, public=public, attachments=attachments)


def cancelled(agency: str, exchange_id: bytes, at: datetime) -> Entry:
    """Return the entry of an exchange whose caller went away."""
    return Entry(
        kind="concluded",
        at=at,
        exchange=exchange_id,
        public={"agency": agency, "outcomes": {}, "cancelled": True},
    )


def _house(said: HouseSaid | None) -> dict[str, JsonValue]:
    """Return what the house rules said, where there are any."""
    return {} if said is None else {"house": said.to_log()}


def _purpose(question: Question) -> str:
    """Return the code from the list of reasons, which stands in clear for statistics (L7)."""
    return common_pb2.ReasonCode.Name(question.reason).removeprefix("REASON_CODE_").lower()


def _reasons(not_asked: Sequence[query_service_pb2.NotAsked]) -> dict[str, JsonValue]:
    prefix = "NOT_ASKED_REASON_"
    return {
        item.agency: query_service_pb2.NotAskedReason.Name(item.reason).removeprefix(prefix).lower()
        for item in not_asked
    }


def _entered(question: Question, claims: Claims) -> dict[str, str]:
    start, end = to_instant(question.period, "start"), to_instant(question.period, "end")
    elements = (common_pb2.Element.Name(element) for element in question.elements)
    fields = {
        "user": claims.user,
        "office": claims.office,
        "plate": question.plate.number,
        "plate_folded": question.folded_plate,
        "state": question.plate.state,
        "country": question.plate.country,
        "period": f"{start.isoformat()}/{end.isoformat()}",
        "reason": _purpose(question).upper(),
        "case": question.case_number,
        "reason_text": question.reason_text,
        "on_behalf_of": question.on_behalf_of,
        "elements": ",".join(name.removeprefix("ELEMENT_") for name in elements),
    }
    if question.area is not None:
        area = question.area
        fields["area"] = f"{area.latitude},{area.longitude},{area.radius_metres}"
    if question.limitation_years:
        fields["limitation_years"] = str(question.limitation_years)
    if question.border_nexus:
        fields["border_nexus"] = question.border_nexus
    if question.readings:
        fields["readings"] = " ".join(question.readings)
    if question.offence:
        fields["offence"] = question.offence
    return fields
