"""How much a gateway takes on at a time: exchanges, of all users and of one; bytes of answers; time to read.

An answer is held whole until its receipt has verified, because nothing of a provider's is shown before. So
what a gateway may hold is bounded three times: for a provider's part of an exchange, for one page, and for
all exchanges together. When the last of them is passed, the exchange that holds most is let go, so that
somebody who asks for much, or does not read, pays for it and nobody else.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from comity.gateway.errors import Busy, UserBusy

RANGES = {
    "max_in_flight": (1, 100_000),
    "max_in_flight_per_user": (1, 100_000),
    "max_page_bytes": (4_096, 1 << 20),
    "max_pages": (1, 1_000),
    "max_answer_bytes": (64 << 10, 1 << 30),
    "max_held_bytes": (1 << 20, 1 << 36),
    "read_seconds": (1, 3_600),
    "max_request_bytes": (4_096, 4 << 20),
    "max_metadata_bytes": (4_096, 64 << 10),
    "queue_bytes": (1 << 20, 1 << 30),
    "session_queue_bytes": (1 << 20, 1 << 30),
    "keepalive_timeout_ms": (100, 600_000),
}
"""The least and the most that each limit may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLimits:
    """The limits of one gateway. Raises `ValueError` for one that is out of its range, and names it."""

    max_in_flight: int = 256
    """Exchanges at the same time."""
    max_in_flight_per_user: int = 16
    """Exchanges of one user at the same time."""
    max_page_bytes: int = 512 << 10
    """Of one page; more, and the provider's result is unverifiable."""
    max_pages: int = 1_000
    """Of one provider in an exchange; more, and its result is unverifiable."""
    max_answer_bytes: int = 16 << 20
    """Pages of one provider in an exchange; more, and its result is unverifiable."""
    max_held_bytes: int = 512 << 20
    """Pages of all exchanges that no caller has read yet; more, and the greatest exchange is let go."""
    read_seconds: int = 30
    """How long after an exchange's deadline its caller may still read; then it is let go."""
    max_request_bytes: int = 64 << 10
    """Of a request at the API."""
    max_metadata_bytes: int = 16 << 10
    """Of a request's metadata, the assertion among them."""
    queue_bytes: int = 16 << 20
    """Frames that may wait to be written on the link; more closes it."""
    session_queue_bytes: int = 32 << 20
    """Messages that may wait for credit in one session; more closes it."""
    keepalive_timeout_ms: int = 1_000
    """How long a ping may stay unanswered before the link counts as lost."""

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"`{name}` must be a number from {least} to {most}")
        if self.max_held_bytes < self.max_answer_bytes:
            raise ValueError(f"`max_held_bytes` must be `max_answer_bytes`, {self.max_answer_bytes}, or more")

    @property
    def max_calls(self) -> int:
        """Calls at the API at the same time, those that are being turned down among them."""
        return 2 * self.max_in_flight + 64


@dataclass(slots=True)
class Tally:
    """Bytes of pages that all exchanges together hold for their callers."""

    bytes: int = 0


class Places:
    """Who has an exchange in flight. A place is taken before anything of an exchange is done."""

    def __init__(self, limits: GatewayLimits) -> None:
        self._limits = limits
        self._taken = 0
        self._users: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many places are taken."""
        return self._taken

    def take(self, user: str) -> Place:
        """Take a place for a user; raise `UserBusy` or `Busy` if there is none."""
        if self._users[user] >= self._limits.max_in_flight_per_user:
            raise UserBusy("this user has too many exchanges in flight; try again in a second")
        if self._taken >= self._limits.max_in_flight:
            raise Busy("too many exchanges are in flight at this gateway; try again in a second")
        self._taken += 1
        self._users[user] += 1
        return Place(self, user)

    def left(self, user: str) -> None:
        """Take it that a place is free again: `Place.leave` says so."""
        self._taken -= 1
        self._users[user] -= 1
        if not self._users[user]:
            del self._users[user]


class Place:
    """A place that is taken."""

    def __init__(self, places: Places, user: str) -> None:
        self._places = places
        self._user = user
        self._is_left = False

    def leave(self) -> None:
        """Give the place back; does nothing the second time."""
        if not self._is_left:
            self._is_left = True
            self._places.left(self._user)
