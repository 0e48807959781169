"""Facts of a plate on a hot list: the days that its user gives, and the year that it is given (H3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from comity.gateway.hot_lists import Batch, ListedPlate, Lister, ListingInvalid, facts
from comity.policy.house.facts import AskedOf, years_back
from comity.policy.windows import Windows

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLATE = ListedPlate(
    plate="8ABC123", folded="8ABC123", state="CA", country="US", reason="NARCOTICS", case="1", tracking=""
)


def batch(act: str, now: datetime = NOW) -> Batch:
    holder = AskedOf(agency="vendor", kind="commercial")
    return Batch(agency="ice", act=act, holder=holder, lister=Lister(), plates=1, now=now)


@pytest.mark.parametrize("act", ["ENTER", "KEEP", "RENEW"])
@pytest.mark.parametrize("column", ["entered", "renewed", "reviewed"])
def test_day_that_is_still_to_come_is_no_day_of_entry_or_review(act: str, column: str) -> None:
    """H3 (PIA 'Alert lists', GUI K.4): a year from 2190 on would last for centuries, without a review."""
    said: dict[str, Any] = {"entered": NOW - timedelta(days=9), "expires": NOW + timedelta(days=300)}
    plate = replace(PLATE, **said | {column: NOW + timedelta(minutes=5)})
    with pytest.raises(ListingInvalid, match=f"`{column}` is still to come"):
        facts(batch(act), plate, Windows())
    assert facts(batch(act), replace(plate, **said | {column: NOW}), Windows()).act == act


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 11, 1, 5, 30, tzinfo=UTC),
        datetime(2026, 11, 1, 6, 30, tzinfo=UTC),
        datetime(2026, 3, 14, 6, 30, tzinfo=UTC),
        datetime(2028, 2, 29, 12, tzinfo=UTC),
        NOW,
    ],
    ids=["first of two half past ones", "second", "a year later it isn't shown", "29 February", "any day"],
)
def test_year_that_is_given_is_one_year_by_the_rule(now: datetime) -> None:
    """H3: whenever a plate is entered or renewed, `ice.hotlist-one-year` doesn't stop the year given."""
    clocks = Windows(zone=ZoneInfo("America/New_York"))
    for act in ("ENTER", "RENEW"):
        plate = replace(PLATE, expires=None if act == "ENTER" else now + timedelta(days=5))
        found = facts(batch(act, now), plate, clocks)
        assert years_back(found.valid_from, found.valid_until, clocks) == 1
        assert found.valid_until > now + timedelta(days=364, hours=22)
