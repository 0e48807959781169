"""Times as stores write them, read into UTC or refused with a reason."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.adapters.sources.times import DOES_NOT_EXIST, OCCURS_TWICE, RowUnusable, TimeFormat

LOS_ANGELES = ZoneInfo("America/Los_Angeles")
AT = datetime(2026, 3, 1, 15, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("iso", "2026-03-01T15:15:00Z"),
        ("iso", "2026-03-01 15:15"),
        ("iso", "2026-03-01T07:15:00.000-08:00"),
        ("iso", "2026-03-01 07:15:00 -0800"),
        ("iso", "2026-03-01 15:15:00.000000+00"),
        ("epoch", "1772378100"),
        ("epoch", 1772378100),
        ("epoch", 1772378100.0),
        ("epoch", Decimal("1772378100.000")),
        ("epoch_ms", "1772378100000"),
        ("epoch_ms", 1772378100000),
        ("%Y:%m:%d %H:%M:%S.%f", "2026:03:01 15:15:00.000"),
        ("%m/%d/%Y %I:%M:%S %p", "03/01/2026 03:15:00 PM"),
        ("%d.%m.%Y %H:%M %z", "01.03.2026 16:15 +0100"),
        ("iso", datetime(2026, 3, 1, 7, 15, tzinfo=timezone(timedelta(hours=-8)))),
    ],
)
def test_one_instant_written_in_many_ways(written: str, value: object) -> None:
    """Each format that stores use gives the same instant, in UTC."""
    assert TimeFormat(written=written, zone=ZoneInfo("UTC")).read(value).at == AT


def test_local_time_follows_the_season() -> None:
    """A zone-less time is of the mapping's zone, in summer and in winter."""
    time = TimeFormat(zone=LOS_ANGELES)
    assert time.read("2026-01-15T07:00:00").at.hour == 15
    assert time.read("2026-07-15T07:00:00").at.hour == 14


def test_time_without_zone_is_nobodys() -> None:
    """A zone-less time is not guessed to be UTC: without a zone in the mapping the row is unusable."""
    with pytest.raises(RowUnusable, match="time_zone"):
        TimeFormat().read("2026-03-01T15:15:00")


def test_hour_that_occurs_twice_is_the_first_and_noted() -> None:
    """When clocks go back, 01:30 is taken as the first of the two, and the doubt is told."""
    read = TimeFormat(zone=LOS_ANGELES).read("2026-11-01 01:30:00")
    assert read.at == datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    assert read.note == OCCURS_TWICE


def test_hour_that_does_not_exist_is_moved_and_noted() -> None:
    """When clocks go forward, 02:30 is that of a clock that stayed: 03:30, and the doubt is told."""
    read = TimeFormat(zone=LOS_ANGELES).read("2026-03-08 02:30:00")
    assert read.at == datetime(2026, 3, 8, 10, 30, tzinfo=UTC)
    assert read.note == DOES_NOT_EXIST


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("iso", ""),
        ("iso", None),
        ("iso", "2026-03-01"),
        ("iso", "20260301T151500Z"),
        ("iso", "2026-W09-7T15:15:00Z"),
        ("iso", "2026-02-30T15:15:00Z"),
        ("iso", "0001-01-01T00:00:00+14:00"),
        ("iso", 1772378100),
        ("epoch", 0),
        ("epoch", 1772378100000),
        ("epoch", "1e9"),
        ("epoch", "1_772_378_100"),
        ("epoch", "nan"),
        ("epoch", float("inf")),
        ("epoch", Decimal("NaN")),
        ("epoch", 10**400),
        ("epoch", True),
        ("epoch_ms", 1772378100),
        ("epoch_ms", b"1772378100"),
        ("%Y-%m-%d %H:%M", "yesterday"),
    ],
)
def test_what_is_no_time_is_refused(written: str, value: object) -> None:
    """What does not say when is refused with a reason, and never becomes some time or other."""
    with pytest.raises(RowUnusable):
        TimeFormat(written=written, zone=ZoneInfo("UTC")).read(value)


@given(
    st.sampled_from(["iso", "epoch", "epoch_ms", "%Y-%m-%d %H:%M:%S", "%c"]),
    st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.none(), st.datetimes(), st.decimals()),
)
def test_any_value_is_read_or_refused(written: str, value: object) -> None:
    """Whatever a store holds, the answer is a time in UTC or a reason; nothing else is raised."""
    try:
        read = TimeFormat(written=written, zone=LOS_ANGELES).read(value)
    except RowUnusable as reason:
        assert str(value) not in str(reason) or len(str(value)) < 5
    else:
        assert read.at.utcoffset() == timedelta(0)
