"""What is fuzzed: bytes in, as a peer would send them; out comes what became of them, in a word.

A documented error is a good end. Any other exception is a finding, and so is a broken promise of this file's
assertions: more kept than the limits allow, a frame to a third party, a statement that nobody signed.

The first byte of an input tells who listens and how; the rest is what they hear.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from google.protobuf.message import DecodeError, Message

from comity.adapters.errors import Rejected
from comity.adapters.orders import check_addressed, check_announced, check_fresh, open_order
from comity.adapters.questions import parse_question
from comity.audit import merkle
from comity.broker.errors import OrderRefused, ReceiptRejected
from comity.broker.exchange import AcceptedOrder
from comity.broker.orders import MAX_PROVIDERS, claimed_exchange_id, verify_order
from comity.broker.receipts import verify_receipt as broker_verifies
from comity.certs.envelope import (
    MAX_SIGNATURES,
    from_json,
    open_envelope,
    payload_type,
    seal_payload,
    to_json,
)
from comity.certs.errors import EnvelopeInvalid
from comity.certs.instants import to_instant
from comity.certs.keys import SigningKey
from comity.gateway.exchange import MOST_FINDINGS, Exchange
from comity.gateway.verification import Unverifiable, verify_account, verify_pages
from comity.gateway.verification import verify_receipt as gateway_verifies
from comity.links.channel import SessionChannel, SessionState
from comity.links.errors import LinkDown, ProtocolViolation
from comity.links.frames import SENT_BY, SENT_TO, LinkLimits, kind
from comity.links.relay import SessionRelay
from comity.links.sessions.codec import MAX_FRAMED_BYTES, Decoder, encode
from comity.links.state import Delivered, Ended, Event, Greeted, LinkMachine, LinkState
from comity.policy.plates import fold
from comity.v1 import account_pb2, audit_pb2, common_pb2, link_pb2, query_pb2, result_pb2, session_pb2
from comity.v1.envelope_pb2 import Envelope
from tests.fuzz import parties
from tests.gateway.conftest import NOW

LIMITS = LinkLimits(
    max_frame_bytes=8192, session_window=8192, queue_bytes=16_384, queue_frames=8, sessions_per_link=4
)
"""Small, so that inputs of a few kilobytes reach them."""
GATEWAY, ADAPTER = common_pb2.END_ROLE_GATEWAY, common_pb2.END_ROLE_ADAPTER
WELCOME = link_pb2.Welcome(version=1, session_window=8192, max_frame_bytes=8192, roster_version=1)
OTHERS = "another pair's link"
OURS = link_pb2.LinkFrame(checkpoint=audit_pb2.Checkpoint(note=b"n" * 64))

Target = Callable[[bytes], str]


# -- the link decoder ------------------------------------------------------------------------------------


def link(data: bytes) -> str:
    """A stream's messages at the broker (first byte 0), a gateway (1) or an adapter (2) and all behind it.

    With the bit 0x80 all frames come in one message, else the first comes alone, as greetings do.
    """
    if not data:
        return "empty"
    try:
        frames = link_pb2.LinkRequest.FromString(data[1:]).frames
    except DecodeError:
        return "unparsed"
    messages = [frames] if data[0] & 0x80 else [frames[:1], frames[1:]]
    listener = data[0] % 3
    return (
        _Broker().hear(messages)
        if listener == 0
        else _End(GATEWAY if listener == 1 else ADAPTER).hear(messages)
    )


class _Listener(ABC):
    """One side of a link, as `LinkStream` drives it, and what its owner does with the frames."""

    def __init__(self, machine: LinkMachine) -> None:
        self.machine = machine
        self.ended = 0
        self.heard: Counter[str] = Counter()
        self.words: list[str] = []

    def hear(self, messages: Sequence[Sequence[link_pb2.LinkFrame]]) -> str:
        machine = self.machine
        machine.connected(NOW)
        while machine.next_message():
            machine.written()
        for frames in messages:
            self.act(machine.receive(frames, NOW))
            self.check()
        state = machine.state.name.lower()
        self.speak()
        self.act(machine.tick(NOW + timedelta(hours=1)))
        self.act(machine.lost("over"))
        self.act(machine.lost("over"))
        assert machine.state is LinkState.DOWN and not machine.waiting and not machine.next_message()
        assert machine.receive(messages[0], NOW) == [], "heard after the end"
        assert self.ended == 1, "the end is told exactly once"
        return f"{state}:{self.words[-1] if self.words else ''}"

    def act(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case Ended():
                    self.ended += 1
                case Greeted(hello=hello):
                    self.greeted(hello)
                case Delivered(frames=frames):
                    assert self.machine.state is not LinkState.GREETING, "delivered before the welcome"
                    try:
                        for frame in frames:
                            assert kind(frame) in self.allowed, "a frame that may not be sent here"
                            self.words.append(self.frame(frame) or kind(frame))
                    except ProtocolViolation as violation:
                        self.act(self.machine.close(violation.reason, "", NOW))
                case _:
                    pass

    def speak(self) -> None:
        """Send more than may wait: it ends with LIMIT, and nothing is kept."""
        try:
            for _ in range(LIMITS.queue_frames + 2):
                self.act(self.machine.send([OURS], NOW))
                self.check()
        except LinkDown:
            return

    def check(self) -> None:
        assert self.machine.waiting <= LIMITS.queue_frames + 2
        assert self.machine.waiting_bytes <= LIMITS.queue_bytes + 1024

    allowed: frozenset[str]

    def greeted(self, hello: link_pb2.Hello) -> None:
        raise AssertionError("an end was greeted")

    @abstractmethod
    def frame(self, frame: link_pb2.LinkFrame) -> str:
        """Do what the owner of this side does with a frame; return what became of it."""


class _Broker(_Listener):
    """The middle: this link is a gateway's or an adapter's, and another pair has a session beside."""

    def __init__(self) -> None:
        super().__init__(LinkMachine(limits=LIMITS, hello=None))
        self.relay: SessionRelay[str] = SessionRelay(LIMITS)
        self.role = GATEWAY
        self.allowed = frozenset()

    def greeted(self, hello: link_pb2.Hello) -> None:
        self.role = hello.role
        self.allowed = SENT_BY[hello.role]
        ours, peer = ("own", "peer") if hello.role == GATEWAY else ("peer", "own")
        for requester, gateway, adapter in (("sheriff", ours, peer), ("lahd", OTHERS, f"{OTHERS} too")):
            self.relay.open(
                gateway,
                1,
                requester=requester,
                provider="lapd",
                adapter=adapter,
                lane=link_pb2.LANE_INTERACTIVE,
            )
        self.act(self.machine.welcome(WELCOME, NOW))

    def frame(self, frame: link_pb2.LinkFrame) -> str:
        match kind(frame):
            case "session_data" | "session_credit" | "session_close":
                routed = self.relay.forward("own", frame)
            case "session_open":
                opening = frame.session_open
                routed = self.relay.open(
                    "own",
                    opening.reference,
                    requester="sheriff",
                    provider=opening.peer,
                    adapter="peer" if opening.peer in parties.PROVIDERS else None,
                    lane=opening.lane,
                )
            case "order":
                return _order_at_broker(frame.order)
            case "receipt":
                return _receipt_at_broker(frame.receipt.receipt)
            case _:
                return ""
        assert {to for to, _ in routed} <= {"own", "peer"}, "a frame to another pair"
        assert len(self.relay) <= 2 * LIMITS.sessions_per_link
        return f"routed {len(routed)}" if routed else "ignored"


class _End(_Listener):
    """A gateway or an adapter: sessions' channels and what decrypts in them, as if TLS were not there."""

    def __init__(self, role: common_pb2.EndRole) -> None:
        hello = link_pb2.Hello(versions=[1], spiffe_id="spiffe://sheriff.example/gateway", role=role)
        super().__init__(LinkMachine(limits=LIMITS, hello=hello))
        self.role = role
        self.allowed = SENT_TO[role]
        self.sessions: dict[int, tuple[SessionChannel, Decoder]] = {}
        self.exchange = Exchange(
            parties.ORDER, parties.EXPECTED, requester="sheriff", operator=parties.BROKER
        )

    def frame(self, frame: link_pb2.LinkFrame) -> str:
        match kind(frame):
            case "session_open":
                opened = frame.session_open.session_id
                if opened and opened not in self.sessions and len(self.sessions) < LIMITS.sessions_per_link:
                    channel = SessionChannel(window=8192, max_frame_bytes=8192, session_id=opened)
                    self.sessions[opened] = channel, Decoder()
            case "session_data":
                return self.in_session(frame.session_data.session_id, lambda c, d: self.data(c, d, frame))
            case "session_credit":
                credit = frame.session_credit
                return self.in_session(credit.session_id, lambda c, d: c.credited(credit) or "credited")
            case "session_close":
                self.sessions.pop(frame.session_close.session_id, None)
            case "stamp":
                self.exchange.on_stamp(frame.stamp)
            case "account":
                self.exchange.on_account(frame.account, now=NOW)
            case "order_rejection":
                self.exchange.on_rejected(frame.order_rejection.text)
            case "announcement":
                return _documented(lambda: to_instant(frame.announcement, "deadline"), ValueError)
            case _:
                pass
        self.check_exchange()
        return ""

    def in_session(self, session_id: int, act: Callable[[SessionChannel, Decoder], str]) -> str:
        found = self.sessions.get(session_id)
        if found is None:
            return "ignored"
        try:
            return act(*found)
        except ProtocolViolation as violation:
            found[0].close(violation.reason)
            del self.sessions[session_id]
            return "session closed"

    def data(self, channel: SessionChannel, decoder: Decoder, frame: link_pb2.LinkFrame) -> str:
        records = channel.receive(frame.session_data)
        channel.consumed(len(records))
        word = "decoding"
        for message in decoder.feed(records):
            assert not message.padding
            assert Decoder().feed(encode(message)) == [message], "a message that doesn't survive the codec"
            word = self.message(message)
        assert len(decoder._buffer) < MAX_FRAMED_BYTES
        assert channel._in.in_flight <= channel._in.window
        channel.offer(records)
        sent = sum(len(one.session_data.records) for one in channel.frames())
        assert sent <= channel._out.window and channel.state is SessionState.HANDSHAKING
        return word

    def message(self, message: session_pb2.SessionMessage) -> str:
        match message.WhichOneof("message"):
            case "result" if self.role == GATEWAY:
                self.exchange.on_result("lapd", message.result, now=NOW)
            case "page" if self.role == GATEWAY:
                self.exchange.on_page("lapd", message.page)
            case "ask" if self.role == ADAPTER:
                return _ask_at_adapter(message.ask)
            case name:
                return str(name)
        return self.check_exchange()

    def check_exchange(self) -> str:
        exchange, word = self.exchange, "waiting"
        for settled in exchange.take_settled():
            word = common_pb2.OutcomeKind.Name(settled.kind)
            signed = settled.result.receipt.envelope if settled.result else None
            assert signed is None or (signed.payload_type, signed.payload) in parties.SIGNED
        assert len(exchange.findings) <= MOST_FINDINGS + 3 * len(parties.PROVIDERS)
        return word


