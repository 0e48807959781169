"""Metrics: outcomes by agency, durations, what waits, and how far the log is behind.

Names and units follow OpenTelemetry's semantic conventions. Each end measures through one `Metering` of its
room; gauges are read by the SDK's thread from functions that `watching` was given, which must therefore be
quick, read plain values alone, and never raise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from typing import Final, Protocol

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from comity.certs.clock import Clock
from comity.links.telemetry.facts import Facts, facts

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_APPEND_SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5)


class Gauge(Enum):
    """What is read each interval: name, unit, description."""

    ACTIVE = ("comity.exchanges.active", "{exchange}", "Exchanges in flight")
    LINKS = ("comity.links.up", "{link}", "Links that are up: of an end, 0 or 1")
    QUEUE_FRAMES = ("comity.link.queue.frames", "{frame}", "Frames that wait to be written to a link")
    QUEUE_BYTES = ("comity.link.queue.size", "By", "Bytes that wait to be written to a link")
    SESSIONS = ("comity.sessions.open", "{session}", "Sessions that are open")
    LOG_ENTRIES = ("comity.log.lag.entries", "{entry}", "Acknowledged entries that no checkpoint covers yet")
    LOG_AGE = ("comity.log.checkpoint.age", "s", "Time since the newest checkpoint was published")
    REPLAY = ("comity.replay.entries", "{exchange}", "Exchanges that are remembered against replay")
    LEAF_LEFT = ("comity.leaf.left", "s", "Time until the own certificate in force expires; below 0 after")
    ROSTER_LEFT = ("comity.roster.left", "s", "Time for which the roster in force is still trusted")
    KEY_LEFT = ("comity.key.left", "s", "Time until the own CA, statement key or list of revocations ends")
    LEAF_FAULT = ("comity.leaf.fault", "{fault}", "1 while what lies on disk can't be put in force, else 0")
    LEAF_RENEWALS = (
        "comity.leaf.renewal.failures",
        "{attempt}",
        "Renewals that failed since one that worked",
    )
    IDP_AGE = ("comity.idp.keys.age", "s", "Time since the identity provider's keys were fetched")
    IDP_FAILURES = (
        "comity.idp.keys.failures",
        "{attempt}",
        "Attempts to fetch the identity provider's keys that failed since one that worked",
    )
    IDP_UNLISTED = (
        "comity.idp.keys.unlisted",
        "{key}",
        "Keys that the identity provider publishes and the roster does not name",
    )
    IDP_WITHDRAWN = (
        "comity.idp.keys.withdrawn",
        "{key}",
        "Keys that the roster names and the identity provider does not publish",
    )


Reading = tuple[Gauge, float, Facts]
"""A value of a gauge now, with whose it is."""
Readings = Callable[[], Iterable[Reading]]


class Metering:
    """The metrics of one room; without configuration they go nowhere."""

    def __init__(self, room: str) -> None:
        self._meter = metrics.get_meter(f"comity.{room}")
        self._watched: list[Readings] = []
        self._observed = False
        self._exchanges = self._meter.create_counter(
            "comity.exchanges", unit="{exchange}", description="Outcomes, one a provider and exchange"
        )
        self._duration = self._meter.create_histogram(
            "comity.exchange.duration",
            unit="s",
            description="From the order to a provider's outcome",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._alarms = self._meter.create_counter(
            "comity.log.alarms",
            unit="{alarm}",
            description="What peers showed of their logs and is not in order, by kind",
        )
        self._append = self._meter.create_histogram(
            "comity.log.append.duration",
            unit="s",
            description="From an entry to its acknowledgement: durable on disk",
            explicit_bucket_boundaries_advisory=_APPEND_SECONDS,
        )

    def settled(self, facts: Facts) -> None:
        """Count one outcome."""
        self._exchanges.add(1, facts)

    def took(self, facts: Facts, seconds: float) -> None:
        """Record how long one outcome took."""
        self._duration.record(max(seconds, 0.0), facts)

    def appended(self, seconds: float) -> None:
        """Record how long an append to the log took."""
        self._append.record(seconds)

    def alarmed(self, kind: str) -> None:
        """Count what is wrong with a peer's log: `contradiction`, `unproven` or `rejected`."""
        self._alarms.add(1, facts(alarm=kind))

    @contextmanager
    def watching(self, readings: Readings) -> Iterator[None]:
        """Have `readings` asked each interval while the block runs."""
        self._watched.append(readings)
        if not self._observed:
            self._observed = True
            for gauge in Gauge:
                name, unit, description = gauge.value
                self._meter.create_observable_gauge(
                    name, callbacks=[self._reader(gauge)], unit=unit, description=description
                )

        try:
            yield
        finally:
            self._watched.remove(readings)

    def _reader(self, gauge: Gauge) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(value, facts)
                for readings in list(self._watched)
                for one, value, facts in readings()
                if one is gauge
            ]

        return read


