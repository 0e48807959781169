"""What is read of an end each interval: the gauges of a gateway, and of an adapter."""

from __future__ import annotations

from collections.abc import Sized
from typing import Protocol

from comity.links.telemetry.metrics import (
    Gauge,
    LogLag,
    Reading,
    WatchedCredentials,
    WatchedIdentityProvider,
    WatchedRoster,
    credential_readings,
    identity_provider_readings,
)


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


class EndReadings:
    """The gauges of one end.

    `replay`: what it remembers against replay, if it is the provider's end. `published`: what the agency's
    identity provider publishes, if it is a gateway that follows that.
    """

    def __init__(
        self,
        *,
        exchanges: Sized,
        link: WatchedLink,
        sessions: WatchedSessions,
        lag: LogLag,
        own: WatchedCredentials,
        roster: WatchedRoster,
        replay: Sized | None = None,
        published: WatchedIdentityProvider | None = None,
    ) -> None:
        self._exchanges = exchanges
        self._link = link
        self._sessions = sessions
        self._lag = lag
        self._own = own
        self._roster = roster
        self._replay = replay
        self._published = published

    def __call__(self) -> list[Reading]:
        """Return the gauges' values now. On the SDK's thread: it reads numbers."""
        found: list[Reading] = [
            (Gauge.ACTIVE, len(self._exchanges), {}),
            (Gauge.LINKS, int(self._link.is_up), {}),
            (Gauge.QUEUE_FRAMES, self._link.waiting, {}),
            (Gauge.QUEUE_BYTES, self._link.waiting_bytes, {}),
            (Gauge.SESSIONS, self._sessions.count, {}),
            *self._lag.readings(),
            *credential_readings(self._own, self._roster),
        ]
        if self._replay is not None:
            found.append((Gauge.REPLAY, len(self._replay), {}))
        if self._published is not None:
            found += identity_provider_readings(self._published)
        return found
