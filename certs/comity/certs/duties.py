"""Duties with dates: what a party of an agreement owes again and again, such as L8's certification.

A duty falls due first on a day of the agreement's own, and then every so many calendar months on the same day
of the month, or on its last day where the month is shorter. The days are counted from the first, so that a
duty of 31 January is due on 28 February and then on 31 March.
"""

from __future__ import annotations

import calendar
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from comity.certs import words
from comity.certs.instants import to_instant
from comity.v1.federation_pb2 import DatedDuty

MOST_MONTHS: Final = 1_200
"""Calendar months between two dates, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """A duty of one party that falls due on dates."""

    agency: str
    """Whose duty it is."""
    text: str
    """What is to be done, one line."""
    first_due_at: datetime
    every_months: int
    """Calendar months from one date to the next; 0: once."""

    def dates(self, until: datetime) -> Iterator[datetime]:
        """Yield when it falls due, from the first date on, before `until`."""
        at, number = self.first_due_at, 0
        while at < until:
            yield at
            if not self.every_months:
                return
            number += 1
            at = months_after(self.first_due_at, number * self.every_months)

    @property
    def interval(self) -> str:
        """In words: `every 6 months`, `once`."""
        if not self.every_months:
            return "once"
        return "every month" if self.every_months == 1 else f"every {self.every_months} months"


def check_duty(duty: Duty, *, parties: Collection[str], effective_at: datetime, ends_at: datetime) -> None:
    """Raise `ValueError` unless a duty is a party's, and begins while the agreement is in force."""
    words.line(duty.text, "duty")
    if duty.agency not in parties:
        raise ValueError(f"duty of `{duty.agency[:40]}`: expected one of the parties, {', '.join(parties)}")
    if not 0 <= duty.every_months <= MOST_MONTHS:
        raise ValueError(
            f"duty of `{duty.agency}`: every {duty.every_months} months, expected 0 to {MOST_MONTHS}"
        )
    if not effective_at <= duty.first_due_at < ends_at:
        raise ValueError(
            f"duty of `{duty.agency}`: first due {duty.first_due_at:%Y-%m-%d}, and the agreement is from "
            f"{effective_at:%Y-%m-%d} until {ends_at:%Y-%m-%d} at the longest"
        )


def read_duties(found: Iterable[DatedDuty]) -> tuple[Duty, ...]:
    """Return the duties of an agreement; raise `ValueError` for one without a date."""
    return tuple(
        Duty(
            agency=duty.agency,
            text=duty.text,
            first_due_at=to_instant(duty, "first_due_at"),
            every_months=duty.every_months,
        )
        for duty in found
    )


def months_after(first: datetime, months: int) -> datetime:
    """Return the same day and time so many calendar months later, or that month's last day."""
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    if year > datetime.max.year:
        return datetime.max.replace(tzinfo=first.tzinfo)
    day = min(first.day, calendar.monthrange(year, month + 1)[1])
    return first.replace(year=year, month=month + 1, day=day)
