"""Wiring: one adapter process from its configuration, until it is told to stop.

It opens no port: it dials out to the broker, and goes on dialling while the broker is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from comity.adapters import records
from comity.adapters.acknowledgements import Acknowledgements
from comity.adapters.announcements import Announcements
from comity.adapters.barring import Barring
from comity.adapters.beside import Beside
from comity.adapters.config import AdapterConfig
from comity.adapters.end import AdapterEnd
from comity.adapters.errors import ConfigInvalid, StateUnwritable
from comity.adapters.exchanges import Exchanges
from comity.adapters.loading import (
    ROLE,
    load_credentials,
    load_standing,
    open_published,
    reload_standing,
    require_succession,
    watched,
)
from comity.adapters.own_records import OwnRecords
from comity.adapters.path import ExchangePath, Standing
from comity.adapters.people import People
from comity.adapters.receipts import ReceiptSigner
from comity.adapters.receipts_open import OpenReceipt, SettledMark, read_open
from comity.adapters.replay import ReplayGuard
from comity.adapters.spending import Spending
from comity.adapters.state import open_state
from comity.adapters.subjects import Subjects
from comity.adapters.telemetry import METERING
from comity.adapters.threads import StoreThreads
from comity.audit.acts import serving_acts
from comity.audit.agreement_entries import agreement_entries
from comity.audit.entry import Entry
from comity.audit.errors import AuditError
from comity.audit.following_keys import follow_roster
from comity.audit.log import SignedLog
from comity.audit.log_keys import LogKeys
from comity.audit.retaining import Retaining
from comity.audit.retention import Believable
from comity.certs.aging import RosterAge
from comity.certs.clock import Clock, utc_now
from comity.certs.credentials import EndCredentials
from comity.certs.own import OwnCredentials
from comity.certs.published import PublishedRoster
from comity.certs.roster import MemberView
from comity.certs.watching import REST_SECONDS, FileWatch, follow
from comity.links.client import LinkClient, LinkConfig
from comity.links.errors import ConfigUnusable
from comity.links.frames import LinkLimits
from comity.links.roster import RosterInbox
from comity.links.sessions.hub import AdapterSessions, SessionLimits, own_identity
from comity.links.telemetry.ends import EndReadings
from comity.links.telemetry.metrics import LogLag
from comity.links.telemetry.process import emitting
from comity.v1 import common_pb2

LOGGER = logging.getLogger("comity.adapters")

STOP_SECONDS: Final = 2.0
"""How long exchanges in flight may go on when the process is told to stop."""

WATCH_SECONDS: Final = 0.2
"""How often the published folders are looked at; what changed counts from the second look on."""


async def serve(
    config: AdapterConfig, *, ready: Callable[[str], None], stop: asyncio.Event, clock: Clock = utc_now
) -> None:
    """Run an adapter until `stop` is set; call `ready` with one line once it is first linked to the broker.

    Raises `ConfigInvalid` with one line when what the configuration names can't be used. A broker that is
    away is no error: the adapter stays up and dials again.
    """
    try:
        async with emitting(config.telemetry, role=ROLE, agency=config.agency):
            await _serve(config, ready=ready, stop=stop, clock=clock)
    except ConfigUnusable as error:
        raise ConfigInvalid(str(error)) from error


async def _serve(
    config: AdapterConfig, *, ready: Callable[[str], None], stop: asyncio.Event, clock: Clock
) -> None:
    published = open_published(config, clock=clock)
    files = watched(config)  # before it is read: what changes while we load is seen as a change
    standing = await asyncio.to_thread(load_standing, config, published)
    try:
        member = standing.federation.member(config.agency)
        credentials, keys = load_credentials(config, member, clock=clock)
        engine = _state(config)
        log = await _log(config, keys, clock)
        try:
            try:
                require_succession(standing.engine.bundle, log.law)
                await follow_roster(log, config.home / "keys", standing.federation)
                mark = SettledMark(engine)
                own = OwnCredentials(
                    credentials, home=config.home, role=ROLE, clock=clock, renewal=config.renewal
                )
                adapter = _Adapter(config, published, files, standing, own, engine, log, mark, clock)
                adapter.take_up(await asyncio.to_thread(_still_open, config.home, log, mark))
            except (ConfigUnusable, StateUnwritable, AuditError) as error:
                raise ConfigInvalid(str(error)) from error
            await adapter.run(ready, stop)
        finally:
            with contextlib.suppress(AuditError):
                await log.close()
            engine.dispose()
    finally:
        for store in standing.stores:
            store.source.close()


class _Adapter:
    """The parts of a running adapter, put together."""

    def __init__(
        self,
        config: AdapterConfig,
        published: PublishedRoster,
        files: FileWatch,
        standing: Standing,
        own: OwnCredentials,
        engine: Engine,
        log: SignedLog,
        mark: SettledMark,
        clock: Clock,
    ) -> None:
        self._config = config
        self._own = own
        credentials = own.current
        self._log = log
        self._clock = clock
        self._beside = Beside(log)
        self._threads = StoreThreads(config.max_searches)
        self._published = published
        self._files = files
        subjects = Subjects(max_in_flight=config.max_in_flight_per_subject)
        announcements = Announcements(clock)
        replay = ReplayGuard(engine, clock=clock)
        self._signer = ReceiptSigner(config.agency, credentials.statement, clock=clock)
        people = People(
            agency=config.agency,
            barring=Barring(engine),
            key=credentials.statement,
            log=log,
            beside=self._beside,
            member=lambda agency: self._path.standing.federation.members.get(agency),
            clock=clock,
        )
        self._path = ExchangePath(
            standing=standing,
            log=log,
            replay=replay,
            spending=Spending(engine, clock=clock),
            announcements=announcements,
            signer=self._signer,
            threads=self._threads,
            subjects=subjects,
            people=people,
            clock=clock,
        )
        self._end = AdapterEnd(
            agency=config.agency,
            federation=standing.federation,
            announcements=announcements,
            log=log,
            beside=self._beside,
            clock=clock,
        )
        self._link = self._end.link = LinkClient(
            _link_config(config, standing, credentials),
            self._end,
            clock,
            limits=LinkLimits(
                queue_bytes=config.queue_bytes,
                keepalive_timeout=timedelta(milliseconds=config.keepalive_timeout_ms),
            ),
            renewed=self._renewed_link,
            barred=self._end.logs.broker_refused,
        )
        acknowledgements = self._end.acknowledgements = Acknowledgements(
            agency=config.agency,
            member=lambda agency: self._path.standing.federation.members.get(agency),
            beside=self._beside,
            clock=clock,
            log_size=lambda: log.size,
            mark=mark,
            promised=self._end.promised,
        )
        self._own_records = self._end.own_records = OwnRecords(
            agency=config.agency,
            home=config.home,
            log=log,
            key=credentials.statement,
            clock=clock,
            max_per_hour=config.max_record_requests_per_hour,
        )
        self._exchanges = self._end.exchanges = Exchanges(
            agency=config.agency,
            path=self._path,
            link=self._link,
            acknowledgements=acknowledgements,
            beside=self._beside,
            subjects=subjects,
            clock=clock,
            max_in_flight=config.max_in_flight,
            max_exchanges=config.max_exchanges,
        )
        self._people = self._end.people = people
        people.sessions, people.dismiss = self._end.open, self._exchanges.dismiss
        self._sessions = self._end.sessions = AdapterSessions(
            link=self._link,
            federation=standing.federation,
            agreements=standing.agreements,
            identity=own_identity(config.agency, credentials),
            clock=clock,
            on_message=self._end.on_message,
            on_closed=self._end.on_closed,
            on_opened=self._end.on_opened,
            on_refused=self._end.on_refused,
            is_barred=self._end.logs.is_refused,
            is_mute=self._is_mute,
            limits=SessionLimits(
                pending_bytes=config.session_queue_bytes,
                page_window=config.page_window,
                sessions_per_requester=config.max_sessions_per_requester,
            ),
        )
        self._rosters = self._end.rosters = RosterInbox(published.take, log=LOGGER)
        log.on_published(lambda note: self._end.logs.offer())
        self._retaining = Retaining(
            home=config.home,
            agency=config.agency,
            terms=config.retention,
            log=log,
            believable=lambda: Believable.by(self._path.standing.federation),
            clock=clock,
        )
        self._age = RosterAge(
            lambda: self._path.standing.federation,
            agency=config.agency,
            statement=lambda: own.current.statement.public,
            clock=clock,
        )
        self._readings = EndReadings(
            exchanges=self._exchanges,
            link=self._link,
            sessions=self._sessions,
            replay=replay,
            lag=LogLag(log, clock),
            own=own,
            roster=self._age,
        )

    def take_up(self, receipts: Sequence[OpenReceipt]) -> None:
        """Wait for the acknowledgement of receipts that were given out before."""
        self._end.acknowledgements.take_up(receipts)

    async def run(self, ready: Callable[[str], None], stop: asyncio.Event) -> None:
        """Work until `stop` is set or a part fails, then end everything in order."""
        started = records.event("started", self._config.agency, self._clock(), role=ROLE)
        try:
            await self._log.append(started, *self._activated(None, self._path.standing))
        except AuditError as error:
            raise ConfigInvalid(f"the log in `{self._config.home}` can't be written: {error}") from error
        try:
            await self._people.take_up()
        except (AuditError, StateUnwritable) as error:
            raise ConfigInvalid(str(error)) from error
        self._tell_if_mute()
        works = (
            self._link.run(),
            self._end.tick(),
            self._end.logs.run(),
            self._rosters.run(),
            self._follow(),
            self._age.run(),
            self._own.follow(self._member, self._take_own, faults=(AuditError,)),
            self._retaining.run(),
            self._tell(ready),
        )
        tasks = [asyncio.create_task(work) for work in works]
        stopping = asyncio.create_task(stop.wait())
        try:
            endless = tasks[:-1]
            with METERING.watching(self._readings):
                async with serving_acts(self._config.home, self._log, clock=self._clock):
                    await asyncio.wait((*endless, stopping), return_when=asyncio.FIRST_COMPLETED)
            failed = next((task for task in endless if task.done()), None)
        finally:
            stopping.cancel()
            await self._stop(tasks)
        if failed is not None:
            failed.result()

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        """Let exchanges end, say goodbye, log `stopped`; the log publishes when it is closed."""
        self._end.stopping = True
        await self._exchanges.stop(seconds=STOP_SECONDS)
        await self._own_records.stop()
        self._sessions.close()
        await self._link.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._beside.settled()
        self._threads.shutdown()
        try:
            await self._log.append(records.event("stopped", self._config.agency, self._clock()))
        except AuditError as error:
            LOGGER.error("the stop could not be logged: %s", error)

    def _renewed_link(self) -> LinkConfig:
        """Return what the next link needs, with the leaf in force now."""
        return _link_config(self._config, self._path.standing, self._own.current)

    def _is_mute(self) -> bool:
        """Whether the own statement key is revoked: then nothing is answered until another is in force."""
        member = self._path.standing.federation.members.get(self._config.agency)
        return member is not None and member.revokes(self._own.current.statement.public)

    def _tell_if_mute(self) -> None:
        if self._is_mute():
            LOGGER.error(
                "own statement key is revoked: nothing is answered until another one is in force "
                "(comity certs rotate statement-key)"
            )

    def _member(self) -> MemberView:
        return self._path.standing.federation.member(self._config.agency)

    async def _take_own(self, old: EndCredentials, new: EndCredentials) -> None:
        """Log and put newer credentials in force: for receipts, records, sessions and the link."""
        entry = records.event(
            "credentials_activated",
            self._config.agency,
            self._clock(),
            certificate=new.pair.fingerprint.hex(),
            statement_key=new.statement.key_id,
        )
        await self._log.append(entry)
        self._signer.key = self._own_records.key = self._people.key = new.statement
        self._sessions.take_identity(own_identity(self._config.agency, new))
        self._own.current = new
        self._link.renew()

    async def _tell(self, ready: Callable[[str], None]) -> None:
        """Say once that the adapter serves."""
        await self._end.first_linked.wait()
        stores = len(self._path.standing.stores)
        ready(
            f"{self._config.agency} provides {stores} store{'s' * (stores != 1)}, "
            f"linked to the broker at {self._config.broker}"
        )

    async def _follow(self) -> None:
        """Take what changes in the published folders into force, until cancelled."""
        faults = (ConfigInvalid, AuditError)
        await follow(
            self._files,
            self._reload,
            seconds=WATCH_SECONDS,
            faults=faults,
            log=LOGGER,
            due=self._published.is_due,
            rest=REST_SECONDS,
        )

    async def _reload(self) -> None:
        """Take what is published now into force; raise `ConfigInvalid` for what isn't good, `AuditError`."""
        old = self._path.standing
        law = self._log.law
        new, fault = await asyncio.to_thread(reload_standing, self._config, self._published, old, law)
        await self._path.take_into_force(new, self._activated(old, new))
        self._end.federation = new.federation
        self._end.own_revocations.in_force(new.federation)
        self._sessions.refresh(new.federation, new.agreements)
        self._link.leave_distrusted()
        if new != old:
            LOGGER.info("in force: roster %d, policy %s", new.federation.version, new.engine.bundle.version)
            self._tell_if_mute()
        await follow_roster(self._log, self._config.home / "keys", new.federation)
        if fault is not None:
            raise fault

    def _activated(self, old: Standing | None, new: Standing) -> list[Entry]:
        """Return the entries of a policy and of agreements that were not in force before."""
        now, agency = self._clock(), self._config.agency
        before = None if old is None else old.federation
        entries = [
            records.revocations_activated(agency, now, *listed)
            for listed in new.federation.lists_since(before)
        ]
        bundle = new.engine.bundle
        if old is None or old.engine.bundle.digest != bundle.digest:
            entries.append(records.policy_activated(bundle, now))
        entries += agreement_entries(
            agency,
            now,
            before=() if old is None else old.agreements.agreements,
            now=new.agreements.agreements,
        )
        return entries