# -- the envelope, and what stands in signed ones --------------------------------------------------------


def envelope(data: bytes) -> str:
    """An envelope as protobuf (first byte 0) or JSON (1), that nobody signed as it is now; or what a liar
    signs with its own key: an order at the broker (2), an ask at the provider (3), a receipt with detail and
    pages at broker and gateway (4), an account (5).
    """
    if not data:
        return "empty"
    return _FORMS[data[0] % len(_FORMS)](data[1:])


def _protobuf(data: bytes) -> str:
    try:
        found = Envelope.FromString(data)
    except DecodeError:
        return "unparsed"
    return _opened(found)


def _json(data: bytes) -> str:
    try:
        found = from_json(data)
    except EnvelopeInvalid:
        return "unparsed"
    assert 0 < len(found.signatures) <= MAX_SIGNATURES
    assert from_json(to_json(found)) == found, "an envelope that doesn't survive its JSON form"
    return _opened(found)


_TYPES: dict[str, type[Message]] = {
    payload_type(one): one for one in (query_pb2.Order, result_pb2.Receipt, account_pb2.Account)
}


def _opened(found: Envelope) -> str:
    """Nothing opens but what was signed, and as what it was signed."""
    words = set()
    for one in (_TYPES.get(found.payload_type, query_pb2.Order), result_pb2.Receipt):
        try:
            opened = open_envelope(found, one, parties.TRUSTED)
        except EnvelopeInvalid:
            words.add("refused")
        else:
            assert (payload_type(one), opened.payload) in parties.SIGNED, "a statement that nobody signed"
            words.add("opened")
    return "/".join(sorted(words))


