"""What an adapter writes to its log: pure builders of entries (L1).

In clear stand ids, digests, agencies, outcomes and the reason's code from the list (`purpose`, for
statistics: L7). All that the requester's user entered, who the user is, which rules determined the decision
and what was released stand as commitments, their openings in this end's own store. A rejected exchange
leaves a class of reason, and its order where that was signed well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from comity.adapters.errors import RejectReason
from comity.adapters.orders import EXCHANGE_ID_BYTES, SignedOrder
from comity.adapters.questions import Question
from comity.adapters.receipts import Grounds
from comity.adapters.ruling import Ruling
from comity.audit.canonical import MAX_INTEGER, JsonValue
from comity.audit.entry import POLICY_ACTIVATED, Entry, to_milliseconds
from comity.certs.claims import Claims
from comity.certs.envelope import digest, from_json
from comity.certs.user_acts import UserAct
from comity.policy.bundle import PolicyBundle
from comity.policy.obligations import Applied
from comity.v1.common_pb2 import OutcomeKind
from comity.v1.envelope_pb2 import Envelope
from comity.v1.result_pb2 import Acknowledgement
from comity.v1.session_pb2 import Ask
from comity.v1.users_pb2 import SuspensionNotice


def kind_name(kind: OutcomeKind) -> str:
    """Return `responded` for `OUTCOME_KIND_RESPONDED`, and so on."""
    return OutcomeKind.Name(kind).removeprefix("OUTCOME_KIND_").lower()


def event(kind: str, agency: str, at: datetime, **public: str) -> Entry:
    """Return an entry of the end itself: started, policy and agreements activated, links and sessions."""
    return Entry(kind=kind, at=at, public={"agency": agency, **public})


def revocations_activated(agency: str, at: datetime, issuer: str, version: int, digest: bytes) -> Entry:
    """Return the entry of a newer list of revocations; `issuer` is whose own it is, empty the authority's."""
    whose = {"issuer": issuer} if issuer else {}
    return event("revocations_activated", agency, at, version=str(version), digest=digest.hex(), **whose)


def policy_activated(bundle: PolicyBundle, at: datetime) -> Entry:
    """Return the entry of a bundle that is in force from here on, with what the agency signed it by.

    A bundle that nobody signed names no adoption.
    """
    adopted: dict[str, JsonValue] = {}
    if bundle.adoption:
        adopted["adoption"] = digest(from_json(bundle.adoption).payload).hex()
    return Entry(
        kind=POLICY_ACTIVATED,
        at=at,
        public={
            "agency": bundle.agency,
            "policy": bundle.digest.hex(),
            "version": bundle.version,
            **adopted,
        },
    )


def received(
    agency: str,
    order: SignedOrder,
    ask: Ask,
    question: Question,
    claims: Claims,
    *,
    query_digest: bytes,
    at: datetime,
) -> Entry:
    """Return the entry of a query that passed every check before the decision, with its evidence."""
    return Entry(
        kind="received",
        at=at,
        exchange=order.exchange_id,
        public={
            "agency": agency,
            "peer": order.requester,
            "order": order.digest.hex(),
            "query": query_digest.hex(),
            "purpose": question.reason.lower(),
            "area": question.area is not None,
        },
        private=_entered(question, claims),
        attachments={"order": ask.order.SerializeToString(), "query": ask.query},
    )


def decided(
    agency: str,
    order: SignedOrder,
    ruling: Ruling,
    grounds: Grounds,
    *,
    facts: str,
    query_digest: bytes,
    at: datetime,
) -> Entry:
    """Return the entry of a decision, which is durable before any store is touched.

    `facts` are all that it was made of (`comity.policy.written`), so that it can be made again.
    """
    return Entry(
        kind="decided",
        at=at,
        exchange=order.exchange_id,
        public={
            "agency": agency,
            "peer": order.requester,
            "query": query_digest.hex(),
            "outcome": kind_name(ruling.kind),
            **_grounds(grounds),
        },
        private={"facts": facts, **told_of(ruling)},
    )


