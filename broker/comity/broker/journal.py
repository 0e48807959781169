"""What the broker writes into its signed log: one maker of entries a kind, none with content.

Fields by kind, beside `at` and `exchange`:

    started           roster                              stopped
    roster_activated  roster                              credentials_activated  certificate, statement_key
    revocations_activated  version, digest, issuer
    link_opened       peer, role, link                    link_closed   peer, role, link, reason
    link_refused      reason
    routed            agency, order, deadline, providers, absent
    order_refused     agency, reason, provider
    accounted         agency, order, reason, outcomes {agency: kind}, receipts {agency: digest}
    contradiction     peer, statement

Digests are hex of the payload's SHA-256; times are Unix milliseconds; `checkpoint_seen` is
written by `comity.audit`.
"""

from __future__ import annotations

from datetime import datetime

from comity.audit.entry import Entry, JsonValue, to_milliseconds
from comity.broker.admission import EndId
from comity.broker.errors import OrderRefusal
from comity.broker.exchange import Exchange
from comity.v1 import common_pb2


def kind_name(kind: common_pb2.OutcomeKind) -> str:
    """Return an outcome kind as logs and people write it, for example `timed_out`."""
    return common_pb2.OutcomeKind.Name(kind).removeprefix("OUTCOME_KIND_").lower()


def started(at: datetime, *, roster: int) -> Entry:
    """The process started under a roster version."""
    return Entry(kind="started", at=at, public={"roster": roster})


def stopped(at: datetime) -> Entry:
    """The process stopped in an orderly way."""
    return Entry(kind="stopped", at=at)


def roster_activated(at: datetime, *, roster: int) -> Entry:
    """A newer roster is in force."""
    return Entry(kind="roster_activated", at=at, public={"roster": roster})


def revocations_activated(at: datetime, *, version: int, digest: bytes, issuer: str = "") -> Entry:
    """A newer list of revocations is in force; `issuer` is the agency whose own it is."""
    public: dict[str, JsonValue] = {"version": version, "digest": digest.hex()}
    if issuer:
        public["issuer"] = issuer
    return Entry(kind="revocations_activated", at=at, public=public)


def credentials_activated(at: datetime, *, certificate: bytes, statement_key: str) -> Entry:
    """The broker's own newer leaf (SHA-256) or statement key (its id) is in force."""
    public: dict[str, JsonValue] = {"certificate": certificate.hex(), "statement_key": statement_key}
    return Entry(kind="credentials_activated", at=at, public=public)


def link_opened(at: datetime, *, end: EndId, link: int) -> Entry:
    """An end's link opened; `link` counts up within one run of the broker."""
    return Entry(kind="link_opened", at=at, public={"peer": end.agency, "role": end.role_name, "link": link})


def link_closed(at: datetime, *, end: EndId, link: int, reason: str) -> Entry:
    """An end's link is over."""
    public: dict[str, JsonValue] = {
        "peer": end.agency,
        "role": end.role_name,
        "link": link,
        "reason": reason,
    }
    return Entry(kind="link_closed", at=at, public=public)


def link_refused(at: datetime, *, reason: str) -> Entry:
    """A link was refused. Who tried is not written: it is what could not be proven."""
    return Entry(kind="link_refused", at=at, public={"reason": reason.lower()})


def routed(exchange: Exchange) -> Entry:
    """An order was accepted; written before anybody hears of it."""
    order = exchange.order
    awaited = set(exchange.awaited)
    providers: list[JsonValue] = [asked.provider for asked in order.asked]
    absent: list[JsonValue] = [asked.provider for asked in order.asked if asked.provider not in awaited]
    public: dict[str, JsonValue] = {
        "agency": order.requester,
        "order": order.digest.hex(),
        "deadline": to_milliseconds(order.deadline),
        "providers": providers,
        "absent": absent,
    }
    return Entry(kind="routed", at=exchange.routed_at, exchange=order.exchange_id, public=public)


def order_refused(
    at: datetime, *, agency: str, exchange_id: bytes, refusal: OrderRefusal, provider: str
) -> Entry:
    """An order was refused; nobody heard of it."""
    public: dict[str, JsonValue] = {"agency": agency, "reason": refusal.name.lower()}
    if provider:
        public["provider"] = provider
    return Entry(kind="order_refused", at=at, exchange=exchange_id or None, public=public)


def accounted(at: datetime, exchange: Exchange, *, reason: str) -> Entry:
    """The account of an exchange: every provider once. `reason`: complete, deadline or cancelled."""
    outcomes: dict[str, JsonValue] = {}
    receipts: dict[str, JsonValue] = {}
    for entry in exchange.entries():
        outcomes[entry.provider] = kind_name(entry.kind)
        if entry.HasField("stamp"):
            receipts[entry.provider] = entry.stamp.receipt_digest.hex()
    public: dict[str, JsonValue] = {
        "agency": exchange.order.requester,
        "order": exchange.order.digest.hex(),
        "reason": reason,
        "outcomes": outcomes,
        "receipts": receipts,
    }
    return Entry(kind="accounted", at=at, exchange=exchange.order.exchange_id, public=public)


def contradiction(at: datetime, *, peer: str, exchange_id: bytes, statement: bytes) -> Entry:
    """A provider made a second, different statement about an exchange."""
    public: dict[str, JsonValue] = {"peer": peer, "statement": statement.hex()}
    return Entry(kind="contradiction", at=at, exchange=exchange_id, public=public)
