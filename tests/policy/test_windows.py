"""How far back: the calendar of a zone, the table of statutes, and what stores keep (Q5, A8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.policy.bundle import PolicyBundle
from comity.policy.decision import DecisionRequest, Effect, PolicyEngine, StoreFacts
from comity.policy.errors import BundleInvalid
from comity.policy.windows import (
    DEFAULT_LIMITATION_YEARS,
    Windows,
    jurisdiction_of,
    parse_windows,
    years_before,
)

Ask = Callable[..., DecisionRequest]
Write = Callable[..., Path]

LOS_ANGELES = ZoneInfo("America/Los_Angeles")

TABLE = """
zone = "America/Los_Angeles"

[retention.mobile]
years = 2
rule = "A8"
document = "CBP 4"

[retention.fixed]
days = 3650
rule = "A8"
document = "ours"

[[statute]]
offence = "general"
jurisdiction = "US"
years = 5
document = "18 U.S.C. 3282(a)"
text = "offences that are not capital"

[[statute]]
offence = "capital"
jurisdiction = "US"
years = "none"
document = "18 U.S.C. 3281"
text = "offences punishable by death"

[[statute]]
offence = "arson"
jurisdiction = "US"
years = 10
document = "18 U.S.C. 3295"
text = "arson that is not capital"

[[statute]]
offence = "misdemeanor"
jurisdiction = "US-CA"
years = 1
document = "California Penal Code 802(a)"
text = "misdemeanors"
"""

CIVIL = """
@id("t.civil")
@rule("Q5")
@document("GUI J.2")
@text("civil matters reach back five years")
@retain_days("0")
@max_window_years("5")
permit (principal, action == Action::"Search", resource);
"""

STATUTE = CIVIL.replace('@max_window_years("5")', '@max_window("statute")').replace("t.civil", "t.statute")


def windows(text: str = TABLE) -> Windows:
    return parse_windows(Path("windows.toml"), text)


@pytest.fixture
def engine(write_bundle: Write) -> Callable[..., PolicyEngine]:
    """Return a function that gives an engine for a policy and a `windows.toml`."""

    def make(policy: str, table: str = TABLE) -> PolicyEngine:
        folder = write_bundle(policy)
        (folder / "windows.toml").write_text(table)
        return PolicyEngine(PolicyBundle.load(folder))

    return make


# -- the calendar ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "years", "zone", "expected"),
    [
        ("2026-03-02T12:00:00+00:00", 5, "UTC", "2021-03-02T12:00:00+00:00"),
        # 29 February gives way to 1 March, the stricter side, unless the earlier year has one
        ("2024-02-29T08:30:00+00:00", 5, "UTC", "2019-03-01T08:30:00+00:00"),
        ("2024-02-29T08:30:00+00:00", 4, "UTC", "2020-02-29T08:30:00+00:00"),
        ("2024-02-29T08:30:00+00:00", 100, "UTC", "1924-02-29T08:30:00+00:00"),
        ("2000-02-29T08:30:00+00:00", 100, "UTC", "1900-03-01T08:30:00+00:00"),
        ("2025-02-28T00:00:00+00:00", 1, "UTC", "2024-02-28T00:00:00+00:00"),
        ("2025-03-01T00:00:00+00:00", 1, "UTC", "2024-03-01T00:00:00+00:00"),
        # in Los Angeles it is still 29 February, in UTC already 1 March
        ("2024-03-01T02:00:00+00:00", 5, "America/Los_Angeles", "2019-03-02T02:00:00+00:00"),
        ("2024-03-01T02:00:00+00:00", 4, "America/Los_Angeles", "2020-03-01T02:00:00+00:00"),
        # five years ago to the day the clocks had not gone forward yet (8 and 14 March)
        ("2026-03-10T19:00:00+00:00", 5, "America/Los_Angeles", "2021-03-10T20:00:00+00:00"),
        # 02:30 did not exist on 14 March 2021: taken as 03:30, the later
        ("2026-03-14T09:30:00+00:00", 5, "America/Los_Angeles", "2021-03-14T10:30:00+00:00"),
        # 01:30 came twice on 7 November 2021: the second time, the later
        ("2026-11-07T09:30:00+00:00", 5, "America/Los_Angeles", "2021-11-07T09:30:00+00:00"),
    ],
    ids=[
        *("plain", "leap day", "leap day to leap day", "a century of leap days", "1900 had none"),
        *("28 February", "1 March", "leap day there", "leap day there to leap day"),
        *("clocks forward", "never shown", "shown twice"),
    ],
)
def test_years_are_counted_by_the_calendar_of_the_zone(
    now: str, years: int, zone: str, expected: str
) -> None:
    """Same day, same time of day on the zone's clocks; what could mean two instants is the stricter (Q5)."""
    counted = years_before(datetime.fromisoformat(now), years, zone=ZoneInfo(zone))
    assert counted == datetime.fromisoformat(expected)