class Stopwatch:
    """Seconds since it was made, by the monotonic clock: for durations, never for decisions."""

    __slots__ = ("_start",)

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.perf_counter() - self._start


class WatchedLog(Protocol):
    """What is read of a `SignedLog`."""

    @property
    def size(self) -> int:
        """Number of acknowledged entries."""

    @property
    def published_size(self) -> int:
        """Number of entries that the newest checkpoint covers."""

    def on_published(self, callback: Callable[[bytes], None]) -> None:
        """Have `callback(note)` called after each new checkpoint."""


class WatchedRoster(Protocol):
    """What is read of the roster in force."""

    @property
    def seconds_left(self) -> float:
        """Seconds for which it is still trusted."""

    def own_left(self) -> Mapping[str, float]:
        """Seconds until the newest of one's own ends, by kind: `ca`, `statement_key`, `revocations`."""


class WatchedCredentials(Protocol):
    """What is read of a process's own credentials."""

    @property
    def seconds_left(self) -> float:
        """Seconds until the leaf in force expires."""

    @property
    def is_faulty(self) -> bool:
        """Whether what lies on disk can't be put in force."""

    @property
    def renewal_failures(self) -> int:
        """Attempts to renew the leaf that failed since the last that worked."""


class WatchedIdentityProvider(Protocol):
    """What is read of the keys that the agency's identity provider publishes."""

    @property
    def seconds_old(self) -> float | None:
        """Seconds since they were fetched; None: never."""

    @property
    def failures(self) -> int:
        """Attempts that failed since the last that worked."""

    @property
    def unlisted(self) -> int:
        """Keys that the roster doesn't name."""

    @property
    def withdrawn(self) -> int:
        """Keys of the roster that aren't published."""


def identity_provider_readings(published: WatchedIdentityProvider) -> list[Reading]:
    """Return how old what is published is, and how many keys the roster has otherwise."""
    age = published.seconds_old
    return [
        *(() if age is None else ((Gauge.IDP_AGE, age, {}),)),
        (Gauge.IDP_FAILURES, published.failures, {}),
        (Gauge.IDP_UNLISTED, published.unlisted, {}),
        (Gauge.IDP_WITHDRAWN, published.withdrawn, {}),
    ]


def credential_readings(own: WatchedCredentials, roster: WatchedRoster) -> list[Reading]:
    """Return how long one's own leaf, CA and statement key and the roster last; and the leaf's faults."""
    return [
        (Gauge.LEAF_LEFT, own.seconds_left, {}),
        (Gauge.LEAF_FAULT, int(own.is_faulty), {}),
        (Gauge.LEAF_RENEWALS, own.renewal_failures, {}),
        (Gauge.ROSTER_LEFT, roster.seconds_left, {}),
        *((Gauge.KEY_LEFT, left, facts(credential=kind)) for kind, left in roster.own_left().items()),
    ]


class LogLag:
    """How far a log's newest checkpoint is behind its entries."""

    def __init__(self, log: WatchedLog, clock: Clock) -> None:
        """Begin to watch; the age of a checkpoint from before counts from now on."""
        self._log = log
        self._clock = clock
        self._published_at: datetime = clock()
        log.on_published(self._published)

    def readings(self) -> list[Reading]:
        """Return entries without a checkpoint, and the newest checkpoint's age."""
        age = (self._clock() - self._published_at).total_seconds()
        return [
            (Gauge.LOG_ENTRIES, max(0, self._log.size - self._log.published_size), {}),
            (Gauge.LOG_AGE, max(0.0, age), {}),
        ]

    def _published(self, note: bytes) -> None:
        self._published_at = self._clock()
