"""Wiring: one gateway process from its configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from comity.certs.clock import Clock, utc_now
from comity.gateway.audit_service import SERVICE_NAME as AUDIT_SERVICE
from comity.gateway.audit_service import AuditService, audit_handler
from comity.gateway.config import GatewayConfig
from comity.gateway.end import GatewayEnd
from comity.gateway.errors import ConfigInvalid
from comity.gateway.service import SERVICE_NAME, QueryService, search_handler
from comity.links.errors import ConfigUnusable
from comity.links.telemetry.process import emitting

STOP_GRACE_SECONDS = 2.0
LOGGER = logging.getLogger("comity.gateway")


async def serve(
    config: GatewayConfig, *, ready: Callable[[str], None], stop: asyncio.Event, clock: Clock = utc_now
) -> None:
    """Run a gateway until `stop` is set; call `ready` with one line once agency systems can call.

    Raises `ConfigInvalid` when what the configuration names cannot be used, `AuditUnavailable` if its log
    cannot be written at the start.
    """
    try:
        async with emitting(config.telemetry, role="gateway", agency=config.agency):
            await _serve(config, ready=ready, stop=stop, clock=clock)
    except ConfigUnusable as error:
        raise ConfigInvalid(str(error)) from error


async def _serve(
    config: GatewayConfig, *, ready: Callable[[str], None], stop: asyncio.Event, clock: Clock
) -> None:
    async with GatewayEnd.open(config, clock=clock) as end:
        server = _grpc_server(end)
        async with end.running():
            await server.start()
            ready(f"{config.agency} serves its systems on {config.listen}")
            try:
                await end.until(stop)
            finally:
                await server.stop(STOP_GRACE_SECONDS)


def _grpc_server(end: GatewayEnd) -> grpc.aio.Server:
    config, gateway, credentials, limits = end.config, end.gateway, end.credentials, end.config.limits
    own = gateway.standing.own(config.agency).key_set
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limits.max_request_bytes),
            ("grpc.max_metadata_size", limits.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", limits.max_metadata_bytes),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=limits.max_calls,
    )
    queries = QueryService(gateway, end.clock, limits)
    audits = AuditService(gateway, queries, end.clock, limits)
    server.add_generic_rpc_handlers((search_handler(queries), audit_handler(audits)))
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    services = (SERVICE_NAME, AUDIT_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(services, server)
    tls = grpc.ssl_server_credentials(
        [(credentials.key_pem, credentials.chain_pem)],
        root_certificates=own.ca_pem,
        require_client_auth=True,
    )
    try:
        bound = server.add_secure_port(config.listen, tls)
    except RuntimeError as error:
        raise ConfigInvalid(
            f"key `listen`: cannot listen on `{config.listen}`: is the address right, and free?"
        ) from error
    if bound == 0:
        raise ConfigInvalid(f"key `listen`: cannot listen on `{config.listen}`")
    gateway.start(checks.set(AUDIT_SERVICE, health_pb2.HealthCheckResponse.SERVING))
    gateway.start(checks.set(SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING))
    gateway.start(checks.set("", health_pb2.HealthCheckResponse.SERVING))
    return server
