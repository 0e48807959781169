"""The calendar of what is due at an agency: pure, from its agreements and its users, at a moment.

What happens to each agreement (it takes effect, ends, extends itself, the last day to prevent that), identity
keys to be accepted into them, the dated duties of both parties (L8), training that lapses (Q4, L9), accounts
to be reviewed (L9). What is past and was not done is overdue, and stays in the calendar until it
is: a person's training or review is done when the agency's user list says so, an own duty when it was marked
as done, or its agreement has ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from datetime import date as Date
from enum import Enum
from typing import Final

from comity.certs.agreements import AgreementView
from comity.certs.duties import Duty, months_after
from comity.certs.identity_provider import User
from comity.certs.notices import Ending

TRAINING_VALID: Final = timedelta(days=365)
"""From one training to the next (Q4), as gateways and shipped policies count it."""

REVIEW_MONTHS: Final = 12
"""From one review of an account to the next: certified yearly (L9)."""


class DueKind(Enum):
    """What a date is about."""

    AGREEMENT = "agreement"
    NOTICE = "notice"
    DUTY = "duty"
    KEY = "identity key"
    TRAINING = "training"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One date of the calendar."""

    at: datetime
    kind: DueKind
    about: str
    """An agreement's id, or a user."""
    what: str
    """One line for a person."""
    agency: str
    """Who has to act; empty: nobody, it happens by itself."""
    overdue: bool = False
    name: str = ""
    """Of an own duty: what marks it as done."""


def due_dates(
    *,
    agency: str,
    agreements: Iterable[AgreementView],
    users: Iterable[User],
    done: Collection[str],
    now: datetime,
    ahead: timedelta,
) -> list[Due]:
    """Return what is due at `agency` within `ahead` of `now`, and what is overdue, in the order of dates.

    `done`: names of own duties that were marked as done.
    """
    found: list[Due] = []
    for agreement in agreements:
        found += agreement_dates(agreement, now=now, ahead=ahead)
        found += _keys(agreement, agency, now, ahead)
        found += _duties(agreement, agency, done, now, ahead)
    for user in users:
        found += _user(user, agency, now, ahead)
    return sorted(found, key=lambda one: (one.at, one.about, one.what))


def agreement_dates(agreement: AgreementView, *, now: datetime, ahead: timedelta) -> Iterator[Due]:
    """Yield what happens to an agreement within a time from now (A2, MOA V)."""

    def due(at: datetime, kind: DueKind, what: str) -> Iterator[Due]:
        if now <= at <= now + ahead:
            yield Due(at=at, kind=kind, about=agreement.agreement_id, what=what, agency="")

    yield from due(agreement.effective_at, DueKind.AGREEMENT, "takes effect")
    yield from due(agreement.ends_at, DueKind.AGREEMENT, f"ends, {how_it_ends(agreement)}")
    if not agreement.notices and agreement.extension_days:
        last = agreement.term.last_day_against_extension
        yield from due(last, DueKind.NOTICE, "last day for notice of non-extension")
        extension = f"is extended by itself for {agreement.extension_days} days"
        yield from due(agreement.expires_at, DueKind.AGREEMENT, extension)


def how_it_ends(agreement: AgreementView) -> str:
    """Return how an agreement ends, in a few words."""
    first = min(agreement.notices, key=lambda notice: notice.ends_at, default=None)
    if first is not None:
        ending = "terminated" if first.ending is Ending.TERMINATION else "not extended"
        return f"{ending} by notice of {first.agency}, given {first.given_at:%Y-%m-%d}"
    if agreement.extension_days:
        return f"extended by itself for {agreement.extension_days} days from {agreement.expires_at:%Y-%m-%d}"
    return "as it expires"


def _keys(agreement: AgreementView, agency: str, now: datetime, ahead: timedelta) -> Iterator[Due]:
    """Yield until when new identity keys are to be accepted into an agreement, or it rests."""
    for move in agreement.moves:
        step = move.succession
        if move.acceptance is not None or now >= agreement.ends_at or move.old_until > now + ahead:
            continue
        (other,) = [party for party in agreement.parties if party != step.agency]
        if other == agency:
            command = f"comity agreement accept-identity {step.agency}"
            rests = "it rests until then" if now >= move.old_until else "or it rests"
            what = f"accept the new identity key of {step.agency}, {rests}: {command}"
        else:
            what = f"no acceptance by {other} of {step.agency}'s new identity key is here: ask for it"
        yield Due(
            at=move.old_until,
            kind=DueKind.KEY,
            about=agreement.agreement_id,
            what=what,
            agency=agency,
            overdue=now >= move.old_until,
        )


def _duties(
    agreement: AgreementView, agency: str, done: Collection[str], now: datetime, ahead: timedelta
) -> Iterator[Due]:
    """Yield the dates of an agreement's duties; of an own one that is overdue the last date alone."""
    if now >= agreement.ends_at:
        return
    for duty in agreement.dated_duties:
        dates = list(duty.dates(min(agreement.ends_at, now + ahead)))
        past = [at for at in dates if at < now]
        if past and duty.agency == agency and _name(agreement, duty, past[-1]) not in done:
            yield _duty(agreement, duty, past[-1], overdue=True, own=True)
        for at in dates:
            if at >= now and _name(agreement, duty, at) not in done:
                yield _duty(agreement, duty, at, overdue=False, own=duty.agency == agency)


def _duty(agreement: AgreementView, duty: Duty, at: datetime, *, overdue: bool, own: bool) -> Due:
    return Due(
        at=at,
        kind=DueKind.DUTY,
        about=agreement.agreement_id,
        what=f"{duty.agency}: {duty.text} ({duty.interval})",
        agency=duty.agency,
        overdue=overdue,
        name=_name(agreement, duty, at) if own else "",
    )


def _name(agreement: AgreementView, duty: Duty, at: datetime) -> str:
    """Return a short name of one date of one duty, always the same."""
    whole = f"{agreement.digest.hex()} {duty.agency} {duty.text} {at.isoformat()}"
    return hashlib.sha256(whole.encode()).hexdigest()[:8]


def _user(user: User, agency: str, now: datetime, ahead: timedelta) -> Iterator[Due]:
    """Yield when a user's training lapses, and when the account is to be reviewed; none of who left."""
    if not user.good_standing:
        return
    lapses = _midnight(user.trained_on) + TRAINING_VALID
    if lapses <= now + ahead:
        verb = "lapsed" if lapses <= now else "lapses"
        what = f"training of {user.trained_on} {verb}"
        yield _of(user, agency, lapses, DueKind.TRAINING, what, now)
    if user.account_reviewed_on is None:
        yield _of(user, agency, now, DueKind.ACCOUNT, "account never was reviewed", now)
        return
    review = months_after(_midnight(user.account_reviewed_on), REVIEW_MONTHS)
    if review <= now + ahead:
        what = f"account to be reviewed, last on {user.account_reviewed_on}"
        yield _of(user, agency, review, DueKind.ACCOUNT, what, now)


def _of(user: User, agency: str, at: datetime, kind: DueKind, what: str, now: datetime) -> Due:
    return Due(at=at, kind=kind, about=user.user, what=what, agency=agency, overdue=at <= now)


def _midnight(day: Date) -> datetime:
    return datetime.combine(day, time(), UTC)
