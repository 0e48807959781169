"""What an adapter emits: its spans and metrics, by OpenTelemetry's API alone."""

from __future__ import annotations

from collections.abc import Sized
from typing import Final, Protocol

from comity.links.telemetry.metrics import Gauge, LogLag, Metering, Reading
from comity.links.telemetry.spans import Tracing

TRACING: Final = Tracing("adapters")
METERING: Final = Metering("adapters")


class WatchedLink(Protocol):
    """What is read of the link."""

    @property
    def is_up(self) -> bool:
        """Whether frames can be sent now."""

    @property
    def waiting(self) -> int:
        """Frames that wait to be written."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be written."""


class WatchedSessions(Protocol):
    """What is read of the sessions."""

    @property
    def count(self) -> int:
        """Sessions that have begun and are not over."""


class Readings:
    """What is read of a running adapter each interval."""

    def __init__(
        self, *, exchanges: Sized, link: WatchedLink, sessions: WatchedSessions, replay: Sized, lag: LogLag
    ) -> None:
        self._exchanges = exchanges
        self._link = link
        self._sessions = sessions
        self._replay = replay
        self._lag = lag

    def __call__(self) -> list[Reading]:
        """Return the gauges' values now. On the SDK's thread: it reads numbers."""
        return [
            (Gauge.ACTIVE, len(self._exchanges), {}),
            (Gauge.LINKS, int(self._link.is_up), {}),
            (Gauge.QUEUE_FRAMES, self._link.waiting, {}),
            (Gauge.QUEUE_BYTES, self._link.waiting_bytes, {}),
            (Gauge.SESSIONS, self._sessions.count, {}),
            (Gauge.REPLAY, len(self._replay), {}),
            *self._lag.readings(),
        ]
