"""What the logs of a simulated federation hold of one exchange, and what was signed in it."""

from __future__ import annotations

from datetime import timedelta

from comity.audit.entry import Entry
from comity.certs.envelope import open_envelope
from comity.certs.keys import SigningKey
from comity.v1.envelope_pb2 import Envelope
from comity.v1.query_pb2 import Order
from tests.simulator import Answer, FederationSimulator

BROKER = "operator/broker"
PATIENT = timedelta(seconds=60)
"""A deadline that no slow machine passes: simulated time moves with real time, and jumps where it can."""


def statement_key(federation: FederationSimulator, end: str) -> SigningKey:
    """Return the statement key of an end, `lapd/adapter`: what a thief would have."""
    agency, role = end.split("/")
    made = federation.made
    home = made.gateway_home(agency) if role == "gateway" else made.adapter_home(agency)
    return SigningKey.load(home / "keys" / "statement.key")


def entries(federation: FederationSimulator, end: str, answer: Answer, *kinds: str) -> list[Entry]:
    """Return an end's entries about an exchange."""
    return [e for e in federation.journals[end].of(*kinds) if e.exchange == answer.exchange_id]


def outcomes(federation: FederationSimulator, answer: Answer) -> dict[str, object]:
    """Return each provider's outcome as the broker's one account of the exchange has it."""
    (accounted,) = entries(federation, BROKER, answer, "accounted")
    found = accounted.public["outcomes"]
    assert isinstance(found, dict)
    return dict(found)


async def assert_rejected(
    federation: FederationSimulator, answer: Answer, *providers: str, reason: str, order: bool = True
) -> None:
    """Each provider turned the exchange away before any decision, and keeps the requester's signed order."""
    for name in providers:
        assert not federation.released.get((answer.exchange_id, name)), "pages left the provider"
        end = f"{name}/adapter"
        await federation.until(lambda end=end: entries(federation, end, answer, "rejected"))
        (rejected,) = entries(federation, end, answer, "rejected")
        assert rejected.public["reason"] == reason
        assert not entries(federation, f"{name}/adapter", answer, "received", "decided", "released")
        if order:
            kept = Envelope.FromString(rejected.attachments["order"])
            key = statement_key(federation, "sheriff/gateway").public
            assert open_envelope(kept, Order, [key]).digest.hex() == rejected.public["order"]
    assert entries(federation, "sheriff/gateway", answer, "asked"), "the asker's own log tells it, too"


def assert_undisturbed(answer: Answer, *providers: str) -> None:
    """Others answered in full."""
    assert all(answer.kinds[name] == "RESPONDED" and answer.outcomes[name].pages for name in providers)
