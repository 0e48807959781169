"""The ledger of budgets: exact, durable, and without a plate, a user or a text in it."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from comity.adapters.errors import StateUnwritable
from comity.adapters.spending import Looked, Spending
from comity.adapters.state import METADATA, open_state
from comity.policy.budgets import Budget, Scope, Span, read_budgets

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Desk:
    """A ledger, its clock, and who asks it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.now = NOON
        if folder is None:  # on no disk, for many examples
            self.engine = create_engine("sqlite://", poolclass=StaticPool)
            METADATA.create_all(self.engine)
        else:
            self.engine = open_state(folder / "state.db")
        self.ledger = self.open()

    def open(self) -> Spending:
        """The ledger as after a start of the process."""
        self.ledger = Spending(self.engine, clock=lambda: self.now)
        return self.ledger

    def look(
        self, *plates: str, agency: str = "lahd", user: str = "j.ortega", text: str = "cargo theft"
    ) -> Looked:
        return self.ledger.look(agency=agency, user=user, plates=plates or ("8ABC123",), likeness=text)

    def ask(self, *plates: str, **words: str) -> None:
        """Ask and have it written, as the path does."""
        write = self.ledger.spend(self.look(*plates, **words))
        with self.engine.begin() as connection:
            write(connection)

    def rows(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM spent_budgets").scalar_one())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_each_agency_user_and_plate_is_counted_by_itself(desk: Desk) -> None:
    """One agency can't use up another's budget, nor learn of its questions, and a plate is one's own (L6)."""
    desk.ask("8ABC123")
    desk.ask("7XYZ999", user="k.lee")
    spent = desk.look("8ABC123", user="k.lee").spent
    assert (spent.agency_hour, spent.user_hour, spent.plate_hour) == (2, 1, 1)
    other = desk.look("8ABC123", agency="sheriff").spent
    assert other.written() == {}


def test_hour_and_day_slide(desk: Desk) -> None:
    """What was asked an hour ago counts for the day; a day later it counts no more, to the millisecond."""
    desk.ask()
    desk.now = NOON + HOUR - timedelta(milliseconds=1)
    assert desk.look().spent.user_hour == 1
    desk.now = NOON + HOUR
    assert (desk.look().spent.user_hour, desk.look().spent.user_day) == (0, 1)
    desk.now = NOON + DAY
    assert desk.look().spent.written() == {}


def test_restart_keeps_the_counts(desk: Desk) -> None:
    """Whoever used up a budget doesn't get it back because the provider's end was started anew."""
    for _ in range(3):
        desk.ask("8ABC123", "BABC123")
    before = desk.look("8ABC123").spent
    assert before.user_day == 6 and before.plate_day == 3
    desk.open()
    assert desk.look("8ABC123").spent == before
    assert desk.look("8XYZ999").text_plates == 2


@pytest.mark.parametrize("back", [timedelta(seconds=1), timedelta(seconds=59), HOUR, timedelta(days=400)])
@pytest.mark.parametrize("restarted", [False, True])
def test_clock_that_steps_back_frees_nothing(desk: Desk, back: timedelta, restarted: bool) -> None:
    """Neither at once nor after a restart; and a day later all of it is free, however far ahead it was."""
    desk.ask()
    desk.now = NOON - back
    if restarted:
        desk.open()
    assert desk.look().spent.user_hour == 1
    desk.ask()
    assert desk.look().spent.user_hour == 2
    desk.now = NOON - back + HOUR - timedelta(milliseconds=1)
    assert desk.look().spent.user_hour == 2
    desk.now = NOON - back + DAY + timedelta(minutes=1)
    assert desk.look().spent.written() == {}
    desk.ask()
    assert desk.rows() <= 2 and len(desk.open()) == 1


def test_no_plate_user_or_text_is_in_the_database(desk: Desk, tmp_path: Path) -> None:
    """Keyed hashes alone: who reads the table without its key can't even test a plate."""
    for number in range(20):
        desk.ask(f"8ABC{number:03}", user="j.ortega", text="cargo theft at the pier")
    desk.engine.dispose()
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for word in (b"8ABC", b"ortega", b"cargo", b"lahd"):
        assert word not in data
    other = Desk(Path(tempfile.mkdtemp(dir=tmp_path)))
    assert other.look("8ABC001").plates != desk.look("8ABC001").plates


def test_rows_are_dropped_after_a_day(desk: Desk) -> None:
    """Nothing of it is kept for longer than it counts, and the memory goes with it."""
    for number in range(5):
        desk.ask(f"8ABC00{number}")
    desk.now = NOON + DAY
    desk.ask()
    assert (desk.rows(), len(desk.ledger)) == (1, 1)


def test_one_text_for_many_plates_is_counted_by_plate_and_user(desk: Desk) -> None:
    """Each plate once, this one counted in; another person's text, or another text, is another matter."""
    for plate in ("8ABC123", "7XYZ999", "8ABC123"):
        desk.ask(plate)
    assert desk.look("8ABC123").text_plates == 2
    assert desk.look("6DEF456").text_plates == 3
    assert desk.look("6DEF456", user="k.lee").text_plates == 1
    assert desk.look("6DEF456", text="kidnapping").text_plates == 1
    desk.now = NOON + DAY
    assert desk.look("6DEF456").text_plates == 1


def test_state_that_cannot_be_read_opens_no_ledger(tmp_path: Path) -> None:
    """An adapter that can't know what was spent doesn't begin with nothing."""
    engine = open_state(tmp_path / "state.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE spent_budgets")
    with pytest.raises(StateUnwritable):
        Spending(engine, clock=lambda: NOON)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 5_000_000),  # milliseconds until the next question
        st.sampled_from(["a", "b"]),
        st.sampled_from([("P",), ("Q",), ("P", "Q")]),
        st.booleans(),  # whether the end is started anew before it
    ),
    max_size=40,
)
BUDGETS = st.lists(
    st.builds(Budget, scope=st.sampled_from(Scope), span=st.sampled_from(Span), most=st.integers(2, 6)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, budgets=BUDGETS)
def test_never_more_than_the_budget_in_any_window(
    steps: list[tuple[int, str, tuple[str, ...], bool]], budgets: list[Budget]
) -> None:
    """Whenever asked, by whom, about what, and however often the end starts: no window holds more.

    And who comes back at the instant that was told is let in, if nothing else was asked until then.
    """
    desk = Desk()
    answered: list[tuple[datetime, str, tuple[str, ...]]] = []
    for wait, user, plates, restarted in steps:
        desk.now += timedelta(milliseconds=wait)
        if restarted:
            desk.open()
        looked = desk.look(*plates, user=user)
        over = [budget for budget in budgets if budget.is_exceeded(looked.spent, len(plates))]
        if not over:
            desk.ask(*plates, user=user)
            answered.append((desk.now, user, plates))
            continue
        at, then = desk.now, desk.ledger.fits_at(looked, over)
        assert then > at
        desk.now = then - timedelta(milliseconds=1)
        early = desk.look(*plates, user=user)
        assert any(budget.is_exceeded(early.spent, len(plates)) for budget in over)
        desk.now = then
        again = desk.look(*plates, user=user)
        assert not any(budget.is_exceeded(again.spent, len(plates)) for budget in over)
        desk.now = at
        desk.open()  # for the ledger has seen a later time
    desk.engine.dispose()
    for budget in budgets:
        counted: dict[str, list[datetime]] = {}
        for at, user, plates in answered:
            match budget.scope:
                case Scope.AGENCY:
                    counted.setdefault("", []).extend([at] * len(plates))
                case Scope.USER:
                    counted.setdefault(user, []).extend([at] * len(plates))
                case Scope.PLATE:
                    for plate in plates:
                        counted.setdefault(plate, []).append(at)
        for times in counted.values():
            for first, last in zip(times, itertools.islice(times, budget.most, None), strict=False):
                assert last - first >= budget.span.length


def test_budgets_are_told_in_words() -> None:
    """What a person reads names number, span and whose it is."""
    said = [budget.text for budget in read_budgets("agency 1/hour, user 2/day, plate 3/day")]
    assert said == [
        "1 question an hour for one agency",
        "2 questions a day for one user",
        "3 questions a day about one plate",
    ]


async def test_what_is_spent_is_counted_before_it_is_written(desk: Desk) -> None:
    """Fifty questions that come together don't all see an empty ledger."""
    admitted = 0

    async def ask() -> None:
        nonlocal admitted
        looked = desk.look()
        if looked.spent.user_hour < 3:
            write = desk.ledger.spend(looked)
            admitted += 1
            await asyncio.sleep(0)
            with desk.engine.begin() as connection:
                write(connection)

    await asyncio.gather(*(ask() for _ in range(50)))
    assert admitted == 3
