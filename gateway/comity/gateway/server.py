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

from comity.audit.errors import AuditError
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.peers import PeerCheckpoints
from comity.certs.clock import Clock, utc_now
from comity.certs.credentials import EndCredentials
from comity.certs.errors import CertsError
from comity.certs.published import PublishedRoster
from comity.certs.roster import Federation
from comity.certs.watching import follow
from comity.gateway import records
from comity.gateway.config import GatewayConfig
from comity.gateway.errors import AuditUnavailable, ConfigInvalid
from comity.gateway.gateway import Gateway
from comity.gateway.service import QueryService
from comity.gateway.standing import load_standing, watched
from comity.links.client import LinkClient, LinkConfig
from comity.links.sessions.hub import GatewaySessions, SessionIdentity
from comity.v1 import common_pb2, query_service_pb2, query_service_pb2_grpc

STOP_GRACE_SECONDS = 2.0
MAX_REQUEST_BYTES = 64 * 1024
WATCH_SECONDS = 1.0
"""How often the published folders are looked at."""
LOGGER = logging.getLogger("comity.gateway")


async def serve(
    config: GatewayConfig, *, ready: Callable[[str], None], stop: asyncio.Event, clock: Clock = utc_now
) -> None:
    """Run a gateway until `stop` is set; call `ready` with one line once agency systems can call.

    Raises `ConfigInvalid` when what the configuration names cannot be used.
    """
    files = watched(config)  # before it is read: what changes while we load is seen as a change
    try:
        published = PublishedRoster(
            public=config.public, authority=config.authority, home=config.home, clock=clock
        )
        standing = await asyncio.to_thread(load_standing, config, published)
        federation, agreements = standing.federation, standing.agreements
        member = federation.member(config.agency)
        credentials = EndCredentials.load(config.home)
        origin = f"{member.domain}/gateway"
        key = LogKey.load(credentials.log_key, origin)
        log = await SignedLog.open(config.home, origin=origin, key=key, clock=clock)
    except (CertsError, AuditError) as error:
        raise ConfigInvalid(str(error)) from error
    if not member.asks:
        raise ConfigInvalid(
            f"agency `{config.agency}` may not ask: the roster does not list it as a requester"
        )
    peers = PeerCheckpoints(log, clock)
    gateway = Gateway(
        agency=config.agency,
        federation=federation,
        agreements=agreements,
        credentials=credentials,
        log=log,
        peers=peers,
        clock=clock,
        max_in_flight=config.max_in_flight,
    )
    gateway.link = LinkClient(_link_config(config, federation, credentials), gateway, clock)
    gateway.sessions = GatewaySessions(
        link=gateway.link,
        federation=federation,
        agreements=agreements,
        identity=SessionIdentity(
            agency=config.agency,
            chain=config.home / "keys" / "leaf.pem",
            key=config.home / "keys" / "leaf.key",
        ),
        clock=clock,
        on_message=gateway.on_message,
        on_closed=gateway.on_session_closed,
        on_opened=gateway.on_session_opened,
        on_refused=gateway.on_session_refused,
    )
    try:
        server = _grpc_server(config, gateway, credentials, federation, clock)
        started = records.event("started", config.agency, clock(), role="gateway")
        activated = records.agreements_activated(config.agency, clock(), before=(), now=agreements.agreements)
        await log.append(started, *activated)
        await server.start()
        reload = partial(gateway.reload, partial(load_standing, config, published))
        faults = (CertsError, AuditUnavailable)
        beside = [
            asyncio.create_task(gateway.link.run()),
            asyncio.create_task(gateway.exchange_checkpoints()),
            asyncio.create_task(follow(files, reload, seconds=WATCH_SECONDS, faults=faults, log=LOGGER)),
        ]
        ready(f"{config.agency} serves its systems on {config.listen}")
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((*beside, stopping), return_when=asyncio.FIRST_COMPLETED)
        failed = next((task for task in beside if task.done()), None)
        stopping.cancel()
        await server.stop(STOP_GRACE_SECONDS)
        gateway.sessions.close()
        await gateway.link.close()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await gateway.settle_tasks()
        with contextlib.suppress(AuditError):
            await log.append(records.event("stopped", config.agency, clock()))
        if failed is not None:
            failed.result()
    finally:
        await log.close()


def _link_config(config: GatewayConfig, federation: Federation, credentials: EndCredentials) -> LinkConfig:
    operator = federation.operator.key_set
    return LinkConfig(
        broker=config.broker,
        broker_name=config.broker_name,
        operator_ca_pem=operator.ca_pem,
        leaf_chain_pem=credentials.chain_pem,
        leaf_key_pem=credentials.key_pem,
        spiffe_id=credentials.spiffe_id,
        role=common_pb2.END_ROLE_GATEWAY,
        roster_version=federation.version,
    )


def _grpc_server(
    config: GatewayConfig, gateway: Gateway, credentials: EndCredentials, federation: Federation, clock: Clock
) -> grpc.aio.Server:
    own = federation.member(config.agency).key_set
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.so_reuseport", 0),
        ]
    )
    query_service_pb2_grpc.add_QueryServiceServicer_to_server(QueryService(gateway, clock), server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    name = query_service_pb2.DESCRIPTOR.services_by_name["QueryService"].full_name
    reflection.enable_server_reflection((name, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
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
    gateway.start(checks.set(name, health_pb2.HealthCheckResponse.SERVING))
    gateway.start(checks.set("", health_pb2.HealthCheckResponse.SERVING))
    return server
