"""The fixed parties of the fuzz targets, and what they would honestly sign: the same on every run.

A saved input must mean the same thing again, so keys come from fixed text and so do all ids and nonces.
"""

from __future__ import annotations

import hashlib
import random
from datetime import timedelta
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric import ec

from comity.broker.exchange import AcceptedOrder, Asked
from comity.certs.envelope import digest, seal
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.gateway.order import sign_order
from comity.gateway.verification import Expectation
from comity.v1 import account_pb2, link_pb2, session_pb2
from tests.gateway.conftest import NOW, Provider, make_member, make_question

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PROVIDERS = ("lapd", "lahd")


def key(name: str) -> SigningKey:
    """A key that anyone can make again: for fuzzing and nothing else."""
    scalar = int.from_bytes(hashlib.sha256(f"comity fuzz key {name}".encode()).digest(), "big")
    return SigningKey(ec.derive_private_key(scalar % (_P256_ORDER - 1) + 1, ec.SECP256R1()))


SHERIFF, OPERATOR = key("sheriff"), key("operator")
_dice = random.Random("comity")

with patch("secrets.token_bytes", _dice.randbytes):
    QUESTION = make_question()
    PARTNERS = {name: Provider(name, key=key(name)) for name in PROVIDERS}
    REQUESTER = make_member("sheriff", SHERIFF, role="gateway")
    BROKER = make_member("operator", OPERATOR, role="broker")
    ORDER = sign_order(
        QUESTION,
        requester="sheriff",
        providers=PROVIDERS,
        assertion="header.payload.signature",
        key=SHERIFF,
        roster_version=1,
        now=NOW,
        deadline=NOW + timedelta(seconds=10),
        random=_dice.randbytes,
    )
    ANSWERS = {name: partner.answer(ORDER) for name, partner in PARTNERS.items()}
    STAMPS = {
        name: account_pb2.Stamp(
            exchange_id=ORDER.exchange_id,
            provider=name,
            ceiling_marking=PARTNERS[name].grant.ceiling,
            receipt_digest=digest(result.receipt.payload),
            stamped_at=from_instant(NOW),
        )
        for name, (result, _) in ANSWERS.items()
    }
    ACCOUNT = seal(
        account_pb2.Account(
            nonce=_dice.randbytes(16),
            exchange_id=ORDER.exchange_id,
            requester="sheriff",
            order_digest=ORDER.digest,
            entries=[
                account_pb2.AccountEntry(
                    provider=name, kind=PARTNERS[name].kind, stamp=STAMPS[name], announced=True
                )
                for name in PROVIDERS
            ],
            routed_at=from_instant(NOW),
            closed_at=from_instant(NOW),
        ),
        OPERATOR,
    )

PLACEMENT = link_pb2.OrderPlacement(order=ORDER.envelope, leaves=ORDER.leaves)
ANNOUNCEMENT = link_pb2.Announcement(
    exchange_id=ORDER.exchange_id, requester="sheriff", deadline=from_instant(ORDER.deadline)
)
ASK = session_pb2.Ask(
    exchange_id=ORDER.exchange_id,
    order=ORDER.envelope,
    inclusion=ORDER.asking["lapd"].inclusion,
    query=ORDER.asking["lapd"].query,
)
EXPECTED = {
    name: Expectation(
        question=QUESTION,
        requester="sheriff",
        requester_kind="local",
        asking=ORDER.asking[name],
        exchange_id=ORDER.exchange_id,
        ordered_at=ORDER.issued_at,
        member=partner.member,
        agreement=partner.agreement,
        grant=partner.grant,
    )
    for name, partner in PARTNERS.items()
}
ACCEPTED = AcceptedOrder(
    exchange_id=ORDER.exchange_id,
    requester="sheriff",
    digest=ORDER.digest,
    issued_at=ORDER.issued_at,
    deadline=ORDER.deadline,
    asked=tuple(
        Asked(
            provider=name,
            query_digest=ORDER.asking[name].query_digest,
            ceiling=partner.grant.ceiling,
            agreement_digest=partner.agreement.digest,
        )
        for name, partner in PARTNERS.items()
    ),
)
SIGNED = frozenset(
    (envelope.payload_type, envelope.payload)
    for envelope in (ORDER.envelope, ACCOUNT, *(result.receipt for result, _ in ANSWERS.values()))
)
"""Everything that any of the fixed keys ever signed: nothing else may ever open."""

TRUSTED = [SHERIFF.public, OPERATOR.public, *(partner.key.public for partner in PARTNERS.values())]
