"""When to dial again: exponential backoff with full jitter, so that a returning broker isn't stampeded."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the n-th attempt: a random part of a bound that doubles up to `longest`.

    A link that was up for less than `longest` counts as one more failure: an end that is welcomed and lost
    again and again, such as one of two processes with the same certificate, must not dial without a pause.
    """

    first: timedelta = timedelta(seconds=0.2)
    longest: timedelta = timedelta(seconds=5)
    draw: Callable[[], float] = random.SystemRandom().random
    """Gives a number from 0 to under 1."""

    def bound(self, failures: int) -> timedelta:
        """Return the longest wait after `failures` attempts in a row that failed (0 or more)."""
        doubled = self.first * (1 << min(failures, 16))
        return min(self.longest, doubled)

    def wait(self, failures: int) -> timedelta:
        """Return how long to wait now: between nothing and `bound(failures)`, evenly drawn."""
        return self.bound(failures) * self.draw()

    def has_stood(self, up: timedelta) -> bool:
        """Return whether a link lasted long enough to begin anew after it, with the shortest wait."""
        return up >= self.longest