async def _log(config: AdapterConfig, keys: LogKeys, clock: Clock) -> SignedLog:
    """Open the signed log; raise `ConfigInvalid` if it can't be."""
    try:
        return await SignedLog.open(config.home, origin=keys.key.origin, key=keys, clock=clock)
    except AuditError as error:
        raise ConfigInvalid(str(error)) from error


def _still_open(home: Path, log: SignedLog, mark: SettledMark) -> list[OpenReceipt]:
    """Return receipts that were given out before and not settled; none if the log can't be read back."""
    try:
        return read_open(home / "log", size=log.published_size, start=mark.index)
    except AuditError as error:
        LOGGER.error("receipts that were given out before are not known, the log can't be read: %s", error)
        return []


def _state(config: AdapterConfig) -> Engine:
    """Open the state database; raise `ConfigInvalid` if it can't be."""
    try:
        return open_state(config.home / "state.db")
    except StateUnwritable as error:
        raise ConfigInvalid(str(error)) from error


def _link_config(config: AdapterConfig, standing: Standing, credentials: EndCredentials) -> LinkConfig:
    """Return what the link needs; the operator's CA alone is trusted for the broker."""
    return LinkConfig(
        broker=config.broker,
        broker_name=config.broker_name,
        operator_ca_pem=standing.federation.operator.key_set.ca_pem,
        leaf_chain_pem=credentials.chain_pem,
        leaf_key_pem=credentials.key_pem,
        spiffe_id=credentials.spiffe_id,
        role=common_pb2.END_ROLE_ADAPTER,
        roster_version=standing.federation.version,
        roster_timestamp_digest=standing.federation.timestamp_digest,
        agency_revocations_digest=standing.federation.own_lists_digest,
    )
