"""One gateway from its configuration, in whatever process: all of it but a way to call it.

`server.py` puts the gRPC front before it, `requester.py` the Python library. Both open it here, so that keys,
roster, agreements, log, link and sessions are the same under both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from typing import Self

from comity.audit.acts import serving_acts
from comity.audit.agreement_entries import agreement_entries
from comity.audit.errors import AuditError, LogInUse
from comity.audit.following_keys import follow_roster
from comity.audit.log import SignedLog
from comity.audit.log_keys import LogKeys, next_step
from comity.audit.retaining import Retaining
from comity.audit.retention import Believable
from comity.certs.aging import RosterAge
from comity.certs.clock import Clock, utc_now
from comity.certs.credentials import EndCredentials
from comity.certs.errors import CertsError
from comity.certs.following_jwks import PublishedKeys
from comity.certs.own import OwnCredentials, load_own
from comity.certs.published import PublishedRoster
from comity.certs.roster import Federation, MemberView
from comity.certs.user_acts import FOLDER as USER_ACTS
from comity.certs.user_acts import NEW
from comity.certs.watching import REST_SECONDS, FileWatch, follow
from comity.gateway import records
from comity.gateway.config import GatewayConfig
from comity.gateway.errors import AuditUnavailable, ConfigInvalid, GatewayError, HomeInUse
from comity.gateway.gateway import Gateway
from comity.gateway.house import activated, load_house
from comity.gateway.people import ACTS_SECONDS
from comity.gateway.standing import load_standing, watched
from comity.gateway.telemetry import METERING
from comity.links.client import LinkClient, LinkConfig
from comity.links.errors import ConfigUnusable
from comity.links.frames import LinkLimits
from comity.links.roster import RosterInbox
from comity.links.sessions.hub import GatewaySessions, SessionLimits, own_identity
from comity.links.telemetry.ends import EndReadings
from comity.links.telemetry.metrics import LogLag
from comity.v1 import common_pb2

WATCH_SECONDS = 0.2
"""How often the published folders are looked at."""
LOGGER = logging.getLogger("comity.gateway")


class GatewayEnd:
    """A gateway with its log open; `running()` dials the broker and follows what is published."""

    def __init__(
        self,
        *,
        config: GatewayConfig,
        own: OwnCredentials,
        gateway: Gateway,
        link: LinkClient,
        sessions: GatewaySessions,
        log: SignedLog,
        published: PublishedRoster,
        files: FileWatch,
        laws: FileWatch | None,
        publishing: PublishedKeys | None,
        clock: Clock,
    ) -> None:
        self.config = config
        self.own = own
        self.fronts: list[Callable[[], None]] = []
        """Called when the own leaf, or the CA of those who may call, is another one."""
        self.gateway = gateway
        self.clock = clock
        self._link = link
        self._sessions = sessions
        self._log = log
        self._published = published
        self._files = files
        self._laws = laws
        self._publishing = publishing
        self._beside: list[asyncio.Task[None]] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, config: GatewayConfig, *, clock: Clock = utc_now) -> AsyncIterator[Self]:
        """Load keys, roster and agreements, and open the log; leaving the block closes it.

        Raises `ConfigInvalid` when what the configuration names cannot be used, `HomeInUse` when another
        process, or another part of this one, has the log of this home open.
        """
        limits = config.limits
        laws = config.house.watched if config.house else None
        files = watched(config)  # before it is read: what changes while we load is seen as a change
        try:
            published = PublishedRoster(
                public=config.public, authority=config.authority, home=config.home, clock=clock
            )
            standing = await asyncio.to_thread(load_standing, config, published)
            house = await asyncio.to_thread(load_house, config.house, agency=config.agency)
            federation, agreements = standing.federation, standing.agreements
            member = federation.member(config.agency)
            credentials = load_own(config.home, member, now=clock())
            own = OwnCredentials(
                credentials, home=config.home, role="gateway", clock=clock, renewal=config.renewal
            )
            origin = f"{member.domain}/gateway"
            keys = LogKeys.load(credentials.log_key.parent, origin)
            if member.asks:
                next_step(keys, member.key_set.log_key(origin))
            log = await SignedLog.open(config.home, origin=origin, key=keys, clock=clock)
        except LogInUse as error:
            raise HomeInUse(str(error)) from error
        except (CertsError, AuditError) as error:
            raise ConfigInvalid(str(error)) from error
        try:
            await _follow_log_key(config, log, federation)
            if not member.asks:
                raise ConfigInvalid(
                    f"agency `{config.agency}` may not ask: the roster does not list it as a requester"
                )
            gateway = Gateway(
                agency=config.agency,
                federation=federation,
                agreements=agreements,
                credentials=credentials,
                log=log,
                clock=clock,
                limits=limits,
                auditor_role=config.auditor_role,
                house=house,
            )
            gateway.tell_if_revoked()
            gateway.people.load(config.home / USER_ACTS)
            gateway.published = publishing = _published_keys(config, gateway, member, clock)
            try:
                link = LinkClient(
                    _link_config(config, federation, credentials),
                    gateway,
                    clock,
                    limits=LinkLimits(
                        queue_bytes=limits.queue_bytes,
                        keepalive_timeout=timedelta(milliseconds=limits.keepalive_timeout_ms),
                    ),
                    renewed=lambda: _link_config(config, gateway.federation, gateway.credentials),
                    barred=gateway.logs.broker_refused,
                )
            except ConfigUnusable as error:
                raise ConfigInvalid(str(error)) from error
            sessions = GatewaySessions(
                link=link,
                federation=federation,
                agreements=agreements,
                identity=own_identity(config.agency, credentials),
                clock=clock,
                on_message=gateway.on_message,
                on_closed=gateway.on_session_closed,
                on_opened=gateway.on_session_opened,
                on_refused=gateway.on_session_refused,
                is_barred=gateway.logs.is_refused,
                is_busy=gateway.waits_in,
                limits=SessionLimits(pending_bytes=limits.session_queue_bytes),
            )
            gateway.link, gateway.sessions = link, sessions
            yield cls(
                config=config,
                own=own,
                gateway=gateway,
                link=link,
                sessions=sessions,
                log=log,
                published=published,
                files=files,
                laws=laws,
                publishing=publishing,
                clock=clock,
            )
        finally:
            await log.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Log `started`, keep the link up, follow what is published; at the end hang up and log `stopped`.

        Raises `AuditUnavailable` if the log cannot be written at the start, and what ended one of its own
        tasks, if anything did.
        """
        config, gateway, clock = self.config, self.gateway, self.clock
        agreements = gateway.standing.agreements.agreements
        try:
            await self._log.append(
                records.event("started", config.agency, clock(), role="gateway"),
                *agreement_entries(config.agency, clock(), before=(), now=agreements),
                *([activated(config.agency, gateway.house, clock())] if gateway.house else ()),
            )
        except AuditError as error:
            raise AuditUnavailable(
                "this gateway's log cannot be written, so nothing is asked or shown"
            ) from error
        acts = config.home / USER_ACTS
        new_acts = FileWatch((acts / NEW, "*.json"))
        new_acts.doubt()
        await gateway.people.take(acts)
        retaining = Retaining(
            home=config.home,
            agency=config.agency,
            terms=config.retention,
            log=self._log,
            believable=lambda: Believable.by(gateway.federation),
            clock=clock,
        )

        async def reload() -> None:
            await gateway.reload(partial(load_standing, config, self._published, gateway.standing))
            self._link.leave_distrusted()
            self._tell_fronts()  # first: a key file that cannot be used keeps no caller's old CA in force
            await _follow_log_key(config, self._log, gateway.federation)

        rosters = gateway.rosters = RosterInbox(self._published.take, log=LOGGER)
        faults = (CertsError, AuditUnavailable, ConfigInvalid)
        age = RosterAge(
            lambda: gateway.federation,
            agency=config.agency,
            statement=lambda: self.own.current.statement.public,
            clock=clock,
        )
        self._beside = [
            asyncio.create_task(age.run()),
            asyncio.create_task(self._link.run()),
            asyncio.create_task(rosters.run()),
            asyncio.create_task(gateway.exchange_checkpoints()),
            asyncio.create_task(retaining.run()),
            asyncio.create_task(gateway.logs.run()),
            asyncio.create_task(
                follow(
                    self._files,
                    reload,
                    seconds=WATCH_SECONDS,
                    faults=faults,
                    log=LOGGER,
                    due=self._published.is_due,
                    rest=REST_SECONDS,
                )
            ),
            asyncio.create_task(
                follow(
                    new_acts,
                    partial(gateway.people.take, acts),
                    seconds=ACTS_SECONDS,
                    faults=faults,
                    log=LOGGER,
                    what="an act about a user",
                )
            ),
            asyncio.create_task(
                self.own.follow(self._member, self._take_own, faults=(AuditUnavailable, GatewayError))
            ),
        ]
        if self._laws is not None:
            load = partial(load_house, config.house, agency=config.agency)
            obeying = partial(gateway.reload_house, load)
            self._beside.append(
                asyncio.create_task(
                    follow(self._laws, obeying, seconds=WATCH_SECONDS, faults=faults, log=LOGGER)
                )
            )
        if self._publishing is not None:
            self._beside.append(asyncio.create_task(self._publishing.run()))
        readings = EndReadings(
            exchanges=gateway.in_flight,
            link=self._link,
            sessions=self._sessions,
            lag=LogLag(self._log, clock),
            own=self.own,
            roster=age,
            published=self._publishing,
        )
        failed = None
        try:
            with METERING.watching(readings):
                async with serving_acts(config.home, self._log, clock=clock):
                    if self._publishing is not None:
                        await self._publishing.first()
                    yield
        finally:
            failed = next((task for task in self._beside if task.done()), None)
            await self._stop()
        if failed is not None:
            failed.result()

    @property
    def credentials(self) -> EndCredentials:
        """Those in force."""
        return self.own.current

    def _member(self) -> MemberView:
        return self.gateway.standing.own(self.config.agency)

    async def _take_own(self, old: EndCredentials, new: EndCredentials) -> None:
        """Log and put newer credentials in force: for orders, sessions, the link, and callers."""
        try:
            await self._log.append(
                records.event(
                    "credentials_activated",
                    self.config.agency,
                    self.clock(),
                    certificate=new.pair.fingerprint.hex(),
                    statement_key=new.statement.key_id,
                )
            )
        except AuditError as error:
            raise AuditUnavailable("this gateway's log cannot be written, so its new keys wait") from error
        self.gateway.take_credentials(new)
        self.own.current = new
        self._link.renew()
        self._tell_fronts()

    def _tell_fronts(self) -> None:
        for changed in self.fronts:
            changed()

    @property
    def has_failed(self) -> bool:
        """Whether a task of `running()` has ended: then this gateway answers no more questions."""
        return any(task.done() for task in self._beside)

    async def until(self, stop: asyncio.Event) -> None:
        """Return once `stop` is set, or one of the tasks of `running()` has ended, which none ever should."""
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((*self._beside, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    async def _stop(self) -> None:
        self.gateway.is_stopping = True
        self._sessions.close()
        await self._link.close()
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await self.gateway.settle_tasks()
        with contextlib.suppress(AuditError):
            await self._log.append(records.event("stopped", self.config.agency, self.clock()))


async def _follow_log_key(config: GatewayConfig, log: SignedLog, federation: Federation) -> None:
    """Do what the roster wants done with our log's keys; raise `ConfigInvalid`."""
    try:
        await follow_roster(log, config.home / "keys", federation)
    except AuditError as error:
        raise ConfigInvalid(str(error)) from error


def _published_keys(
    config: GatewayConfig, gateway: Gateway, member: MemberView, clock: Clock
) -> PublishedKeys | None:
    """Return who follows what our identity provider publishes, if that is configured."""
    settings = config.identity_provider
    if settings is None:
        return None
    named = [provider.issuer for provider in member.key_set.identity_providers]
    issuers = [issuer for issuer in named if settings.issuer in ("", issuer)]
    if len(issuers) != 1:
        raise ConfigInvalid(
            f"key `identity_provider.issuer`: expected one of those that the roster names for "
            f"`{config.agency}`: {', '.join(f'`{issuer}`' for issuer in named) or 'it names none'}"
        )
    return PublishedKeys(
        settings,
        issuer=issuers[0],
        home=config.home,
        member=lambda: gateway.federation.members.get(config.agency),
        clock=clock,
    )


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
        roster_timestamp_digest=federation.timestamp_digest,
        agency_revocations_digest=federation.own_lists_digest,
    )
