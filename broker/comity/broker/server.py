"""The broker process: wiring only. Trust, log, links and gRPC, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from typing import Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from comity.audit.acts import serving_acts
from comity.audit.errors import AuditError, LogKeyMismatch
from comity.audit.following_keys import follow_roster
from comity.audit.log import SignedLog
from comity.audit.log_keys import LogKeys, next_step
from comity.audit.retaining import Retaining
from comity.audit.retention import Believable
from comity.broker import journal
from comity.broker.capture import Capture
from comity.broker.config import BrokerConfig
from comity.broker.desk import ExchangeDesk
from comity.broker.errors import ConfigInvalid
from comity.broker.replay import SeenExchanges, read_routed
from comity.broker.router import Router
from comity.broker.scribe import Scribe
from comity.broker.service import SERVICE_NAME, BrokerService, link_handler
from comity.broker.table import LinkTable
from comity.broker.telemetry import METERING, Readings
from comity.broker.trust import Trust, TrustState, load_trust
from comity.broker.witness import Witness
from comity.certs.aging import RosterAge
from comity.certs.authority import OPERATOR
from comity.certs.clock import Clock, utc_now
from comity.certs.credentials import EndCredentials
from comity.certs.delivered import MAX_OWN_LISTS_BYTES
from comity.certs.errors import CertsError
from comity.certs.own import HEALTH_SERVICE, OwnCredentials, load_own
from comity.certs.own_lists import OWN_LIST_FILE
from comity.certs.published import PublishedRoster
from comity.certs.roster import Federation
from comity.certs.watching import REST_SECONDS, FileWatch, follow
from comity.links.errors import ConfigUnusable
from comity.links.relay import SessionRelay
from comity.links.roster import RevocationsInbox, cut
from comity.links.server import LinkPeer, server_options
from comity.links.telemetry.metrics import LogLag
from comity.links.telemetry.process import emitting

logger = logging.getLogger("comity.broker")

TICK_SECONDS: Final = 1.0
"""How often checkpoints are offered besides when a new one is published."""

WATCH_SECONDS: Final = 0.2
"""How often the folders are looked at: two looks, and a newer list closes the links that it touches."""

STOP_SECONDS: Final = 3.0
"""How long a stop waits for accounts, and then for the ends to hang up."""


class Broker:
    """A running broker. `address` is where it listens."""

    def __init__(
        self,
        *,
        config: BrokerConfig,
        own: OwnCredentials,
        trust: Trust,
        published: PublishedRoster,
        files: FileWatch,
        log: SignedLog,
        clock: Clock,
    ) -> None:
        self._config = config
        self._own = own
        self._trust = trust
        self._published = published
        self._left_out: tuple[str, ...] = ()
        """Whose own lists of revocations were told as not handed out."""
        self._files = files
        self._log = log
        self._clock = clock
        limits = config.link_limits
        self._scribe = Scribe(log)
        self._table = LinkTable()
        self._witness = Witness(log=log, clock=clock, table=self._table, trust=trust)
        seen = SeenExchanges(read_routed(config.home / "log", size=log.size, now=clock()))
        relay = SessionRelay[LinkPeer](limits)
        self._desk = ExchangeDesk(
            post=self._table,
            trust=trust,
            log=log,
            scribe=self._scribe,
            seen=seen,
            key=own.current.statement,
            clock=clock,
            max_per_agency=config.max_exchanges_per_agency,
            max_exchanges=config.max_exchanges,
        )
        self._brought = RevocationsInbox(published.take_own_list, log=logger)
        self._router = Router(
            table=self._table,
            desk=self._desk,
            relay=relay,
            witness=self._witness,
            trust=trust,
            log=log,
            scribe=self._scribe,
            clock=clock,
            max_links=config.max_links,
            brought=self._brought,
        )
        self._capture = None if config.capture is None else Capture(config.capture)
        self._newest_tls: grpc.ServerCertificateConfiguration | None = None
        self._told_tls: grpc.ServerCertificateConfiguration | None = None
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=[*server_options(limits), ("grpc.so_reuseport", 0)],
            maximum_concurrent_rpcs=2 * config.max_links,
        )
        log.on_published(lambda note: self._witness.offer())
        self._age = RosterAge(
            lambda: trust.federation,
            agency=OPERATOR,
            statement=lambda: own.current.statement.public,
            clock=clock,
        )
        self._readings = Readings(
            table=self._table,
            exchanges=self._desk,
            sessions=relay,
            seen=seen,
            lag=LogLag(log, clock),
            own=own,
            roster=self._age,
        )
        self._service = BrokerService(router=self._router, clock=clock, limits=limits)
        self._tasks: list[asyncio.Task[None]] = []
        self.address = ""

    @classmethod
    async def start(cls, config: BrokerConfig, *, clock: Clock = utc_now) -> Broker:
        """Start a broker: it listens when this returns.

        Raises ConfigInvalid, CertsError or AuditError with one line for the operator.
        """
        published = PublishedRoster(
            public=config.public, authority=config.authority, home=config.home, clock=clock
        )
        files = FileWatch(
            (config.public, "*.json"),
            (config.lodgements, "*.json"),
            (published.delivered, OWN_LIST_FILE.format("*")),
        )
        state = await asyncio.to_thread(load_trust, published=published, lodgements=config.lodgements)
        credentials = load_own(config.home, state.federation.operator, now=clock())
        origin = f"{credentials.domain}{credentials.path}"
        keys = LogKeys.load(credentials.log_key.parent, origin)
        _check_own(credentials, keys, state.federation, clock)
        log = await SignedLog.open(config.home, origin=origin, key=keys, clock=clock)
        try:
            await follow_roster(log, credentials.log_key.parent, state.federation)
            await log.publish()
            broker = cls(
                config=config,
                own=OwnCredentials(
                    credentials, home=config.home, role="broker", clock=clock, renewal=config.renewal
                ),
                trust=Trust(state),
                published=published,
                files=files,
                log=log,
                clock=clock,
            )
            await broker._listen(state)
        except BaseException:
            await log.close()
            raise
        return broker

    async def run(self) -> None:
        """Work until cancelled, or until a part of the broker fails: then raise what it raised."""
        with METERING.watching(self._readings):
            async with serving_acts(self._config.home, self._log, clock=self._clock):
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Account for what is in flight, say goodbye to every link, log `stopped`, close."""
        await self._health.enter_graceful_shutdown()
        self._desk.stop()
        await self._settle()
        await self._leave_checkpoint()
        self._router.stop()
        await self._settle()
        await self._server.stop(STOP_SECONDS / 2)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._log.append(journal.stopped(self._clock()))
        except AuditError as error:
            logger.error("the stop could not be logged: %s", error)
        await self._log.close()
        if self._capture is not None:
            self._capture.close()
        logger.info("stopped")

    async def _listen(self, state: TrustState) -> None:
        if self._config.capture is not None:
            logger.warning(
                "CAPTURE IS ON: a copy of every link message is kept in `%s`", self._config.capture
            )
        self._server.add_generic_rpc_handlers((link_handler(self._service, self._capture),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        tls = grpc.dynamic_ssl_server_credentials(
            self._tls(state.federation),
            self._fetch_tls,  # type: ignore[arg-type]  # None means "as before", which the stubs don't know
            require_client_authentication=True,
        )
        try:
            port = self._server.add_secure_port(self._config.listen, tls)
        except RuntimeError as error:
            raise ConfigInvalid(f"`listen` is `{self._config.listen}`, which cannot be bound") from error
        host = self._config.listen.rpartition(":")[0]
        self.address = f"{host}:{port}"
        await self._log.append(journal.started(self._clock(), roster=state.federation.version))
        self._hand_out(state.federation)
        await self._server.start()
        for name in ("", SERVICE_NAME, HEALTH_SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._own.on_health.append(self._tell_health)
        retaining = Retaining(
            home=self._config.home,
            agency=state.federation.operator.agency,
            terms=self._config.retention,
            log=self._log,
            believable=lambda: Believable.by(self._trust.federation),
            clock=self._clock,
        )
        works = (
            self._scribe.run,
            self._witness.run,
            self._follow,
            self._follow_own,
            self._brought.run,
            self._tick,
            self._age.run,
            retaining.run,
        )
        for work in works:
            self._tasks.append(asyncio.create_task(work(), name=f"broker {work.__qualname__}"))
        logger.info("listening on %s, roster version %d", self.address, state.federation.version)
        self._tell_if_mute()

    async def _tick(self) -> None:
        """Offer checkpoints once a second: an end that was passed over for its damping gets the newest."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._witness.offer()
            self._witness.tick()

    async def _follow(self) -> None:
        """Take newer rosters and lodgements into force, until cancelled."""
        faults = (CertsError, AuditError)
        await follow(
            self._files,
            self._reload,
            seconds=WATCH_SECONDS,
            faults=faults,
            log=logger,
            due=self._published.is_due,
            rest=REST_SECONDS,
        )

    def _tell_health(self, well: bool) -> None:
        """Tell who asks for our health that our own credentials are well, or not."""
        found = health_pb2.HealthCheckResponse
        work = self._health.set(HEALTH_SERVICE, found.SERVING if well else found.NOT_SERVING)
        self._telling = asyncio.ensure_future(work)

    async def _follow_own(self) -> None:
        """Put a newer leaf or statement key of our own in force, until cancelled."""
        await self._own.follow(lambda: self._trust.federation.operator, self._take_own, faults=(AuditError,))

    async def _take_own(self, old: EndCredentials, new: EndCredentials) -> None:
        """Log and put newer credentials in force: for accounts, and for whoever connects from now on."""
        entry = journal.credentials_activated(
            self._clock(), certificate=new.pair.fingerprint, statement_key=new.statement.key_id
        )
        await self._log.append(entry)
        self._desk.key = new.statement
        self._own.current = new
        with contextlib.suppress(ConfigInvalid):
            self._newest_tls = self._tls(self._trust.federation)

    async def _reload(self) -> None:
        """Take what is published now into force; a roster that changed is logged first."""
        state = await asyncio.to_thread(
            load_trust, published=self._published, lodgements=self._config.lodgements
        )
        if state.federation.version != self._trust.federation.version:
            entry = journal.roster_activated(self._clock(), roster=state.federation.version)
            await self._log.append(entry)
            logger.info("roster version %d is in force", state.federation.version)
        for issuer, version, digest in state.federation.lists_since(self._trust.federation):
            await self._log.append(
                journal.revocations_activated(self._clock(), version=version, digest=digest, issuer=issuer)
            )
            whose = f" of `{issuer}`" if issuer else ""
            logger.warning("list of revocations%s, version %d, is in force", whose, version)
        self._trust.replace(state)
        self._tell_if_mute()
        with contextlib.suppress(ConfigInvalid):  # then the old roots stay, and each link is refused
            self._newest_tls = self._tls(state.federation)
        self._hand_out(state.federation)  # first: who is revoked learns by whose word, and why
        self._router.trust_replaced()
        # Last: a key file or a disk that fails us keeps no revoked end linked.
        await follow_roster(self._log, self._own.current.log_key.parent, state.federation)

    def _tell_if_mute(self) -> None:
        if not self._trust.may_sign(self._own.current.statement.public):
            logger.error(
                "own statement key is revoked: nothing is routed until another one is in force "
                "(comity certs rotate statement-key)"
            )

    def _hand_out(self, federation: Federation) -> None:
        """Hand the roster in force to the ends over their links: their own source of it may be away."""
        frames = cut(self._published.documents, max_frame_bytes=self._config.link_limits.max_frame_bytes)
        if not frames:
            logger.warning("the roster is too large to be handed out over links")
        left_out = self._published.left_out
        if left_out and left_out != self._left_out:
            logger.error(
                "THE OWN LISTS OF REVOCATIONS OF %s ARE NOT HANDED OUT: all agencies' together are larger "
                "than %d bytes; the authority revokes what these name (comity certs revoke), or each end "
                "gets these files beside the roster",
                ", ".join(f"`{agency}`" for agency in left_out),
                MAX_OWN_LISTS_BYTES,
            )
        self._left_out = left_out
        self._router.hand_out(
            frames, timestamp=federation.timestamp_digest, own_lists=federation.own_lists_digest
        )

    def _fetch_tls(self) -> grpc.ServerCertificateConfiguration | None:
        """Give gRPC newer roots if there are any. Runs on a thread of gRPC's, one call at a time.

        It never writes what the event loop writes, so that a configuration that comes meanwhile isn't lost.
        """
        newest = self._newest_tls
        if newest is self._told_tls:
            return None
        self._told_tls = newest
        return newest

    def _tls(self, federation: Federation) -> grpc.ServerCertificateConfiguration:
        """Return our leaf, and every member's CA: which of them may say whom is judged in `admission`."""
        roots = b"".join(
            member.key_set.ca_pem for member in (federation.operator, *federation.members.values())
        )
        if not roots:
            raise ConfigInvalid("every CA of the federation is revoked, so nobody can link")
        own = self._own.current
        return grpc.ssl_server_certificate_configuration(
            [(own.key_pem, own.chain_pem)], root_certificates=roots
        )

    async def _leave_checkpoint(self) -> None:
        """Give the ends the newest checkpoint and take theirs: they are what evidence is held against."""
        try:
            await self._witness.look()
            await self._log.publish()
        except AuditError as error:
            logger.error("the last checkpoint cannot be published: %s", error)
        self._witness.offer()

    async def _settle(self) -> None:
        try:
            await asyncio.wait_for(self._scribe.settled(), STOP_SECONDS / 3)
        except TimeoutError:
            logger.error("the log cannot be written: accounts in flight are lost")


async def serve(
    config: BrokerConfig,
    *,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
    clock: Clock = utc_now,
) -> None:
    """Run a broker until `stop` is set; without one, until SIGTERM or SIGINT.

    `ready` is called with the address once it listens. Raises ConfigInvalid, CertsError or AuditError
    with one line for the operator.
    """
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with emitting(config.telemetry, role="broker"):
            await _serve(config, ready=ready, stop=stop, clock=clock)
    except ConfigUnusable as error:
        raise ConfigInvalid(str(error)) from error


async def _serve(
    config: BrokerConfig, *, ready: Callable[[str], None] | None, stop: asyncio.Event, clock: Clock
) -> None:
    broker = await Broker.start(config, clock=clock)
    running = asyncio.create_task(broker.run(), name="broker")
    waiting = asyncio.create_task(stop.wait(), name="stop")
    try:
        if ready is not None:
            ready(broker.address)
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        failed = running.done()
        running.cancel()
        await broker.stop()
    if failed:
        running.result()


def _check_own(credentials: EndCredentials, log_keys: LogKeys, federation: Federation, clock: Clock) -> None:
    """Refuse to start as somebody whom nobody would believe. Raises ConfigInvalid."""
    operator = federation.operator
    expected = operator.spiffe_id("broker")
    if credentials.spiffe_id != expected:
        raise ConfigInvalid(
            f"`keys/leaf.pem` names `{credentials.spiffe_id}`, the roster expects `{expected}`"
        )
    if credentials.not_after <= clock():
        raise ConfigInvalid(f"`keys/leaf.pem` expired at {credentials.not_after:%Y-%m-%d %H:%M} UTC")
    if not operator.knows_statement_key(credentials.statement.public, clock()):
        raise ConfigInvalid(
            "`keys/statement.key` is none that the roster's key set of the operator names now"
        )
    try:
        next_step(log_keys, operator.key_set.log_key("broker"))
    except (CertsError, LogKeyMismatch) as error:
        raise ConfigInvalid(str(error)) from error