def told_of(ruling: Ruling) -> dict[str, str]:
    """Return the private fields of `decided` that say what was decided, and by which policies.

    `effect` tells a refusal that is shown as an answer without hits from an answer (A1): `outcome`, which
    stands in clear, is what the requester is told.
    """
    return {
        "effect": ruling.effect.value,
        "rules": _array(f"{rule.policy_id} {','.join(rule.rules)}" for rule in ruling.determined_by),
        "stores": _array(store.store_id for store in ruling.stores if not store.decoy),
        "obligations": _array(map(_obligation, ruling.applied)),
        "errors": _array(ruling.errors),
    }


def _obligation(item: Applied) -> str:
    return f"{item.name} {item.policy_id}{'' if item.said else ' (not said)'}"


def released(
    agency: str,
    order: SignedOrder,
    kind: OutcomeKind,
    grounds: Grounds,
    *,
    query_digest: bytes,
    content_root: bytes,
    read_count: int,
    at: datetime,
) -> Entry:
    """Return the entry that a receipt promises: what leaves, as a commitment to its root.

    Whether an answer holds reads stands in clear, so that hits can be counted (L7); how many does not.
    """
    hit: dict[str, JsonValue] = {"hit": read_count > 0} if kind == OutcomeKind.OUTCOME_KIND_RESPONDED else {}
    return Entry(
        kind="released",
        at=at,
        exchange=order.exchange_id,
        public={
            "agency": agency,
            "peer": order.requester,
            "query": query_digest.hex(),
            "outcome": kind_name(kind),
            **hit,
            **_grounds(grounds),
        },
        private={"results": content_root.hex(), "reads": str(read_count)},
    )


def rejected(
    agency: str,
    peer: str,
    reason: RejectReason,
    *,
    exchange_id: bytes,
    kind: OutcomeKind | None,
    query_digest: bytes | None,
    order: Envelope | None,
    grounds: Grounds,
    at: datetime,
) -> Entry:
    """Return the entry of what was turned away before a decision.

    `kind`, `query_digest` and `order` are given where a receipt answers it: then the order's signature was
    good, and the order, which holds no content, is kept as evidence of who asked; and the receipt names the
    policy in force.
    """
    public: dict[str, JsonValue] = {"agency": agency, "peer": peer, "reason": reason.value}
    if kind is not None:
        public["outcome"] = kind_name(kind)
        public["policy"] = grounds.policy_digest.hex()
    if query_digest is not None:
        public["query"] = query_digest.hex()
    attachments = {}
    if order is not None:
        public["order"] = digest(order.payload).hex()
        attachments["order"] = order.SerializeToString()
    return Entry(
        kind="rejected", at=at, exchange=_exchange(exchange_id), public=public, attachments=attachments
    )


def answered(
    agency: str,
    peer: str,
    exchange_id: bytes,
    kind: OutcomeKind,
    receipt: Envelope,
    *,
    deadline: datetime,
    at: datetime,
) -> Entry:
    """Return the entry of a receipt that is given to broker and session; the receipt is kept beside it.

    The exchange's deadline tells, after a restart, when its acknowledgement is overdue.
    """
    return Entry(
        kind="answered",
        at=at,
        exchange=_exchange(exchange_id),
        public={
            "agency": agency,
            "peer": peer,
            "outcome": kind_name(kind),
            "receipt": digest(receipt.payload).hex(),
            "deadline": to_milliseconds(deadline),
        },
        attachments={"receipt": receipt.SerializeToString()},
    )


def acknowledged(
    agency: str,
    peer: str,
    exchange_id: bytes,
    said: Acknowledgement,
    *,
    acknowledgement: Envelope,
    at: datetime,
) -> Entry:
    """Return the entry of the requester's signed word that it gave the result to its caller."""
    return Entry(
        kind="acknowledged",
        at=at,
        exchange=_exchange(exchange_id),
        public={
            "agency": agency,
            "peer": peer,
            "receipt": said.receipt_digest.hex(),
            "acknowledgement": digest(acknowledgement.payload).hex(),
            "index": min(said.promise.index, MAX_INTEGER),
            "leaf": said.promise.leaf_hash.hex(),
        },
        attachments={"acknowledgement": acknowledgement.SerializeToString()},
    )


