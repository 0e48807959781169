"""Where fuzzing begins: real messages of one exchange, one input for each thing a listener can hear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from comity.audit.checkpoint import Checkpoint
from comity.audit.note import LogKey
from comity.certs.envelope import to_json
from comity.links.frames import LinkLimits, goodbye, session_close
from comity.links.sessions.codec import encode
from comity.v1 import audit_pb2, common_pb2, link_pb2, session_pb2
from tests.fuzz import parties
from tests.fuzz.targets import ADAPTER, GATEWAY, WELCOME

Frame = link_pb2.LinkFrame
ORDER = parties.ORDER
RESULT, PAGES = parties.ANSWERS["lapd"]
NOTE = Checkpoint(origin="lapd.example/adapter", size=5, root=bytes(32)).sign(
    LogKey.generate("lapd.example/adapter")
)
CHECKPOINT = audit_pb2.Checkpoint(note=NOTE)


def link_seeds() -> Iterator[bytes]:
    """Yield inputs of the target `link`."""
    for listener, role, frames in _conversations():
        greeting = (
            Frame(
                hello=link_pb2.Hello(
                    versions=[1], spiffe_id="spiffe://lapd.example/adapter", role=role, chain=[b"leaf", b"ca"]
                )
            )
            if listener == 0
            else Frame(welcome=WELCOME)
        )
        yield bytes([listener]) + link_pb2.LinkRequest(frames=[greeting, *frames]).SerializeToString()
    yield b"\x80" + link_pb2.LinkRequest(frames=[goodbye(1, "the end stops")]).SerializeToString()


def _conversations() -> Iterator[tuple[int, common_pb2.EndRole, Sequence[link_pb2.LinkFrame]]]:
    open_ = link_pb2.SessionOpen(session_id=1, reference=1, peer="lapd", lane=link_pb2.LANE_INTERACTIVE)
    to_adapter = [
        session_pb2.SessionMessage(ask=parties.ASK),
        session_pb2.SessionMessage(credit=session_pb2.PageCredit(exchange_id=ORDER.exchange_id, pages=1)),
        session_pb2.SessionMessage(cancel=session_pb2.CancelAsk(exchange_id=ORDER.exchange_id)),
        session_pb2.SessionMessage(end=session_pb2.SessionEnd(text="shutdown")),
    ]
    to_gateway = [
        session_pb2.SessionMessage(
            ready=session_pb2.Ready(version=1, agency="lapd", agreement_digest=bytes(32), page_window=4)
        ),
        session_pb2.SessionMessage(result=RESULT),
        *(session_pb2.SessionMessage(page=page) for page in PAGES),
        session_pb2.SessionMessage(checkpoint=CHECKPOINT),
    ]
    credit = Frame(session_credit=link_pb2.SessionCredit(session_id=1, bytes=512))
    close = session_close(link_pb2.CLOSE_REASON_SHUTDOWN, session_id=1)
    yield (
        0,
        GATEWAY,
        [Frame(order=parties.PLACEMENT), Frame(session_open=open_), *_data(to_adapter[1:]), close],
    )
    yield 0, GATEWAY, [*_data(to_adapter[:1]), Frame(checkpoint=CHECKPOINT)]
    yield 0, GATEWAY, [Frame(cancel=link_pb2.ExchangeCancel(exchange_id=ORDER.exchange_id)), credit, close]
    receipt = link_pb2.ReceiptDelivery(exchange_id=ORDER.exchange_id, receipt=RESULT.receipt)
    yield 0, ADAPTER, [Frame(receipt=receipt), *_data(to_gateway[1:2]), Frame(checkpoint=CHECKPOINT)]
    stamp = link_pb2.StampDelivery(stamp=parties.STAMPS["lapd"], receipt=RESULT.receipt)
    account = link_pb2.AccountDelivery(exchange_id=ORDER.exchange_id, account=parties.ACCOUNT)
    rejection = link_pb2.OrderRejection(exchange_id=ORDER.exchange_id, text="the order was placed before")
    opened = Frame(session_open=open_)
    yield 1, GATEWAY, [opened, *_data(to_gateway), Frame(stamp=stamp), Frame(account=account)]
    yield 1, GATEWAY, [Frame(account=account), opened, *_data([to_gateway[1]]), credit, close]
    yield (
        1,
        GATEWAY,
        [Frame(presence=link_pb2.Presence(providers=parties.PROVIDERS)), Frame(checkpoint=CHECKPOINT)],
    )
    yield 1, GATEWAY, [Frame(order_rejection=rejection)]
    yield 2, ADAPTER, [Frame(announcement=parties.ANNOUNCEMENT), opened, *_data(to_adapter)]
    yield 2, ADAPTER, [opened, *_data(to_adapter[:1]), credit, close]
    cancel = link_pb2.ExchangeCancel(exchange_id=ORDER.exchange_id, deadline_passed=True)
    yield 2, ADAPTER, [Frame(cancel=cancel), Frame(checkpoint=CHECKPOINT)]


def _data(messages: Sequence[session_pb2.SessionMessage]) -> Iterator[link_pb2.LinkFrame]:
    for sequence, message in enumerate(messages):
        yield Frame(
            session_data=link_pb2.SessionData(session_id=1, sequence=sequence, records=encode(message))
        )


def envelope_seeds() -> Iterator[bytes]:
    """Yield inputs of the target `envelope`."""
    for one in (ORDER.envelope, RESULT.receipt, parties.ACCOUNT):
        yield b"\0" + one.SerializeToString()
        yield b"\1" + to_json(one)
    yield b"\2" + parties.PLACEMENT.SerializeToString()
    yield b"\3" + parties.ASK.SerializeToString()
    shape = link_pb2.OrderPlacement(
        order=RESULT.receipt, leaves=[RESULT.detail, *(page.page for page in PAGES)]
    )
    yield b"\4" + shape.SerializeToString()
    account = link_pb2.AccountDelivery(exchange_id=ORDER.exchange_id, account=parties.ACCOUNT)
    yield b"\5" + account.SerializeToString()


SEEDS = {"link": link_seeds, "envelope": envelope_seeds}
ROOTS = {
    "link": (link_pb2.LinkRequest,) * 3,
    "envelope": (
        type(ORDER.envelope),
        None,
        link_pb2.OrderPlacement,
        session_pb2.Ask,
        link_pb2.OrderPlacement,
        link_pb2.AccountDelivery,
    ),
}
"""By target: what the rest of an input is, by its first byte; None: text."""

LARGEST = LinkLimits().max_frame_bytes // 32
"""Bytes of an input at most: larger ones find nothing more, and fewer of them run."""
