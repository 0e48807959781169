"""User list, training records and log, compared: pure (L9).

PIA 'Training' has user lists compared with training records; CBP 8 has accounts reviewed periodically and
certified yearly. That both are held to the log, to who really searches, is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from enum import Enum
from typing import Final

from comity.audit.searching.people import SeenUser, SeenUsers

YEAR: Final = timedelta(days=365)
"""Training and review hold for so long, to the day as the shipped policies count (Q4, L9)."""
SOON: Final = timedelta(days=60)
"""What lapses within so long is told."""


class Finding(Enum):
    """What a comparison finds of one user; the first ones are wrong, the others worth knowing."""

    NOT_LISTED = "searches, but is on no list"
    USED_SINCE_TERMINATION = "searched after the access was ended"
    NEVER_TRAINED = "listed, no training on record"
    TRAINING_LAPSED = "training older than a year"
    TRAINING_OVERSTATED = "assertions state a later training than the records"
    NEVER_REVIEWED = "account never reviewed"
    REVIEW_OVERDUE = "account reviewed more than a year ago"
    ATTEMPTS_SINCE_TERMINATION = "tried after the access was ended"
    TERMINATED_BUT_LISTED = "access ended, still on the list"
    SUSPENDED = "suspended"
    TRAINING_LAPSES = "training lapses within 60 days"
    REVIEW_LAPSES = "review of the account due within 60 days"
    NEVER_LOGS_ON = "listed, never logged on"

    @property
    def is_wrong(self) -> bool:
        """Whether something must be done; otherwise it is worth knowing."""
        return self in _WRONG


_WRONG: Final = frozenset(
    {
        Finding.NOT_LISTED,
        Finding.USED_SINCE_TERMINATION,
        Finding.NEVER_TRAINED,
        Finding.TRAINING_LAPSED,
        Finding.TRAINING_OVERSTATED,
        Finding.NEVER_REVIEWED,
        Finding.REVIEW_OVERDUE,
        Finding.ATTEMPTS_SINCE_TERMINATION,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A user of the agency's list, with the training that its records have."""

    trained_on: Date | None
    account_reviewed_on: Date | None
    good_standing: bool = True
    office: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedUser:
    """One user, and what was found. Its repr names nobody."""

    user: str = field(repr=False)
    listed: Listed | None
    seen: SeenUser | None
    findings: tuple[Finding, ...]
    providers: tuple[str, ...] = ()
    """Where the user is suspended."""

    @property
    def is_wrong(self) -> bool:
        """Whether anything that was found is wrong."""
        return any(finding.is_wrong for finding in self.findings)


def compare(listed: Mapping[str, Listed], seen: SeenUsers, now: datetime) -> tuple[ComparedUser, ...]:
    """Return every user of list or log, those first with whom something is wrong, then by name."""
    found = [_compared(user, listed.get(user), seen.users.get(user), now) for user in {*listed, *seen.users}]
    return tuple(sorted(found, key=lambda each: (not each.is_wrong, not each.findings, each.user)))


def _compared(user: str, listed: Listed | None, seen: SeenUser | None, now: datetime) -> ComparedUser:
    providers = () if seen is None else _suspended_at(seen, now)
    findings = [*_of_log(listed, seen), *_of_list(listed, seen, now)]
    if providers:
        findings.append(Finding.SUSPENDED)
    order = list(Finding)
    return ComparedUser(
        user=user,
        listed=listed,
        seen=seen,
        findings=tuple(sorted(set(findings), key=order.index)),
        providers=providers,
    )


def _suspended_at(seen: SeenUser, now: datetime) -> tuple[str, ...]:
    suspended = (each.provider for each in seen.suspensions.values() if not each.may_be_over(now))
    return tuple(sorted(set(suspended)))


def _of_log(listed: Listed | None, seen: SeenUser | None) -> Iterator[Finding]:
    if seen is None or seen.last is None:
        return
    if listed is None and seen.terminated_at is None:
        yield Finding.NOT_LISTED
    if seen.used_since:
        yield Finding.USED_SINCE_TERMINATION
    if seen.attempts_since:
        yield Finding.ATTEMPTS_SINCE_TERMINATION
    said, recorded = seen.trained_said, None if listed is None else listed.trained_on
    if said is not None and recorded is not None and said.astimezone(UTC).date() > recorded:
        yield Finding.TRAINING_OVERSTATED


def _of_list(listed: Listed | None, seen: SeenUser | None, now: datetime) -> Iterator[Finding]:
    if listed is None or not listed.good_standing:
        return
    if seen is not None and seen.terminated_at is not None:
        yield Finding.TERMINATED_BUT_LISTED
        return  # who has no access needs neither training nor review
    today = now.astimezone(UTC).date()
    words = (Finding.NEVER_TRAINED, Finding.TRAINING_LAPSED, Finding.TRAINING_LAPSES)
    yield from _aged(listed.trained_on, today, words)
    words = (Finding.NEVER_REVIEWED, Finding.REVIEW_OVERDUE, Finding.REVIEW_LAPSES)
    yield from _aged(listed.account_reviewed_on, today, words)
    if seen is None or not seen.logons:
        yield Finding.NEVER_LOGS_ON


def _aged(day: Date | None, today: Date, words: tuple[Finding, Finding, Finding]) -> Iterable[Finding]:
    """Return what is to be said of a day that holds for a year: never, lapsed, soon to lapse, or nothing."""
    never, lapsed, lapses = words
    if day is None or day > today:
        return (never,)
    age = today - day
    if age > YEAR:
        return (lapsed,)
    return (lapses,) if age > YEAR - SOON else ()
