"""What a plate on a hot list could be instead: the values of each fact that could matter to house rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from comity.policy.house.changes import (
    CONCERNED,
    NOW,
    Change,
    amount,
    flags,
    plain_facts,
    provider_changes,
    setting,
    shared_changes,
)
from comity.policy.house.facts import LIST_ACTS, HouseAct, HouseListing
from comity.policy.variations import Named
from comity.policy.windows import years_before

TOGETHER: Final = {
    "trackingIsNumber": "trackingNumber",
    "expired": "expiresInDays",
    "expiredDaysAgo": "expiresInDays",
    "kind": CONCERNED,
}
"""Attributes that change together with another one."""

_ACTS: Final = {"ENTER": "entered", "KEEP": "kept", "RENEW": "renewed"}
_FLAGS: Final = (
    ("caseNamed", "case_named", "a case were", "beside it"),
    ("freeText", "free_text", "a free text were", "beside it"),
    ("otherColumns", "other_columns", "other columns were", "beside it"),
    ("documented", "documented", "it were", "written down in the agency's own log"),
    ("needAffirmed", "need_affirmed", "the need were", "affirmed"),
)


def plain_listing() -> HouseListing:
    """Return a plate to which no rule of people or of time has anything to say."""
    return HouseListing(
        **plain_facts(),  # type: ignore[arg-type]
        act=LIST_ACTS[0],
        case_named=True,
        case_current=True,
        documented=True,
        need_affirmed=True,
        valid_from=NOW,
        valid_until=NOW + timedelta(days=365),
        expires_at=NOW + timedelta(days=365),
        reviewed_at=NOW,
    )


def listing_changes(named: Named) -> Iterator[Change]:
    """Yield the values to try of every fact of a plate on a hot list."""
    yield from shared_changes(named)
    yield from flags(_FLAGS)
    for act in LIST_ACTS:
        yield setting("act", f"it were {_ACTS[act]}", act=act)
    yield setting("caseCurrent", "the case were a current investigation", case_current=True)
    yield setting("caseCurrent", "the case were closed", case_current=False)
    yield setting("caseCurrent", "nobody said whether the case is current", case_current=None)
    for has, is_number, words in (
        (True, True, "a tracking number were beside it"),
        (False, True, "no tracking number were beside it"),
        (True, False, "its tracking number were none"),
    ):
        yield setting("trackingNumber", words, tracking_number=has, tracking_is_number=is_number)
    yield from _expiries(named)
    for years in sorted({1, *named.numbers_of("validYears")} - {0}):
        yield _moved("validYears", f"it were valid for {amount(years, 'year')}", "valid_from", _valid(years))
    for years in sorted({1, *named.numbers_of("reviewedYearsAgo")} - {0}):
        words = f"it had been reviewed within {amount(years, 'year')}"
        yield _moved("reviewedYearsAgo", words, "reviewed_at", _years_ago(years))
    for count in sorted({1, *named.numbers_of("batch")} - {0}):
        yield setting("batch", f"the batch had {amount(count, 'plate')}", batch=count)
    yield from provider_changes(named, "held the list")


def _expiries(named: Named) -> Iterator[Change]:
    fact = "expiresInDays"
    for days in sorted({365, *named.numbers_of(fact)} - {0}, reverse=True):
        yield _moved(fact, f"it expired in {amount(days, 'day')}", "expires_at", _days_on(days))
    yield _moved(fact, "it expired now", "expires_at", _days_on(0))
    for days in sorted({1, *named.numbers_of("expiredDaysAgo")} - {0}):
        yield _moved(fact, f"it had expired {amount(days, 'day')} ago", "expires_at", _days_on(-days))


def _days_on(days: int) -> Callable[[HouseListing], datetime]:
    return lambda listing: listing.now + timedelta(days=days)


def _valid(years: int) -> Callable[[HouseListing], datetime]:
    return lambda listing: years_before(listing.valid_until, years)


def _years_ago(years: int) -> Callable[[HouseListing], datetime]:
    return lambda listing: years_before(listing.now, years)


def _moved(fact: str, words: str, name: str, instant: Callable[[HouseListing], datetime]) -> Change:
    """Return the change that puts another instant in a field."""

    def make(listing: HouseAct) -> HouseListing:
        assert isinstance(listing, HouseListing)
        return replace(listing, **{name: instant(listing)})  # type: ignore[arg-type]

    return Change(fact=fact, words=words, make=make)
