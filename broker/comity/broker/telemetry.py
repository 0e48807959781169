"""What the broker emits: its spans and metrics, by OpenTelemetry's API alone."""

from __future__ import annotations

from collections.abc import Sized
from typing import Final

from comity.broker.exchange import Exchange
from comity.broker.table import Link, LinkTable
from comity.links.telemetry.facts import Facts, facts, outcome_name
from comity.links.telemetry.metrics import (
    Gauge,
    LogLag,
    Metering,
    Reading,
    WatchedCredentials,
    WatchedRoster,
    credential_readings,
)
from comity.links.telemetry.spans import Tracing
from comity.v1 import common_pb2

TRACING: Final = Tracing("broker")
METERING: Final = Metering("broker")


class Readings:
    """What is read of a running broker each interval."""

    def __init__(
        self,
        *,
        table: LinkTable,
        exchanges: Sized,
        sessions: Sized,
        seen: Sized,
        lag: LogLag,
        own: WatchedCredentials,
        roster: WatchedRoster,
    ) -> None:
        self._table = table
        self._exchanges = exchanges
        self._sessions = sessions
        self._seen = seen
        self._lag = lag
        self._own = own
        self._roster = roster

    def __call__(self) -> list[Reading]:
        """Return the gauges' values now. On the SDK's thread: it reads numbers, and a copy of the table."""
        found: list[Reading] = [
            (Gauge.ACTIVE, len(self._exchanges), {}),
            (Gauge.SESSIONS, len(self._sessions), {}),
            (Gauge.REPLAY, len(self._seen), {}),
            *self._lag.readings(),
            *credential_readings(self._own, self._roster),
        ]
        for link in self._table:
            whose = _whose(link)
            found.append((Gauge.LINKS, 1, whose))
            found.append((Gauge.QUEUE_FRAMES, link.peer.waiting, whose))
            found.append((Gauge.QUEUE_BYTES, link.peer.waiting_bytes, whose))
        return found


def count_outcomes(exchange: Exchange) -> None:
    """Count each provider of a settled exchange, whom its order named and the lodgements know."""
    for provider, kind in exchange.outcomes():
        METERING.settled(facts(provider=provider, outcome=outcome_name(kind)))


def _whose(link: Link) -> Facts:
    if link.end.role == common_pb2.END_ROLE_GATEWAY:
        return facts(requester=link.end.agency, role="gateway")
    return facts(provider=link.end.agency, role="adapter")
