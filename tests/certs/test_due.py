"""The calendar: agreements (A2, MOA V), duties with dates (L8), training and accounts (Q4, L9)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from comity.certs.agreements import AgreementView, load_agreement, with_notice
from comity.certs.drafting import give_notice, renew, sign
from comity.certs.due import Due, DueKind, due_dates
from comity.certs.duties import Duty, months_after
from comity.certs.envelope import to_json
from comity.certs.errors import SetupRefused
from comity.certs.identity_provider import User
from tests.certs.test_agreements import TERMS, both_sign
from tests.support.rosters import DAY, NOON, Forge

EXPIRES = NOON + 1_000 * DAY
CERTIFY = Duty(agency="lahd", text="certify (L8)", first_due_at=NOON + 50 * DAY, every_months=6)
MOA = replace(
    TERMS,
    effective_at=NOON - DAY,
    expires_at=EXPIRES,
    extension_days=365,
    notice_days=30,
    dated_duties=(CERTIFY,),
)
SOON = 60 * DAY


@pytest.fixture
def forge() -> Forge:
    return Forge()


@pytest.fixture
def moa(forge: Forge) -> AgreementView:
    return load_agreement(to_json(both_sign(forge, MOA)), forge.verify())


def due(
    moa: AgreementView, now: datetime, *users: User, agency: str = "lahd", done: frozenset[str] = frozenset()
) -> list[Due]:
    return due_dates(agency=agency, agreements=[moa], users=users, done=done, now=now, ahead=SOON)


def test_duty_with_dates_is_part_of_what_both_sign(moa: AgreementView) -> None:
    """L8's certification every six months: in the signed agreement, read back as it was drawn up."""
    assert moa.dated_duties == (CERTIFY,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"agency": "dea"}, "expected one of the parties"),
        ({"first_due_at": NOON - 2 * DAY}, "first due"),
        ({"first_due_at": EXPIRES + 365 * DAY}, "first due"),
        ({"every_months": -1}, "expected 0 to 1200"),
        ({"text": "two\nlines"}, "duty"),
    ],
)
def test_duty_that_can_not_be_is_not_drawn_up(change: dict[str, object], said: str) -> None:
    """A party's own, within the agreement's time, on one line."""
    with pytest.raises(SetupRefused, match=said):
        replace(MOA, dated_duties=(replace(CERTIFY, **change),))  # type: ignore[arg-type]


def test_duty_falls_due_on_its_day_of_the_month() -> None:
    """Counted from the first date: the last day where a month is shorter, the 31st again where it isn't."""
    first = datetime(2027, 8, 31, tzinfo=UTC)
    monthly = replace(CERTIFY, first_due_at=first, every_months=6)
    assert [f"{at:%Y-%m-%d}" for at in monthly.dates(first + 800 * DAY)] == [
        "2027-08-31",
        "2028-02-29",
        "2028-08-31",
        "2029-02-28",
        "2029-08-31",
    ]
    assert list(replace(monthly, every_months=0).dates(first + 800 * DAY)) == [first]
    assert months_after(datetime(9999, 1, 31, tzinfo=UTC), 12) == datetime.max.replace(tzinfo=UTC)


def test_duty_is_due_ahead_and_overdue_until_it_is_done(moa: AgreementView) -> None:
    """Ahead it is told to both; past it stays overdue at whose duty it is, until it is marked as done."""
    (ahead,) = due(moa, NOON)
    assert (ahead.at, ahead.kind, ahead.overdue) == (CERTIFY.first_due_at, DueKind.DUTY, False)
    assert [one.kind for one in due(moa, NOON - 11 * DAY)] == [DueKind.AGREEMENT], "takes effect, no more"
    assert [one.name for one in due(moa, NOON, agency="lapd")] == [""], "the other party marks nothing"
    (late,) = due(moa, NOON + 51 * DAY)
    assert late.overdue and late.name == ahead.name
    assert due(moa, NOON + 51 * DAY, agency="lapd") == []
    assert due(moa, NOON + 51 * DAY, done=frozenset({late.name})) == []
    (again,) = due(moa, months_after(CERTIFY.first_due_at, 6) + DAY, done=frozenset({late.name}))
    assert again.overdue and again.name != late.name
    assert due(moa, moa.ends_at + DAY) == []


def test_expiry_extension_and_the_last_day_for_notice_are_told_sixty_days_ahead(
    forge: Forge, moa: AgreementView
) -> None:
    """The last day on which the extension can be prevented, the extension, and the end (A2, MOA V)."""
    plain = replace(moa, dated_duties=())
    assert due(plain, EXPIRES - 91 * DAY) == []
    told = [(one.at, one.kind, one.what) for one in due(plain, EXPIRES - 40 * DAY)]
    assert told == [
        (EXPIRES - 30 * DAY, DueKind.NOTICE, "last day for notice of non-extension"),
        (EXPIRES, DueKind.AGREEMENT, "is extended by itself for 365 days"),
    ]
    (end,) = due(plain, plain.ends_at - 59 * DAY)
    assert end.at == plain.ends_at and end.what.startswith("ends, extended by itself")
    ended = with_notice(
        plain, give_notice(plain, forge.lapd.identity, given_at=NOON, ends_at=NOON + 31 * DAY)
    )
    (end,) = due(ended, NOON)
    assert end.at == NOON + 31 * DAY and "terminated by notice of lapd" in end.what


def test_training_that_lapses_and_accounts_to_be_reviewed_are_due(moa: AgreementView) -> None:
    """Training is valid 365 days (Q4), an account is certified yearly (L9); who left is not in it."""
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    plain = replace(moa, dated_duties=())

    def told(**changes: object) -> list[tuple[str, str, bool]]:
        user = User(user="m.chen", trained_on=date(2026, 1, 1), account_reviewed_on=date(2026, 1, 1))
        found = due(plain, now, replace(user, **changes))  # type: ignore[arg-type]
        return [(one.kind.value, f"{one.at:%Y-%m-%d}", one.overdue) for one in found if one.about == "m.chen"]

    assert told() == []
    assert told(trained_on=date(2025, 5, 1)) == [("training", "2026-05-01", False)]
    assert told(trained_on=date(2025, 3, 2)) == [("training", "2026-03-02", True)]
    assert told(trained_on=date(2025, 3, 3)) == [("training", "2026-03-03", False)]
    assert told(account_reviewed_on=date(2025, 4, 2)) == [("account", "2026-04-02", False)]
    assert told(account_reviewed_on=date(2025, 3, 1)) == [("account", "2026-03-01", True)]
    assert told(account_reviewed_on=None) == [("account", "2026-03-02", True)]
    assert told(trained_on=date(2020, 1, 1), good_standing=False) == []


def test_next_agreement_takes_the_duty_on(forge: Forge) -> None:
    """A renewed agreement has the dates that fall into its own time."""
    old = both_sign(forge, replace(MOA, extension_days=0))
    last = EXPIRES + 400 * DAY
    renewed = renew(old, forge.verify(), forge.lapd.identity, agreement_id="next", expires_at=last)
    both = load_agreement(to_json(sign(renewed, forge.verify(), forge.lahd.identity)), forge.verify())
    (duty,) = both.dated_duties
    assert duty.first_due_at >= EXPIRES and duty.first_due_at in list(CERTIFY.dates(last))
