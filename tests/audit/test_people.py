"""User list, training records and log are held to each other (L9, Q4, Q8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import date as Date

import pytest

from comity.audit.entry import Entry, JsonValue, Opening, seal_entry, to_milliseconds
from comity.audit.searching.comparing import Finding, Listed, compare
from comity.audit.searching.people import SeenUsers, read_users

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)
GOOD = Listed(trained_on=TODAY - 100 * DAY, account_reviewed_on=TODAY - 100 * DAY)


class Ledger:
    """A log in memory with what was kept beside it."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []
        self.kept: list[dict[str, Opening]] = []

    def add(
        self, kind: str, *, user: str = "a", at: datetime = NOW, trained: str = "", **public: JsonValue
    ) -> None:
        private = {"user": user} | ({"trained": trained} if kind == "logged_on" else {})
        sealed = seal_entry(Entry(kind=kind, at=at, public=public, private=private))
        self.leaves.append(sealed.leaf)
        self.kept.append({opening.name: opening for opening in sealed.openings})

    def entries(self, tell: object = None) -> Iterator[tuple[int, bytes]]:
        yield from enumerate(self.leaves)

    def openings(self, index: int) -> Mapping[str, Opening]:
        return self.kept[index]

    def seen(self, since: datetime | None = None) -> SeenUsers:
        return read_users(self, self, since=since)  # type: ignore[arg-type]


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.add("logged_on", trained=(NOW - 100 * DAY).isoformat())
    ledger.add("asked")
    return ledger


def found(ledger: Ledger, listed: Mapping[str, Listed]) -> dict[str, list[Finding]]:
    return {each.user: list(each.findings) for each in compare(listed, ledger.seen(), NOW)}


def test_user_with_training_review_and_logons_has_nothing_found(ledger: Ledger) -> None:
    """Listed, trained, reviewed and seen: nothing is to be said (L9)."""
    assert found(ledger, {"a": GOOD}) == {"a": []}


def test_who_searches_and_is_on_no_list_is_found(ledger: Ledger) -> None:
    """The log knows somebody whom the agency doesn't (L9)."""
    ledger.add("asked", user="ghost")
    (ghost, a) = compare({"a": GOOD}, ledger.seen(), NOW)
    assert (ghost.user, ghost.findings, ghost.is_wrong) == ("ghost", (Finding.NOT_LISTED,), True)
    assert not a.is_wrong and "ghost" not in repr(ghost)


@pytest.mark.parametrize(
    ("trained", "finding"),
    [
        (TODAY, None),
        (TODAY - 305 * DAY, None),
        (TODAY - 306 * DAY, Finding.TRAINING_LAPSES),
        (TODAY - 365 * DAY, Finding.TRAINING_LAPSES),
        (TODAY - 366 * DAY, Finding.TRAINING_LAPSED),
        (TODAY + DAY, Finding.NEVER_TRAINED),
        (None, Finding.NEVER_TRAINED),
    ],
)
def test_training_is_judged_to_the_day(ledger: Ledger, trained: Date | None, finding: Finding | None) -> None:
    """The year's last day holds, the next doesn't; what lapses within 60 days is told (Q4, L9)."""
    ledger.kept[0].pop("trained")
    assert found(ledger, {"a": replace(GOOD, trained_on=trained)})["a"] == ([finding] if finding else [])


@pytest.mark.parametrize(
    ("reviewed", "finding"),
    [
        (TODAY - 365 * DAY, Finding.REVIEW_LAPSES),
        (TODAY - 366 * DAY, Finding.REVIEW_OVERDUE),
        (None, Finding.NEVER_REVIEWED),
    ],
)
def test_review_of_an_account_is_judged_to_the_day(
    ledger: Ledger, reviewed: Date | None, finding: Finding
) -> None:
    """Accounts are certified yearly (L9)."""
    assert found(ledger, {"a": replace(GOOD, account_reviewed_on=reviewed)})["a"] == [finding]


def test_assertion_that_states_a_later_training_than_the_records(ledger: Ledger) -> None:
    """What the identity provider vouches for is held to the training records (L9)."""
    listed = {"a": replace(GOOD, trained_on=TODAY - 101 * DAY)}
    assert found(ledger, listed)["a"] == [Finding.TRAINING_OVERSTATED]


def test_who_never_logs_on_is_told_and_not_wrong(ledger: Ledger) -> None:
    """An account that nobody uses is worth knowing (L9)."""
    a, idle = compare({"a": GOOD, "idle": GOOD}, ledger.seen(), NOW)[::-1]
    assert (a.user, idle.findings, idle.is_wrong) == ("a", (Finding.NEVER_LOGS_ON,), False)


