"""The clock that is handed in: logic asks it for the time, and never the machine.

A test gives `lambda: noon`, a process gives `utc_now`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the current time: an aware `datetime` in UTC."""


def utc_now() -> datetime:
    """Return the machine's time, aware, in UTC: the `Clock` of a real process."""
    return datetime.now(UTC)