@given(
    st.datetimes(datetime(1975, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 40),
    st.sampled_from(["UTC", "America/Los_Angeles", "America/New_York", "Pacific/Kiritimati"]),
)
@settings(max_examples=60)
def test_years_never_reach_further_than_the_calendar(now: datetime, years: int, zone: str) -> None:
    """On the zone's clocks never before the same day so many years ago, and at most a day after it."""
    back = years_before(now, years, zone=ZoneInfo(zone)).astimezone(ZoneInfo(zone))
    local = now.astimezone(ZoneInfo(zone))
    assert back.year == local.year - years
    day = back.timetuple().tm_yday - local.timetuple().tm_yday
    assert -1 <= day <= 1
    if (local.month, local.day) != (2, 29):
        assert (back.month, back.day) == (local.month, local.day) or back.hour <= 1
        assert back.replace(tzinfo=None) >= local.replace(tzinfo=None, year=back.year)


@pytest.mark.parametrize(
    ("start", "end", "effect", "clipped"),
    [
        # the day before the boundary day: nothing of it
        ("2021-03-01T00:00:00-08:00", "2021-03-02T00:00:00-08:00", Effect.REFUSE, None),
        # the boundary day: its part before the time of day is cut off
        ("2021-03-02T00:00:00-08:00", "2021-03-03T00:00:00-08:00", Effect.PERMIT, True),
        ("2021-03-02T09:00:00-08:00", "2021-03-03T00:00:00-08:00", Effect.PERMIT, False),
        # an instant on either side
        ("2021-03-02T08:59:59-08:00", "2021-03-02T09:00:00-08:00", Effect.REFUSE, None),
        ("2021-03-02T08:59:59-08:00", "2021-03-02T09:00:01-08:00", Effect.PERMIT, True),
        # the day after: all of it
        ("2021-03-03T00:00:00-08:00", "2021-03-04T00:00:00-08:00", Effect.PERMIT, False),
    ],
)
def test_boundary_day_of_the_civil_five_years(
    engine: Callable[..., PolicyEngine],
    asking: Ask,
    start: str,
    end: str,
    effect: Effect,
    clipped: bool | None,
) -> None:
    """At 09:00 on 2 March 2026 in Los Angeles, 09:00 on 2 March 2021 is in, the instant before out (Q5)."""
    request = asking(
        now=datetime(2026, 3, 2, 9, tzinfo=LOS_ANGELES).astimezone(UTC),
        period_start=datetime.fromisoformat(start).astimezone(UTC),
        period_end=datetime.fromisoformat(end).astimezone(UTC),
    )
    decision = engine(CIVIL).decide(request, [StoreFacts(store_id="toll", store_class="toll")])
    assert decision.effect is effect
    if decision.obligations is not None:
        assert decision.obligations.earliest == datetime(2021, 3, 2, 17, tzinfo=UTC)
        assert ("clip_period" in {item.name for item in decision.obligations.applied}) is clipped


# -- statutes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offence", "jurisdiction", "stated", "years", "words"),
    [
        ("", "US", 0, 5, "no statute of limitations was stated"),
        ("", "US", 8, 8, "the stated statute"),
        ("general", "US", 0, 5, "18 U.S.C. 3282(a)"),
        ("arson", "US", 0, 10, "18 U.S.C. 3295"),
        ("arson", "US", 3, 3, "the stated statute"),
        ("arson", "US", 30, 10, "18 U.S.C. 3295"),
        ("capital", "US", 0, None, "18 U.S.C. 3281"),
        ("capital", "US", 20, 20, "the stated statute"),
        ("misdemeanor", "US-CA", 0, 1, "California Penal Code 802(a)"),
        ("misdemeanor", "US", 0, 5, "holds no `misdemeanor` of US"),
        ("arson", "US-CA", 0, 5, "holds no `arson` of US-CA"),
        ("piracy", "US", 30, 5, "holds no `piracy` of US"),
        ("piracy", "US", 2, 2, "holds no `piracy` of US"),
    ],
)
def test_statute_of_an_offence_and_jurisdiction(
    offence: str, jurisdiction: str, stated: int, years: int | None, words: str
) -> None:
    """The table's years or the stated ones, whichever are fewer; the unknown is five at most (Q5, ours)."""
    found = windows().limitation(offence=offence, jurisdiction=jurisdiction, stated_years=stated)
    assert DEFAULT_LIMITATION_YEARS == 5
    assert found.years == years
    assert words in found.words


