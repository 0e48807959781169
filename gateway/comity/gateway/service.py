"""`QueryService`: translate, call, translate back."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.message import DecodeError

from comity.certs.clock import Clock
from comity.certs.errors import CertificateRevoked, CertsError
from comity.certs.revocations import RevokedOf
from comity.certs.x509 import split_pem, verify_leaf
from comity.gateway.calls import OpenCall, OpenCalls
from comity.gateway.errors import CallerTooSlow, GatewayError, Unauthenticated, to_grpc_code, to_status
from comity.gateway.front import answer_to
from comity.gateway.gateway import Gateway
from comity.gateway.limits import GatewayLimits
from comity.links.telemetry.context import parse_traceparent
from comity.v1 import query_service_pb2, query_service_pb2_grpc

Context: TypeAlias = (
    "grpc.aio.ServicerContext[query_service_pb2.SearchRequest, query_service_pb2.SearchResponse]"
)
AnyContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
"""The context of any method of this gateway."""

SERVICE_NAME: Final = query_service_pb2.DESCRIPTOR.services_by_name["QueryService"].full_name
MOST_CALLERS = 256
ABORT_SECONDS = 1.0
"""How long the last status waits for a caller that does not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    """A caller's certificate that verified, with what it verified against and until when."""

    certificate: bytes
    key_set: bytes
    revoked: RevokedOf
    not_after: datetime