def _order_by_liar(data: bytes) -> str:
    placement = link_pb2.OrderPlacement.FromString(data)
    placement.order.CopyFrom(_signed(placement.order, query_pb2.Order, parties.SHERIFF))
    return _order_at_broker(placement)


def _ask_by_liar(data: bytes) -> str:
    ask = session_pb2.Ask.FromString(data)
    ask.order.CopyFrom(_signed(ask.order, query_pb2.Order, parties.SHERIFF))
    return _ask_at_adapter(ask)


def _receipt_by_liar(data: bytes) -> str:
    """`OrderPlacement` only lends its shape: a receipt's envelope, and beside it detail and pages."""
    told = link_pb2.OrderPlacement.FromString(data)
    detail, *pages = told.leaves or [b""]
    try:
        receipt = result_pb2.Receipt.FromString(told.order.payload)
        receipt.content_root = merkle.root([merkle.leaf_hash(part) for part in (detail, *pages)])
        told.order.payload = receipt.SerializeToString()
    except DecodeError:
        pass
    sealed = _signed(told.order, result_pb2.Receipt, parties.PARTNERS["lapd"].key)
    words = [_receipt_at_broker(sealed)]
    expected = parties.EXPECTED["lapd"]
    try:
        known = gateway_verifies(expected, sealed, detail, now=NOW)
        words.append("receipt holds")
        result = verify_pages(expected, known, pages)
    except Unverifiable:
        return "/".join([*words, "unverifiable"])
    for page in result.pages:
        for read in page.reads:
            assert fold(read.plate.number) == expected.question.folded_plate
            assert to_instant(read, "captured_at") < to_instant(expected.question.period, "end")
            assert read.marking.provider == "lapd"
    return "/".join([*words, "shown"])


