"""An end that misbehaves, run as `python hostile.py adapter|gateway serve --config F`: the product, patched.

The file `behave` beside the configuration says what it does wrong from now on; without it, nothing. No
such switch is in the product. What it can do is in `Misbehaviour`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from comity.adapters import exchanges
from comity.adapters.path import Reply
from comity.certs.envelope import seal
from comity.certs.keys import SigningKey
from comity.cli.main import main
from comity.gateway import gateway
from comity.links.client import LinkClient
from comity.links.sessions import core
from comity.v1.link_pb2 import LinkFrame, ReceiptDelivery
from comity.v1.result_pb2 import Page, Receipt

BEHAVE = "behave"


class Misbehaviour(StrEnum):
    """What can be asked of a hostile end."""

    NO_RECEIPT = "accepts the question, answers it, and tells nobody"
    NO_RESULT = "gives the broker its receipt, and the gateway nothing"
    OTHER_CEILING = "gives the broker a receipt with another ceiling, and the gateway nothing"
    FORGED_RECEIPT = "signs its receipt with a key that is not in the roster"
    OTHER_PAGE = "sends another page than the one that its receipt is over"
    BROKEN_RECORD = "changes a byte of a TLS record on its way"
    OTHER_LEAF = "shows another provider's certificate in a session"
    INCOMPLETE_QUERY = "asks, as a gateway, without a case number"


HOME = Path(sys.argv[-1]).parent
_ends_break: list[bool] = []
_deliver = exchanges.Exchanges._deliver
_send = LinkClient.send
_context = core.SessionHub._context
_sign_order = gateway.sign_order


def told() -> str:
    """Return what this end is to do wrong now."""
    path = HOME / BEHAVE
    return path.read_text("utf-8") if path.exists() else ""


def deliver(self: exchanges.Exchanges, running: Any, reply: Reply) -> Any:
    """Answer as an honest adapter does, but for what it is told."""
    match told():
        case Misbehaviour.NO_RECEIPT:
            return _nothing()
        case Misbehaviour.NO_RESULT:
            return _to_broker_alone(self, reply)
        case Misbehaviour.OTHER_CEILING:
            receipt = Receipt.FromString(reply.receipt.payload)
            receipt.ceiling_marking = b"none"
            key = SigningKey.load(HOME / "keys" / "statement.key")
            return _to_broker_alone(self, replace(reply, receipt=seal(receipt, key)))
        case Misbehaviour.FORGED_RECEIPT:
            receipt = Receipt.FromString(reply.receipt.payload)
            return _deliver(self, running, replace(reply, receipt=seal(receipt, SigningKey.generate())))
        case Misbehaviour.OTHER_PAGE:
            page = Page.FromString(reply.pages[0])
            page.reads[0].read_id = "another"
            return _deliver(self, running, replace(reply, pages=(page.SerializeToString(),)))
        case Misbehaviour.BROKEN_RECORD:
            _ends_break.append(True)
            return _deliver(self, running, reply)
        case _:
            return _deliver(self, running, reply)


async def _nothing() -> None:
    return


async def _to_broker_alone(self: exchanges.Exchanges, reply: Reply) -> None:
    self._link.send(LinkFrame(receipt=ReceiptDelivery(exchange_id=reply.exchange_id, receipt=reply.receipt)))


def send(self: LinkClient, *frames: LinkFrame) -> None:
    """Send as an honest link does, but change the last byte of one session's records when told."""
    for frame in frames:
        if _ends_break and frame.WhichOneof("frame") == "session_data":
            _ends_break.pop()
            records = bytearray(frame.session_data.records)
            records[-1] ^= 1
            frame.session_data.records = bytes(records)
    _send(self, *frames)


def context(self: core.SessionHub, ca_certificates: tuple[bytes, ...]) -> Any:
    """Show one's own certificate as an honest end does, or that of the provider `p8` when told."""
    if told() != Misbehaviour.OTHER_LEAF:
        return _context(self, ca_certificates)
    keys = HOME.parent.parent / "p8" / "adapter" / "keys"
    identity = replace(self.identity, chain=keys / "leaf.pem", key=keys / "leaf.key")
    return core.make_context(
        identity, server_side=self.server_side, ca_certificates=ca_certificates, lane=core.LANE
    )


def sign_order(question: Any, **options: Any) -> Any:
    """Sign as an honest gateway does, about less than the user entered when told."""
    if told() == Misbehaviour.INCOMPLETE_QUERY:
        question = replace(question, case_number="")
    return _sign_order(question, **options)


if __name__ == "__main__":
    exchanges.Exchanges._deliver = deliver  # type: ignore[method-assign, assignment]
    LinkClient.send = send  # type: ignore[method-assign]
    core.SessionHub._context = context  # type: ignore[method-assign]
    gateway.sign_order = sign_order  # type: ignore[attr-defined]
    main()
