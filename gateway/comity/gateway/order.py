"""The order: one signature an exchange over the list of whom to ask (design section 3).

Each provider gets its own query. The order signs a Merkle root over salted leaves of (provider,
digest of its query), so that the broker has a signed list of whom to ask, each provider has proof
that it is meant, and none learns of the others or can pass the query on as its own errand.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from comity.audit import merkle
from comity.certs.envelope import digest, seal
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.gateway.question import Question
from comity.v1 import envelope_pb2, query_pb2, subject_pb2

NONCE_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What one provider is asked: its query's bytes, and its proof that the order names it."""

    provider: str
    query: bytes
    query_digest: bytes
    inclusion: query_pb2.OrderInclusion


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOrder:
    """A signed order with what each provider gets of it.

    `envelope` holds the serialized `Order`; `digest` is SHA-256 of that payload; `leaves` are the
    serialized leaves in the order of the tree, which the broker gets.
    """

    exchange_id: bytes
    envelope: envelope_pb2.Envelope
    digest: bytes
    leaves: tuple[bytes, ...]
    asking: Mapping[str, Asking]
    issued_at: datetime
    deadline: datetime


def sign_order(
    question: Question,
    *,
    requester: str,
    providers: Sequence[str],
    assertion: str,
    key: SigningKey,
    roster_version: int,
    now: datetime,
    deadline: datetime,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> SignedOrder:
    """Return the signed order that asks each of `providers` (at least one) the `question`.

    `random` gives that many unpredictable bytes; tests hand in their own.
    """
    if not providers:
        raise ValueError("an order names at least one provider")
    exchange_id = random(NONCE_BYTES)
    queries = {
        provider: _query(
            question, exchange_id, requester, provider, assertion, now, random
        ).SerializeToString()
        for provider in providers
    }
    digests = {provider: digest(query) for provider, query in queries.items()}
    leaves = tuple(
        query_pb2.OrderLeaf(
            provider=provider, query_digest=digests[provider], salt=random(NONCE_BYTES)
        ).SerializeToString()
        for provider in providers
    )
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    order = query_pb2.Order(
        exchange_id=exchange_id,
        requester=requester,
        issued_at=from_instant(now),
        deadline=from_instant(deadline),
        roster_version=roster_version,
        root=merkle.root(hashes),
        leaf_count=len(leaves),
        nonce=random(NONCE_BYTES),
    )
    envelope = seal(order, key)
    asking = {
        provider: Asking(
            provider=provider,
            query=queries[provider],
            query_digest=digests[provider],
            inclusion=query_pb2.OrderInclusion(
                leaf=leaves[index], index=index, path=merkle.inclusion_path(hashes, index)
            ),
        )
        for index, provider in enumerate(providers)
    }
    return SignedOrder(
        exchange_id=exchange_id,
        envelope=envelope,
        digest=digest(envelope.payload),
        leaves=leaves,
        asking=asking,
        issued_at=now,
        deadline=deadline,
    )


def _query(
    question: Question,
    exchange_id: bytes,
    requester: str,
    provider: str,
    assertion: str,
    now: datetime,
    random: Callable[[int], bytes],
) -> query_pb2.Query:
    return query_pb2.Query(
        nonce=random(NONCE_BYTES),
        exchange_id=exchange_id,
        requester=requester,
        provider=provider,
        plate=question.plate,
        period=question.period,
        reason=question.reason,
        case_number=question.case_number,
        reason_text=question.reason_text,
        on_behalf_of=question.on_behalf_of,
        elements=question.elements,
        area=question.area,
        subject=subject_pb2.SubjectAssertion(jwt=assertion),
        made_at=from_instant(now),
        retry_of=question.retry_of,
        limitation_years=question.limitation_years,
        offence=question.offence,
        readings=question.readings,
    )
