"""`BrokerService.Link`: one accepted stream becomes one link, and no internal text leaves."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from typing import Final

import grpc
import grpc.aio
from google.protobuf import duration_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from comity.broker.admission import check_transport
from comity.broker.capture import FROM_END, TO_END, Capture
from comity.broker.errors import LinkRefusal, LinkRefused, Public
from comity.broker.router import Router
from comity.broker.table import Link
from comity.certs.clock import Clock
from comity.links import errors as link_errors
from comity.links.frames import LinkLimits, read_request
from comity.links.server import LinkPeer, transport_leaf
from comity.v1 import link_pb2

logger = logging.getLogger("comity.broker")

SERVICE_NAME: Final = "comity.v1.BrokerService"
ERROR_DOMAIN: Final = "comity.v1"
_DETAILS_KEY: Final = "grpc-status-details-bin"

LinkContext = grpc.aio.ServicerContext[link_pb2.LinkRequest, link_pb2.LinkResponse]


class BrokerService:
    """Serves links."""

    def __init__(self, *, router: Router, clock: Clock, limits: LinkLimits) -> None:
        self._router = router
        self._clock = clock
        self._limits = limits

    async def link(self, requests: object, context: LinkContext) -> None:
        """Serve one stream until it is over.

        A refused link has a status with `google.rpc.ErrorInfo`, beside the goodbye that `LinkPeer` says.
        """
        try:
            check_transport(context.auth_context())
        except LinkRefused as refused:
            self._router.refused(refused)
            _tell(context, refused.refusal.value)
            return
        handler = _Handler(self._router, context)
        peer = LinkPeer(context, handler, self._clock, limits=self._limits)
        try:
            await peer.run()
        except Exception as fault:
            logger.error("a link failed: %s", link_errors.describe_fault(fault))
            await context.abort(grpc.StatusCode.INTERNAL, "internal fault of the broker")
        if peer.hello is not None and not handler.was_greeted:
            handler.refusal = LinkRefusal.IDENTITY
            self._router.refused(LinkRefused(LinkRefusal.IDENTITY, detail="another end's certificate"))
        handler.finished()
        if handler.refusal is not None:
            _tell(context, handler.refusal.value)


class _Handler:
    """What `LinkPeer` asks of its owner, for one stream."""

    def __init__(self, router: Router, context: LinkContext) -> None:
        self._router = router
        self._context = context
        self._link: Link | None = None
        self._was_linked = False
        self._follows = False
        self.was_greeted = False
        self.refusal: LinkRefusal | None = None

    async def greeted(self, peer: LinkPeer, hello: link_pb2.Hello) -> link_pb2.Welcome:
        """Judge the greeting; what is refused ends with a status whose details say why."""
        self.was_greeted = True
        certificate = transport_leaf(self._context)
        try:
            link = await self._router.greet(hello, peer, connection_certificate=certificate)
        except LinkRefused as refused:
            self.refusal = refused.refusal
            public = refused.refusal.value
            raise link_errors.LinkRefused(public.close, public.text) from refused
        self._link = link
        self._follows = hello.follows and self._router.can_be_followed(link.end)
        return peer.make_welcome(
            roster_version=self._router.roster_version,
            ends_at=link.admitted.ends_at,
            follows=self._follows,
        )

    def linked(self, peer: LinkPeer) -> None:
        """Enter the link."""
        self._was_linked = True
        self._router.linked(self._of(peer), follows=self._follows)

    def finished(self) -> None:
        """Close in the log what was opened there and never came up: its end left while it was judged."""
        if self._link is not None and not self._was_linked:
            self._router.never_up(self._link)

    def frames(self, peer: LinkPeer, frames: Sequence[link_pb2.LinkFrame]) -> Awaitable[None] | None:
        """Take the frames of one message."""
        return self._router.frames(self._of(peer), frames)

    def unlinked(self, peer: LinkPeer, reason: link_pb2.CloseReason, text: str) -> None:
        """Take the link out; `text` is the peer's, so it is not repeated anywhere."""
        self._router.unlinked(self._of(peer), reason)

    def _of(self, peer: LinkPeer) -> Link:
        if self._link is None or self._link.peer is not peer:
            raise RuntimeError("a link that was never greeted")
        return self._link


def link_handler(service: BrokerService, capture: Capture | None) -> grpc.GenericRpcHandler:
    """Return the gRPC handler of `BrokerService`, which copies messages as they travel if told to."""

    def parse(data: bytes) -> link_pb2.LinkRequest:
        if capture is not None:
            capture.record(FROM_END, data)
        return read_request(data)

    def serialize(message: link_pb2.LinkResponse) -> bytes:
        data = message.SerializeToString()
        if capture is not None:
            capture.record(TO_END, data)
        return data

    method = grpc.stream_stream_rpc_method_handler(
        service.link, request_deserializer=parse, response_serializer=serialize
    )
    return grpc.method_handlers_generic_handler(SERVICE_NAME, {"Link": method})


def _tell(context: LinkContext, public: Public) -> None:
    """Set the status of a refused link, with details that a machine can read."""
    code = grpc.StatusCode[public.status]
    details = [AnyMessage()]
    details[0].Pack(error_details_pb2.ErrorInfo(reason=public.reason, domain=ERROR_DOMAIN))
    if public.retry_seconds:
        delay = duration_pb2.Duration(seconds=public.retry_seconds)
        details.append(AnyMessage())
        details[1].Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code.value[0], message=public.text, details=details)
    context.set_code(code)
    context.set_details(public.text)
    context.set_trailing_metadata(((_DETAILS_KEY, status.SerializeToString()),))