def test_who_is_seen_after_the_access_ended_is_found(ledger: Ledger) -> None:
    """A question is wrong, and so is a mere attempt; a readmission ends what counts (Q8)."""
    ledger.add("user_terminated", given=to_milliseconds(NOW - DAY))
    assert found(ledger, {}) == {"a": []}, "seen before, dismissed, on no list: all is well"
    assert found(ledger, {"a": GOOD})["a"] == [Finding.TERMINATED_BUT_LISTED]
    ledger.add("turned_down", at=NOW - DAY / 2)
    assert found(ledger, {})["a"] == [Finding.ATTEMPTS_SINCE_TERMINATION]
    ledger.add("asked", at=NOW - DAY / 4)
    assert Finding.USED_SINCE_TERMINATION in found(ledger, {})["a"]
    ledger.add("user_readmitted", given=to_milliseconds(NOW))
    assert found(ledger, {"a": GOOD})["a"] == [
        Finding.USED_SINCE_TERMINATION,
        Finding.ATTEMPTS_SINCE_TERMINATION,
    ]


def test_act_before_anything_was_used_counts_nothing_against_a_user(ledger: Ledger) -> None:
    """What was asked before the act is no use after it (Q8)."""
    ledger.add("user_terminated", at=NOW + DAY, given=to_milliseconds(NOW + DAY))
    (user,) = compare({}, ledger.seen(), NOW + 2 * DAY)
    assert not user.is_wrong


@pytest.mark.parametrize(
    ("returns", "until", "recertified", "is_over"),
    [
        ("recertification", None, None, False),
        ("recertification", None, -2 * DAY, False),
        ("recertification", None, -DAY / 2, True),
        ("length", -DAY / 4, None, True),
        ("length", DAY, -DAY / 2, False),
        ("either", DAY, -DAY / 2, True),
        ("either", DAY, None, False),
        ("both", -DAY / 4, None, False),
        ("both", -DAY / 4, -DAY / 2, True),
        ("something else", -DAY / 4, -DAY / 2, False),
    ],
)
def test_suspension_is_listed_until_access_returns(
    ledger: Ledger, returns: str, until: timedelta | None, recertified: timedelta | None, is_over: bool
) -> None:
    """As the provider's notice says, and by acts that are later than the suspension alone (Q8)."""
    public: dict[str, JsonValue] = {} if until is None else {"until": to_milliseconds(NOW + until)}
    ledger.add(
        "user_suspended",
        peer="cbp",
        since=to_milliseconds(NOW - DAY),
        returns=returns,
        refusals=5,
        notice="n1",
        **public,
    )
    act: dict[str, JsonValue] = {"given": to_milliseconds(NOW)}
    if recertified is not None:
        ledger.add("user_readmitted", **act, recertified=to_milliseconds(NOW + recertified))
    (user,) = compare({"a": GOOD}, ledger.seen(), NOW)
    assert user.providers == (() if is_over else ("cbp",))
    assert (Finding.SUSPENDED in user.findings) is not is_over


def test_notice_that_was_logged_twice_is_one_suspension(ledger: Ledger) -> None:
    """A notice may come again after a restart; it is told once (Q8)."""
    for _ in range(2):
        ledger.add("user_suspended", peer="cbp", since=1, returns="recertification", refusals=5, notice="n1")
    assert len(ledger.seen().users["a"].suspensions) == 1


def test_entries_before_the_period_do_not_count(ledger: Ledger) -> None:
    """Logons and questions of the period alone; acts hold whenever they were given (L9)."""
    ledger.add("user_terminated", given=to_milliseconds(NOW - DAY))
    user = ledger.seen(since=NOW + DAY).users["a"]
    assert (user.logons, user.questions, user.terminated_at) == (0, 0, NOW - DAY)


def test_opening_that_is_false_or_gone_names_nobody(ledger: Ledger) -> None:
    """A name counts only if it opens what the log holds; how many don't is told (L1, L5)."""
    ledger.kept[0]["user"] = replace(ledger.kept[0]["user"], value="somebody.else")
    ledger.kept[1].clear()
    seen = ledger.seen()
    assert (seen.users, seen.false, seen.unopened) == ({}, 1, 1)


def test_person_who_is_not_in_good_standing_needs_no_training(ledger: Ledger) -> None:
    """Who may not ask is not missing anything; if they ask, the log has it as turned down (Q4)."""
    listed = Listed(trained_on=None, account_reviewed_on=None, good_standing=False)
    assert found(ledger, {"a": listed})["a"] == []
