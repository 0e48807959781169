"""`AuditService`: translate, call, translate back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import aclosing
from typing import Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from comity.certs.clock import Clock
from comity.gateway.calls import OpenCall
from comity.gateway.errors import CallerTooSlow, GatewayError
from comity.gateway.gateway import Gateway
from comity.gateway.limits import GatewayLimits
from comity.gateway.own_records import parse_request
from comity.gateway.service import ABORT_SECONDS, QueryService, abort, metadata, remaining
from comity.gateway.subjects import authenticate
from comity.links.errors import describe_fault
from comity.v1 import audit_service_pb2, audit_service_pb2_grpc

LOGGER = logging.getLogger("comity.gateway")
Context: TypeAlias = (
    "grpc.aio.ServicerContext[audit_service_pb2.RetrieveRecordsRequest, "
    "audit_service_pb2.RetrieveRecordsResponse]"
)
SERVICE_NAME: Final = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name


class AuditService(audit_service_pb2_grpc.AuditServiceServicer):
    """The gateway's API for its own agency's auditors."""

    def __init__(self, gateway: Gateway, queries: QueryService, clock: Clock, limits: GatewayLimits) -> None:
        """`queries` knows who may call: callers of both services are the agency's own systems."""
        self._gateway = gateway
        self._queries = queries
        self._clock = clock
        self._limits = limits

    async def RetrieveRecords(
        self, request: audit_service_pb2.RetrieveRecordsRequest, context: Context
    ) -> None:
        """Retrieve a provider's records of this agency's own users.

        A caller that has not read them `read_seconds` after the deadline gets no more.
        """
        failed: GatewayError | None = None
        is_cut = False
        try:
            with self._queries.calls.entered() as call:
                await self._answer(request, context, call)
        except GatewayError as error:
            failed, is_cut = error, error is call.why
        except Exception as fault:
            LOGGER.error("a retrieval failed by a fault of this gateway: %s", describe_fault(fault))
            failed = GatewayError("this gateway failed; its operator finds the place in its log")
        if failed is not None:
            with contextlib.suppress(TimeoutError):  # who does not read, does not read this either
                hasty = is_cut or isinstance(failed, CallerTooSlow)
                async with asyncio.timeout(ABORT_SECONDS if hasty else None):
                    await abort(context, failed)

    async def _answer(
        self, request: audit_service_pb2.RetrieveRecordsRequest, context: Context, call: OpenCall
    ) -> None:
        gateway = self._gateway
        claims, _ = authenticate(
            metadata(context, "authorization"),
            certificate_der=self._queries.caller(context, call),
            member=gateway.standing.own(gateway.agency),
            published=gateway.published,
            now=self._clock(),
        )
        call.user = claims.user
        gateway.people.require_access(claims)
        gateway.retrievals.require_auditor(claims)
        wanted = parse_request(request, within=remaining(context))
        patience = asyncio.timeout(wanted.timeout.total_seconds() + self._limits.read_seconds)
        try:
            async with patience, aclosing(gateway.retrievals.retrieve(wanted, claims)) as messages:
                async for message in messages:
                    await context.write(message)
        except TimeoutError as error:
            if not patience.expired():
                raise
            raise CallerTooSlow("the records were not read in time; ask again") from error


def audit_handler(service: AuditService) -> grpc.GenericRpcHandler:
    """Return the gRPC handler of `AuditService`; bytes that are no request are read as an empty one."""

    def read(data: bytes) -> audit_service_pb2.RetrieveRecordsRequest:
        try:
            return audit_service_pb2.RetrieveRecordsRequest.FromString(data)
        except DecodeError:
            return audit_service_pb2.RetrieveRecordsRequest()

    method = grpc.unary_stream_rpc_method_handler(
        service.RetrieveRecords,
        request_deserializer=read,
        response_serializer=audit_service_pb2.RetrieveRecordsResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE_NAME, {"RetrieveRecords": method})
