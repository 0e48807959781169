"""Wiring: one gateway process from its configuration."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from comity.certs.clock import Clock, utc_now
from comity.certs.own import HEALTH_SERVICE
from comity.gateway.audit_service import SERVICE_NAME as AUDIT_SERVICE
from comity.gateway.audit_service import AuditService, audit_handler
from comity.gateway.config import GatewayConfig
from comity.gateway.end import GatewayEnd
from comity.gateway.errors import ConfigInvalid, NotAMember
from comity.gateway.gateway import Gateway
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
    config, gateway, limits = end.config, end.gateway, end.config.limits
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limits.max_request_bytes),
            ("grpc.max_metadata_size", limits.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", limits.max_metadata_bytes),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=limits.max_calls,
    )
    queries = QueryService(gateway, end.clock, limits, gateway.calls)
    audits = AuditService(gateway, queries, end.clock, limits)
    server.add_generic_rpc_handlers((search_handler(queries), audit_handler(audits)))
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    services = (SERVICE_NAME, AUDIT_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(services, server)
    tls = _FrontTls(end)
    end.fronts.append(tls.renew)
    try:
        bound = server.add_secure_port(config.listen, tls.credentials())
    except RuntimeError as error:
        raise ConfigInvalid(
            f"key `listen`: cannot listen on `{config.listen}`: is the address right, and free?"
        ) from error
    if bound == 0:
        raise ConfigInvalid(f"key `listen`: cannot listen on `{config.listen}`")
    gateway.start(checks.set(AUDIT_SERVICE, health_pb2.HealthCheckResponse.SERVING))
    gateway.start(checks.set(HEALTH_SERVICE, health_pb2.HealthCheckResponse.SERVING))
    end.own.on_health.append(partial(_tell_health, gateway, checks))
    gateway.start(checks.set(SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING))
    gateway.start(checks.set("", health_pb2.HealthCheckResponse.SERVING))
    return server


def _tell_health(gateway: Gateway, checks: health.aio.HealthServicer, well: bool) -> None:
    """Tell who asks for our health that our own credentials are well, or not."""
    found = health_pb2.HealthCheckResponse
    gateway.start(checks.set(HEALTH_SERVICE, found.SERVING if well else found.NOT_SERVING))


class _FrontTls:
    """What the gateway shows to its agency's systems: a new connection gets the leaf in force."""

    def __init__(self, end: GatewayEnd) -> None:
        self._end = end
        self._newest: grpc.ServerCertificateConfiguration | None = None
        self._told: grpc.ServerCertificateConfiguration | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that follow `renew`."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            self._fetch,  # type: ignore[arg-type]  # None means "as before", which the stubs don't know
            require_client_authentication=True,
        )

    def renew(self) -> None:
        """Have new connections get the leaf in force now, and judge callers by the CAs in force now.

        An agency that is no member now, or whose CAs are all revoked, has no CA: all stays as it was, and
        each call is refused.
        """
        with contextlib.suppress(NotAMember, ConfigInvalid):
            self._newest = self._configuration()

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        own = self._end.credentials
        roots = self._end.gateway.standing.own(self._end.config.agency).key_set.ca_pem
        if not roots:
            raise ConfigInvalid("every CA of this agency is revoked, so no system of it can call")
        return grpc.ssl_server_certificate_configuration(
            [(own.key_pem, own.chain_pem)], root_certificates=roots
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Give gRPC what is newer, if anything. Runs on a thread of gRPC's, one call at a time.

        It never writes what the event loop writes, so that a configuration that comes meanwhile isn't lost.
        """
        newest = self._newest
        if newest is self._told:
            return None
        self._told = newest
        return newest
