"""Times between the contract and Python: a signed time is never guessed, and never naive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

CLOCK_SKEW: Final = timedelta(seconds=5)
"""By how much the clocks of two parties may differ."""


def to_instant(message: Message, field: str) -> datetime:
    """Return the time in the Timestamp field `field` of `message`, aware, in UTC, to the microsecond.

    Raises `ValueError`, with the field's name, if it isn't set or out of range (year 1 to 9999).
    """
    if not message.HasField(field):
        raise ValueError(f"`{field}` is not set")
    stamp: Timestamp = getattr(message, field)
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"`{field}` is not a time between the years 1 and 9999") from error


def from_instant(instant: datetime) -> Timestamp:
    """Return `instant` as a Timestamp; raise `ValueError` for a naive one."""
    require_aware(instant)
    stamp = Timestamp()
    stamp.FromDatetime(instant.astimezone(UTC))
    return stamp


def require_aware(instant: datetime) -> datetime:
    """Return `instant`; raise `ValueError` if it has no time zone, since it would be compared wrongly."""
    if instant.tzinfo is None:
        raise ValueError("time without a zone, expected an aware one in UTC")
    return instant