class QueryService(query_service_pb2_grpc.QueryServiceServicer):
    """The gateway's API for its own agency's systems."""

    def __init__(
        self, gateway: Gateway, clock: Clock, limits: GatewayLimits, calls: OpenCalls | None = None
    ) -> None:
        """`calls` are those under way at this gateway, of all its services."""
        self.calls = OpenCalls() if calls is None else calls
        self._gateway = gateway
        self._clock = clock
        self._limits = limits
        self._callers: dict[bytes, _Caller] = {}

    async def Search(self, request: query_service_pb2.SearchRequest, context: Context) -> None:
        """Ask providers about one known plate in one period.

        A caller that has not read its answer `read_seconds` after the deadline gets no more of it.
        """
        failed: GatewayError | None = None
        is_cut = False
        try:
            with self.calls.entered() as call:
                await self._answer(request, context, call)
        except GatewayError as error:
            failed, is_cut = error, error is call.why
        if failed is not None:
            with contextlib.suppress(TimeoutError):  # who does not read, does not read this either
                hasty = is_cut or isinstance(failed, CallerTooSlow)
                async with asyncio.timeout(ABORT_SECONDS if hasty else None):
                    await abort(context, failed)

    async def _answer(
        self, request: query_service_pb2.SearchRequest, context: Context, call: OpenCall
    ) -> None:
        """Write the answer as fast as the caller reads it; raise `CallerTooSlow` and a search's own."""
        answers = answer_to(
            request,
            gateway=self._gateway,
            clock=self._clock,
            authorization=metadata(context, "authorization"),
            certificate_der=partial(self.caller, context, call),
            within=remaining(context),
            parent=parse_traceparent(metadata(context, "traceparent") or ""),
        )
        patience = asyncio.timeout(None)
        try:
            async with patience, aclosing(answers) as messages:
                async for message in messages:
                    if message.HasField("plan"):
                        patience.reschedule(self._patience(message.plan))
                    await context.write(message)
        except TimeoutError as error:
            if not patience.expired():
                raise
            raise CallerTooSlow(
                "the answer was not read in the time after its deadline; ask again"
            ) from error

    def _patience(self, plan: query_service_pb2.Plan) -> float:
        """Return the time of the loop at which the caller must have read the whole answer."""
        left = (plan.deadline.ToDatetime(tzinfo=UTC) - self._clock()).total_seconds()
        return asyncio.get_running_loop().time() + left + self._limits.read_seconds

    def caller(self, context: AnyContext, call: OpenCall | None = None) -> bytes:
        """Return the certificate, DER, of a caller of any service here, once it is one of our own systems.

        `call` is told what was verified for it. Raises `Unauthenticated`.
        """
        pem = list(context.auth_context().get("x509_pem_cert", ()))
        if not pem:
            raise Unauthenticated("no client certificate")
        versions = list(context.auth_context().get("ssl_tls_version", ()))
        if versions and versions != [b"TLSv1.3"]:  # releases of gRPC that do not tell it are believed
            raise Unauthenticated("the connection's TLS is older than 1.3")
        shown = list(context.auth_context().get("x509_pem_cert_chain", ()))
        certificate = self._verified(pem[0], shown[0] if shown else b"")
        if call is not None:
            others = (der for der in split_pem(shown[0]) if der != certificate) if shown else ()
            call.chain = (certificate, *others)
            call.ca_certificates = self._gateway.standing.own(self._gateway.agency).key_set.ca_certificates
        return certificate

    def _verified(self, pem: bytes, shown: bytes = b"") -> bytes:
        """Return the certificate as DER; one that verified is verified again when keys or time may differ.

        `shown` is all that the caller showed, PEM: what is between its leaf and our CA is found there.
        """
        now, member = self._clock(), self._gateway.standing.own(self._gateway.agency)
        known = self._callers.get(pem)
        if (
            known is not None
            and known.key_set == member.key_set.digest
            and (known.revoked is member.revoked or known.revoked == member.revoked)
            and now < known.not_after
        ):
            if known.revoked is not member.revoked:  # a long list is compared once, not at each call
                self._callers[pem] = replace(known, revoked=member.revoked)
            return known.certificate
        certificate = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        try:
            others = [der for der in split_pem(shown) if der != certificate] if shown else []
            chain = [certificate, *others]
            leaf = verify_leaf(chain, ca_certificates=member.key_set.ca_certificates, spiffe_id=None, now=now)
            member.revoked.check_chain(chain)
        except CertificateRevoked as error:
            raise Unauthenticated("the client certificate is revoked") from error
        except CertsError as error:
            raise Unauthenticated("the client certificate is not one of this agency's own systems") from error
        if not leaf.spiffe_id.startswith(f"spiffe://{member.domain}/system/"):
            raise Unauthenticated("the client certificate does not name a system of this agency")
        if len(self._callers) >= MOST_CALLERS:
            self._callers.clear()
        self._callers[pem] = _Caller(
            certificate=certificate,
            key_set=member.key_set.digest,
            revoked=member.revoked,
            not_after=leaf.not_after,
        )
        return certificate


def remaining(context: AnyContext) -> timedelta | None:
    """Return what is left of the caller's own deadline, if it has one."""
    seconds = context.time_remaining()
    return timedelta(seconds=seconds) if seconds is not None else None


def metadata(context: AnyContext, name: str) -> str | None:
    """Return a text of the call's metadata."""
    for key, value in context.invocation_metadata() or ():
        if key == name:
            return value if isinstance(value, str) else None
    return None


def search_handler(service: QueryService) -> grpc.GenericRpcHandler:
    """Return the gRPC handler of `QueryService`.

    Bytes that are no `SearchRequest` are read as one that says nothing, so that the caller gets the answer of
    the catalogue: gRPC's own names a class of ours, and logs a fault.
    """

    def read(data: bytes) -> query_service_pb2.SearchRequest:
        try:
            return query_service_pb2.SearchRequest.FromString(data)
        except DecodeError:
            return query_service_pb2.SearchRequest()

    method = grpc.unary_stream_rpc_method_handler(
        service.Search,
        request_deserializer=read,
        response_serializer=query_service_pb2.SearchResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE_NAME, {"Search": method})


async def abort(context: AnyContext, error: GatewayError) -> NoReturn:
    """End a call with an error's status and details."""
    status = to_status(error)
    await context.abort(
        to_grpc_code(error),
        status.message,
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )
