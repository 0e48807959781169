"""How many exchanges each subject of a requester has in flight here.

A requester's own limit stands in `exchanges`. A subject is known only once the agency's assertion verified,
so that nobody can fill another one's places; whoever is over the limit gets a signed `RATE_LIMITED`, before
any decision. A place is held for the question itself, until its exchange is over.
"""

from __future__ import annotations

from collections import Counter

from comity.adapters.errors import Crowded, RejectReason
from comity.v1.session_pb2 import Ask


class Subjects:
    """The places that subjects have taken: plain calls on the event loop."""

    def __init__(self, *, max_in_flight: int) -> None:
        """`max_in_flight`: exchanges of one subject of one requester at the same time."""
        self._most = max_in_flight
        self._in_flight: Counter[tuple[str, str]] = Counter()
        self._places: dict[int, tuple[str, str]] = {}

    def __len__(self) -> int:
        """Return how many places are taken."""
        return len(self._places)

    def enter(self, ask: Ask, *, requester: str, user: str) -> None:
        """Take a place for a question until `leave` of the very same object; raise `Crowded` without one."""
        subject = (requester, user)
        if self._in_flight[subject] >= self._most:
            raise Crowded(RejectReason.CROWDED_SUBJECT)
        self._in_flight[subject] += 1
        self._places[id(ask)] = subject

    def holds(self, ask: Ask, *, requester: str, user: str) -> bool:
        """Return whether a question holds a place of this subject."""
        return self._places.get(id(ask)) == (requester, user)

    def leave(self, ask: Ask) -> None:
        """Give back the place of a question; of one that has none, nothing happens."""
        subject = self._places.pop(id(ask), None)
        if subject is None:
            return
        self._in_flight[subject] -= 1
        if not self._in_flight[subject]:
            del self._in_flight[subject]