@given(st.sampled_from(["", "general", "arson", "capital", "piracy"]), st.integers(0, 100))
def test_stating_more_never_reaches_further_than_the_table(offence: str, stated: int) -> None:
    """A stated number of years only ever shortens what the table allows an offence."""
    table = windows()
    free = table.limitation(offence=offence, jurisdiction="US", stated_years=0).years
    found = table.limitation(offence=offence, jurisdiction="US", stated_years=stated).years
    if offence and free is not None:
        assert found is not None
        assert found <= free


def test_jurisdiction_is_the_requesters_own() -> None:
    """From the roster, not from what the query says of itself."""
    assert jurisdiction_of("federal", "") == "US"
    assert jurisdiction_of("federal", "CA") == "US"
    assert jurisdiction_of("local", "CA") == "US-CA"
    assert jurisdiction_of("commercial", "") == "US"


def test_decision_looks_the_offence_up_and_says_so(engine: Callable[..., PolicyEngine], asking: Ask) -> None:
    """`@max_window("statute")` is the table's, and the clip names the statute; an unknown class says that."""
    store = [StoreFacts(store_id="toll", store_class="toll")]
    old = datetime(2005, 1, 1, tzinfo=UTC)
    deciding = engine(STATUTE)

    def clip(offence: str, state: str = "CA") -> tuple[datetime | None, str]:
        request = asking(period_start=old, offence=offence, requester_state=state)
        found = deciding.decide(request, store).obligations
        assert found is not None
        texts = [item.text for item in found.applied if item.name == "clip_period"]
        return found.earliest, texts[0] if texts else ""

    assert clip("misdemeanor")[0] == datetime(2025, 3, 2, 12, tzinfo=UTC)
    assert clip("misdemeanor")[1].endswith(
        "the statute of limitations of `misdemeanor`, California Penal Code 802(a)"
    )
    assert clip("arson")[1].endswith("since the table of statutes holds no `arson` of US-CA")
    assert clip("arson", state="")[0] == datetime(2016, 3, 2, 12, tzinfo=UTC)
    assert clip("capital", state="") == (None, "")


# -- what stores keep --------------------------------------------------------------------------------------


def test_store_gives_nothing_older_than_it_keeps_and_says_so(
    engine: Callable[..., PolicyEngine], asking: Ask, stores: tuple[StoreFacts, ...]
) -> None:
    """Each store its own retention: the mobile one is cut to two years, the other isn't (A8)."""
    request = asking(period_start=datetime(2022, 1, 1, tzinfo=UTC))
    decision = engine(CIVIL).decide(request, stores)
    fixed, mobile = (store.obligations for store in decision.stores)
    assert fixed is not None
    assert mobile is not None
    assert mobile.kept_since == datetime(2024, 3, 2, 12, tzinfo=UTC)
    assert fixed.kept_since == request.now - timedelta(days=3650)
    told = [
        (item.name, item.policy_id, item.text) for item in mobile.applied if "retention" in item.policy_id
    ]
    assert told == [
        (
            "clip_retention",
            "retention.mobile",
            "reads of `mobile` stores are given for 2 years, since 2024-03-02",
        )
    ]
    assert not any(item.name == "clip_retention" for item in fixed.applied)
    assert decision.obligations is not None
    assert decision.obligations.earliest == datetime(2021, 3, 2, 12, tzinfo=UTC)


