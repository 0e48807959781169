"""Protobuf timestamps as aware times, with nonsense refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

_LAST: Final = 253402300799
"""9999-12-31T23:59:59Z, the last second that a `Timestamp` may hold."""


def to_datetime(timestamp: Timestamp) -> datetime:
    """Return a timestamp in UTC. Raises ValueError for one that is unset or out of range."""
    if not 0 < timestamp.seconds <= _LAST or not 0 <= timestamp.nanos < 1_000_000_000:
        raise ValueError("a time is missing or out of range")
    return timestamp.ToDatetime(tzinfo=UTC)
