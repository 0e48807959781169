"""Windows in calendar years and days, and the statute that a query states (Q5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from comity.policy.limits import DEFAULT_LIMITATION_YEARS, Window, WindowKind, years_before


@pytest.mark.parametrize(
    ("now", "years", "expected"),
    [
        ("2026-03-02T12:00:00+00:00", 5, "2021-03-02T12:00:00+00:00"),
        ("2024-02-29T08:30:00+00:00", 5, "2019-03-01T08:30:00+00:00"),
        ("2024-02-29T08:30:00+00:00", 4, "2020-02-29T08:30:00+00:00"),
        ("2025-02-28T00:00:00+00:00", 1, "2024-02-28T00:00:00+00:00"),
    ],
)
def test_years_are_calendar_years(now: str, years: int, expected: str) -> None:
    """Same day, same time of day; 29 February gives way to the stricter side."""
    assert years_before(datetime.fromisoformat(now), years) == datetime.fromisoformat(expected)


def test_window_before_the_calendar_begins_is_no_limit_and_no_error() -> None:
    """A stated statute of thousands of years is a limit that nothing meets."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    window = Window(kind=WindowKind.STATUTE)
    assert window.earliest(now, 4_000_000_000) == datetime.min.replace(tzinfo=UTC)
    assert Window(kind=WindowKind.DAYS, amount=1_000_000).earliest(now, 0) == datetime.min.replace(tzinfo=UTC)


def test_unstated_statute_is_five_years_and_says_so() -> None:
    """A criminal query that states no statute gets the conservative default (Q5, ours)."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    window = Window(kind=WindowKind.STATUTE)
    assert DEFAULT_LIMITATION_YEARS == 5
    assert window.earliest(now, 0) == datetime(2021, 3, 2, tzinfo=UTC)
    assert "no statute of limitations was stated" in window.text(0)
    assert window.earliest(now, 8) == datetime(2018, 3, 2, tzinfo=UTC)


def test_no_limit_must_be_said() -> None:
    """`none` is a window of its own, not the absence of one."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    assert Window(kind=WindowKind.NONE).earliest(now, 3) is None
    assert Window(kind=WindowKind.DAYS, amount=730).earliest(now, 3) == now - timedelta(days=730)
