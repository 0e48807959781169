"""Times as stores write them, read into UTC.

Three things go wrong with times in real stores, and each has one rule here:

- A time without a zone is nobody's time. The mapping names the zone; without one the row cannot be
  used.
- A local time that occurs twice (the hour when clocks go back) is taken as the first of the two; it
  may be an hour too early. The row is usable and the doubt is counted.
- A local time that does not exist (the hour when clocks go forward) is taken as from a clock that
  was not put forward: 02:30 is 03:30. The row is usable and the doubt is counted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
"""No reader is older: a time before it is a clock that was never set."""
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""A time from here on is a mistaken unit, not a time."""

OCCURS_TWICE = "local time occurs twice (clocks go back): taken as the first"
DOES_NOT_EXIST = "local time does not exist (clocks go forward): taken as of a clock not put forward"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UNITS = {"epoch": 1_000_000, "epoch_ms": 1_000}
_NUMBER = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,12})?")
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)"
    r"(?:[.,]([0-9]{1,9}))?"
    r" ?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)


class RowUnusable(Exception):
    """A row cannot be used. The message is one of few fixed reasons and holds nothing of the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTime:
    """A time that was read.

    Attributes:
        at: Aware, UTC.
        note: What was in doubt; empty if nothing.
    """

    at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFormat:
    """How a store writes when a read was captured.

    Attributes:
        written: `iso` (a text such as `2024-03-01T07:15:00.250-08:00`, or the database's own
            date-time), `epoch` (seconds), `epoch_ms` (milliseconds), or a `strptime` format.
        zone: The zone of times that do not tell their own; None: every time must tell it.
    """

    written: str = "iso"
    zone: ZoneInfo | None = None

    def read(self, value: object) -> ReadTime:
        """Return the time that a store's value means.

        Raises:
            RowUnusable: It means none.
        """
        if isinstance(value, datetime):
            return self._place(value)
        unit = _EPOCH_UNITS.get(self.written)
        if unit is not None:
            return ReadTime(at=_from_epoch(value, unit))
        if not isinstance(value, str) or not value:
            raise RowUnusable("time is empty" if value in (None, "") else "time is not a text")
        if self.written == "iso":
            return self._place(_from_iso(value))
        try:
            return self._place(datetime.strptime(value, self.written))
        except (ValueError, OverflowError):
            raise RowUnusable(f"time is not written as `{self.written}`") from None

    def _place(self, written: datetime) -> ReadTime:
        """Return a date and time as UTC, by its own zone or the mapping's."""
        note = ""
        if written.tzinfo is None:
            if self.zone is None:
                raise RowUnusable("time has no zone, and the mapping names none (`time_zone`)")
            written, note = place_local(written, self.zone)
        try:
            at = written.astimezone(UTC)
        except (OverflowError, ValueError):
            raise RowUnusable("time is outside 1980 to 2199") from None
        return ReadTime(at=_plausible(at), note=note)


def place_local(local: datetime, zone: ZoneInfo) -> tuple[datetime, str]:
    """Return a local time with its zone, and what is in doubt about it (PEP 495, with `fold=0`)."""
    first, second = local.replace(tzinfo=zone, fold=0), local.replace(tzinfo=zone, fold=1)
    before, after = first.utcoffset(), second.utcoffset()
    if before == after or before is None or after is None:
        return first, ""
    return first, OCCURS_TWICE if before > after else DOES_NOT_EXIST


def _from_iso(text: str) -> datetime:
    """Read the extended form of ISO 8601 with date and time of day, as RFC 3339 profiles it."""
    match = _ISO.fullmatch(text)
    if match is None:
        raise RowUnusable("time is not written as ISO 8601 with date and time of day")
    moment, fraction, offset = match.groups()
    try:
        return datetime.fromisoformat(
            moment + ("." + fraction[:6].ljust(6, "0") if fraction else "") + (offset or "").upper()
        )
    except ValueError:
        raise RowUnusable("time is not written as ISO 8601 with date and time of day") from None


def _from_epoch(value: object, units_to_microseconds: int) -> datetime:
    """Read seconds or milliseconds since 1970, as a number or its decimal digits."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise RowUnusable("time is empty" if value is None else "time is not a number")
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise RowUnusable("time is not a number" if value else "time is empty")
        value = Decimal(value)
    is_finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(min(value, 10**18))
    if not is_finite:
        raise RowUnusable("time is not a number")
    if not -(10**17) < value < 10**17:
        raise RowUnusable("time is outside 1980 to 2199")
    microseconds = round(Decimal(value) * units_to_microseconds)
    try:
        return _plausible(_EPOCH + timedelta(microseconds=microseconds))
    except OverflowError:
        raise RowUnusable("time is outside 1980 to 2199 (seconds or milliseconds?)") from None


def _plausible(at: datetime) -> datetime:
    """Return the time, or refuse one that no reader can have written."""
    if not EARLIEST <= at < LATEST:
        raise RowUnusable("time is outside 1980 to 2199")
    return at