def _account_by_liar(data: bytes) -> str:
    delivery = link_pb2.AccountDelivery.FromString(data)
    sealed = _signed(delivery.account, account_pb2.Account, parties.OPERATOR)
    try:
        account = verify_account(
            sealed,
            operator=parties.BROKER,
            order_digest=parties.ORDER.digest,
            exchange_id=parties.ORDER.exchange_id,
            requester="sheriff",
            providers=parties.PROVIDERS,
            ordered_at=parties.ORDER.issued_at,
            now=NOW,
        )
    except Unverifiable:
        return "unverifiable"
    assert [entry.provider for entry in account.entries] == list(parties.PROVIDERS)
    return "believed"


def _unless_unparsed(target: Target) -> Target:
    def parsed(data: bytes) -> str:
        try:
            return target(data)
        except DecodeError:
            return "unparsed"

    return parsed


_FORMS: tuple[Target, ...] = (
    _protobuf,
    _json,
    *(_unless_unparsed(one) for one in (_order_by_liar, _ask_by_liar, _receipt_by_liar, _account_by_liar)),
)


def _signed(envelope: Envelope, kind: type[Message], key: SigningKey) -> Envelope:
    return seal_payload(payload_type(kind), envelope.payload, key)


# -- what stands behind both --------------------------------------------------------------------------------


def _order_at_broker(placement: link_pb2.OrderPlacement) -> str:
    claimed = claimed_exchange_id(placement)
    assert len(claimed) in (0, 16)
    try:
        accepted: AcceptedOrder = verify_order(
            placement,
            agency="sheriff",
            statement_keys=[parties.SHERIFF.public],
            seen=lambda exchange_id: False,
            ceiling_of=lambda name: _Lodged(name) if name in parties.PROVIDERS else None,
            now=NOW,
        )
    except OrderRefused as refused:
        assert len(refused.exchange_id) in (0, 16)
        return f"refused {refused.refusal.name.lower()}"
    assert 0 < len(accepted.asked) <= MAX_PROVIDERS and accepted.requester == "sheriff"
    assert accepted.exchange_id == claimed
    return "taken"


class _Lodged:
    def __init__(self, provider: str) -> None:
        self.ceiling = parties.PARTNERS[provider].grant.ceiling
        self.agreement_digest = parties.PARTNERS[provider].agreement.digest


def _receipt_at_broker(receipt: Envelope) -> str:
    delivery = link_pb2.ReceiptDelivery(exchange_id=parties.ORDER.exchange_id, receipt=receipt)
    try:
        opened = broker_verifies(
            delivery,
            order=parties.ACCEPTED,
            asked=parties.ACCEPTED.asked[0],
            statement_keys=[parties.PARTNERS["lapd"].key.public],
            now=NOW,
        )
    except ReceiptRejected:
        return "bad receipt"
    assert opened.message.ceiling_marking == parties.PARTNERS["lapd"].grant.ceiling
    return "stamped"


def _ask_at_adapter(ask: session_pb2.Ask) -> str:
    try:
        order = open_order(ask.order, parties.REQUESTER)
        check_announced(order, parties.ANNOUNCEMENT, peer="sheriff")
        check_fresh(order, now=NOW)
        query = check_addressed(order, ask, peer="sheriff", own="lapd")
        question = parse_question(query)
    except Rejected as rejected:
        assert all("8ABC" not in violation for violation in rejected.violations)
        return f"rejected {rejected.reason.name.lower()}"
    assert question.folded and question.start < question.end
    return "asked"


def _documented(act: Callable[[], object], *errors: type[Exception]) -> str:
    try:
        act()
    except errors:
        return "refused"
    return ""


TARGETS: dict[str, Target] = {"link": link, "envelope": envelope}