def test_period_before_all_that_is_kept_is_refused_with_the_rule(
    engine: Callable[..., PolicyEngine], asking: Ask
) -> None:
    """Nothing of the period is kept: a refusal that cites the retention (A8)."""
    request = asking(
        period_start=datetime(2023, 1, 1, tzinfo=UTC), period_end=datetime(2024, 3, 2, 12, tzinfo=UTC)
    )
    decision = engine(CIVIL).decide(request, [StoreFacts(store_id="patrol", store_class="mobile")])
    assert decision.effect is Effect.REFUSE
    assert [(rule.policy_id, rule.rules, rule.document) for rule in decision.rules] == [
        ("retention.mobile", ("A8",), "CBP 4")
    ]
    assert "2 years" in decision.public_reason


# -- the file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("America/Los_Angeles", "America/Los_Angles", 2, "zone `America/Los_Angles` is not known"),
        ("America/Los_Angeles", "../etc/passwd", 2, "must be the name of an IANA zone"),
        ("America/Los_Angeles", "America", 2, "zone `America` is not known"),
        ("zone =", "zonee =", 2, "did you mean `zone`"),
        ("years = 2\n", "years = 0\n", 5, "a number from 1 to 1000"),
        ("years = 2\n", "years = true\n", 5, "a number from 1 to 1000"),
        ("years = 2\n", "years = 2\ndays = 3\n", 4, "either `years` or `days`"),
        ("years = 2\n", "", 4, "either `years` or `days`"),
        ('rule = "A8"\ndocument = "CBP 4"', 'document = "CBP 4"', 4, "`rule` must be a text"),
        ("[retention.mobile]", "[retention.submarine]", 4, "no such class of stores"),
        ('years = "none"', 'years = "never"', 24, 'or "none"'),
        ('jurisdiction = "US-CA"', 'jurisdiction = "California"', 37, "such as `US-CA`"),
        ('offence = "arson"', 'offence = "Arson!"', 29, "a word such as `general`"),
        ('offence = "arson"', 'offence = "capital"', 28, "`capital` of US has a statute already"),
        ('text = "misdemeanors"', 'txt = "misdemeanors"', 40, "did you mean `text`"),
        ("years = 10", "years = ten", 31, "is not TOML"),
    ],
)
def test_fault_in_the_file_is_named_with_its_line(
    write_bundle: Write, old: str, new: str, line: int, said: str
) -> None:
    """A bundle whose windows can't be understood isn't activated; it says where and what would be right."""
    folder = write_bundle(CIVIL)
    assert old in TABLE
    (folder / "windows.toml").write_text(TABLE.replace(old, new, 1))
    with pytest.raises(BundleInvalid) as found:
        PolicyBundle.load(folder)
    assert said in str(found.value)
    assert found.value.path.name == "windows.toml"
    assert found.value.line == line


def test_windows_are_part_of_the_digest(write_bundle: Write) -> None:
    """The table is law: another table is another bundle, and one held in memory reads the same."""
    folder = write_bundle(CIVIL)
    without = PolicyBundle.load(folder)
    (folder / "windows.toml").write_text(TABLE)
    bundle = PolicyBundle.load(folder)
    (folder / "windows.toml").write_text(TABLE.replace("years = 10", "years = 11"))
    assert len({without.digest, bundle.digest, PolicyBundle.load(folder).digest}) == 3
    assert without.windows == Windows()
    assert PolicyBundle.parse(bundle.files, folder).windows == bundle.windows
