"""Windows in calendar years and days, and the statute of an offence (Q5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from comity.policy.limits import Window, WindowKind
from comity.policy.windows import Limitation, Windows

NOW = datetime(2026, 3, 2, tzinfo=UTC)
ANY = Limitation(years=3, words="three years")


def test_statute_is_a_window_of_calendar_years() -> None:
    """The question's limitation, in calendar years; an offence of any time sets none."""
    window = Window(kind=WindowKind.STATUTE)
    assert window.earliest(NOW, Limitation(years=8, words=""), Windows()) == datetime(2018, 3, 2, tzinfo=UTC)
    assert window.earliest(NOW, Limitation(years=None, words=""), Windows()) is None
    assert window.text(ANY) == "three years"


def test_window_before_the_calendar_begins_is_no_limit_and_no_error() -> None:
    """A stated statute of thousands of years is a limit that nothing meets."""
    window = Window(kind=WindowKind.STATUTE)
    ages = Limitation(years=4_000_000_000, words="")
    assert window.earliest(NOW, ages, Windows()) == datetime.min.replace(tzinfo=UTC)
    days = Window(kind=WindowKind.DAYS, amount=1_000_000)
    assert days.earliest(NOW, ANY, Windows()) == datetime.min.replace(tzinfo=UTC)


def test_no_limit_must_be_said() -> None:
    """`none` is a window of its own, not the absence of one."""
    assert Window(kind=WindowKind.NONE).earliest(NOW, ANY, Windows()) is None
    assert Window(kind=WindowKind.DAYS, amount=730).earliest(NOW, ANY, Windows()) == NOW - timedelta(days=730)


@pytest.mark.parametrize(
    ("window", "words"), [((WindowKind.YEARS, 1), "1 year"), ((WindowKind.DAYS, 90), "90 days")]
)
def test_limit_is_told_in_words(window: tuple[WindowKind, int], words: str) -> None:
    """What was clipped is said with the limit that clipped it."""
    kind, amount = window
    assert Window(kind=kind, amount=amount).text(ANY) == f"the previous {words}"