def user_suspended(agency: str, notice: bytes, at: datetime) -> Entry:
    """Return the entry of a suspension (Q8), from the serialized envelope of its notice."""
    envelope = Envelope.FromString(notice)
    said = SuspensionNotice.FromString(envelope.payload)
    public: dict[str, JsonValue] = {
        "agency": agency,
        "peer": said.agency,
        "notice": digest(envelope.payload).hex(),
        "refusals": said.refusals,
        "since": to_milliseconds(said.suspended_at.ToDatetime(tzinfo=UTC)),
        "policy": said.policy_digest.hex(),
    }
    if said.HasField("ends_at"):
        public["until"] = to_milliseconds(said.ends_at.ToDatetime(tzinfo=UTC))
    return Entry(
        kind="user_suspended",
        at=at,
        public=public,
        private={"user": said.user},
        attachments={"notice": notice},
    )


def user_act(agency: str, act: UserAct, *, ended: bool, at: datetime) -> Entry:
    """Return the entry of another agency's act about its user (Q8); `ended`: it ended a suspension here."""
    return Entry(
        kind="user_terminated" if act.terminates else "user_readmitted",
        at=at,
        public={
            "agency": agency,
            "peer": act.agency,
            "act": act.digest.hex(),
            "given": to_milliseconds(act.given_at),
            "suspension_ended": ended,
        },
        private={"user": act.user},
        attachments={"act": act.envelope.SerializeToString()},
    )


def unacknowledged(agency: str, peer: str, exchange_id: bytes, receipt: bytes, at: datetime) -> Entry:
    """Return the entry of a receipt that was given out and that nobody acknowledged in time."""
    return Entry(
        kind="unacknowledged",
        at=at,
        exchange=_exchange(exchange_id),
        public={"agency": agency, "peer": peer, "receipt": receipt.hex()},
    )


def _exchange(exchange_id: bytes) -> bytes | None:
    """Return an exchange's id; None for what is none: a peer's bytes are not written as they come."""
    return exchange_id if len(exchange_id) == EXCHANGE_ID_BYTES else None


def cancelled(agency: str, peer: str, exchange_id: bytes, reason: str, at: datetime) -> Entry:
    """Return the entry of an exchange that ended before all of it was sent; `reason` is a class."""
    return Entry(
        kind="cancelled",
        at=at,
        exchange=_exchange(exchange_id),
        public={"agency": agency, "peer": peer, "reason": reason},
    )


def _grounds(grounds: Grounds) -> dict[str, JsonValue]:
    """Return what a decision stands on, in hex."""
    return {
        "policy": grounds.policy_digest.hex(),
        "policy_version": grounds.policy_version,
        "agreement": grounds.agreement_digest.hex(),
    }


def _array(values: Iterable[str]) -> str:
    """Return texts as one JSON array: a private field is one text."""
    return json.dumps(list(values), separators=(",", ":"))


def _entered(question: Question, claims: Claims) -> dict[str, str]:
    """Return all that the user entered, and who the user is, in the gateway's own words."""
    fields = {
        "user": claims.user,
        "office": claims.office,
        "plate": question.plate,
        "plate_folded": question.folded,
        "state": question.state,
        "country": question.country,
        "period": f"{question.start.isoformat()}/{question.end.isoformat()}",
        "reason": question.reason,
        "case": question.case_number,
        "reason_text": question.reason_text,
        "on_behalf_of": question.on_behalf_of,
        "elements": ",".join(question.elements),
    }
    if question.area is not None:
        area = question.area
        fields["area"] = f"{area.latitude},{area.longitude},{area.radius_metres}"
    if question.limitation_years:
        fields["limitation_years"] = str(question.limitation_years)
    if question.readings:
        fields["readings"] = " ".join(question.readings)
    if question.offence:
        fields["offence"] = question.offence
    return fields
