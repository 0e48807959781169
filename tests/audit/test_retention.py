"""What an end keeps beside its log goes when its time has come, and every proof still verifies (L5)."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from comity.audit.acts import enter_act, serving_acts
from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import Entry, LoggedEntry, parse_entry
from comity.audit.errors import LogUnwritable, RetentionRefused
from comity.audit.keeping import Keeper
from comity.audit.log import SignedLog
from comity.audit.merkle import leaf_hash, verify_inclusion
from comity.audit.note import LogKey
from comity.audit.openings import read_openings
from comity.audit.proofs import TreeProver
from comity.audit.retaining import Forgetting, Retaining, forget
from comity.audit.retention import Believable, RetentionTerms, parse_terms
from comity.audit.tiles import TileFolder
from tests.support.logs import NOON

ORIGIN = "lapd.example/adapter"
TERMS = RetentionTerms(openings_days=365, envelopes_days=100, grace_days=0)
DAY = timedelta(days=1)


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class End:
    """An end whose log is open, its clock, and its timer."""

    def __init__(self, home: Path, log: SignedLog, clock: Clock) -> None:
        self.home, self.log, self.clock = home, log, clock
        self.believable = Believable(since=NOON - 9_999 * DAY, until=NOON + 9_999 * DAY)

    @property
    def retaining(self) -> Retaining:
        return Retaining(
            home=self.home,
            agency="lapd",
            terms=TERMS,
            log=self.log,
            believable=lambda: self.believable,
            clock=self.clock,
        )

    async def received(self, number: int, *, case: str = "26-0417", at: datetime | None = None) -> None:
        """Log a query, its decision and what was kept beside it."""
        exchange = number.to_bytes(16, "big")
        public = {"agency": "lapd", "peer": "sheriff"}
        at = at or self.clock()
        await self.log.append(
            Entry(
                kind="received",
                at=at,
                exchange=exchange,
                public=public,
                private={"plate": f"PLATE{number:04d}", "case": case, "user": "j.ortega"},
                attachments={"query": b"query of PLATE%04d " % number * 99},
            ),
            Entry(
                kind="decided",
                at=at,
                exchange=exchange,
                public=public,
                private={"rules": f"rule about PLATE{number:04d}"},
            ),
        )

    def entries(self) -> list[LoggedEntry]:
        size = peek_checkpoint((self.home / "log/checkpoint").read_bytes()).size
        return [parse_entry(leaf) for _, leaf in TileFolder(self.home / "log").all_entries(size)]

    def bytes_of(self, text: str) -> list[str]:
        """Return the files of the end's folder in which these bytes stand."""
        files = [path for path in self.home.rglob("*") if path.is_file()]
        return sorted(path.name for path in files if text.encode() in path.read_bytes())


@asynccontextmanager
async def running(home: Path, clock: Clock) -> AsyncIterator[End]:
    key_file = home / "keys" / "log.key"
    if not key_file.exists():
        LogKey.generate(ORIGIN).save(key_file)
    log = await SignedLog.open(home, origin=ORIGIN, key=LogKey.load(key_file, ORIGIN), clock=clock)
    try:
        yield End(home, log, clock)
    finally:
        await log.close()


@pytest.fixture
async def end(tmp_path: Path) -> AsyncIterator[End]:
    async with running(tmp_path, Clock()) as one:
        yield one


async def test_after_their_time_no_byte_is_left_and_every_proof_verifies(end: End) -> None:
    """Openings, envelopes and segments of 400 days ago are gone from every file; the young stay (L5)."""
    for number in range(40):
        await end.received(number)
    end.clock.now += 400 * DAY
    await end.received(999)
    await end.log.publish()
    assert len(end.bytes_of("PLATE0007")) >= 2, "the plate stands in the tables and in the segment"
    with closing(sqlite3.connect(end.home / "state.db")) as other:  # as the adapter's own tables have it
        other.execute("select count(*) from openings").fetchone()
        gone = await end.retaining.look()
        assert end.bytes_of("PLATE0007") == []

    assert gone is not None
    assert (gone.openings.count, gone.openings.first, gone.openings.last) == (160, 0, 79)
    assert (gone.envelopes.count, gone.envelopes.last) == (40, 78)
    assert [number for number in range(40) if end.bytes_of(f"PLATE{number:04d}")] == []
    assert end.bytes_of("PLATE0999") != []
    await end.log.publish()
    size = end.log.published_size
    prover = TreeProver(TileFolder(end.home / "log"), size)
    root = peek_checkpoint(end.log.checkpoint()).root
    for index, leaf in TileFolder(end.home / "log").all_entries(size):
        path = prover.inclusion(index)
        verify_inclusion(leaf_hash=leaf_hash(leaf), index=index, size=size, path=path, root=root)


async def test_deletion_is_logged_before_and_after_without_a_private_value(end: End) -> None:
    """The log tells which kinds, which entries, before when and why, and nothing of what they held (L5)."""
    await end.received(1)
    await end.log.publish()
    end.clock.now += 200 * DAY
    await end.retaining.look()
    await end.log.publish()
    begun, done = [entry for entry in end.entries() if entry.kind == "deleted"]
    assert begun.public["run"] == done.public["run"]
    assert [begun.public["stage"], done.public["stage"]] == ["begun", "done"]
    assert done.public["why"] == "time"
    assert done.public["envelopes"] == {"count": 1, "first": 0, "last": 0}
    assert done.public["openings"] == {"count": 0}, "their time is a year"
    assert begun.commitments == done.commitments == {}


async def test_nothing_goes_before_its_time(end: End) -> None:
    """A day early, and a run finds nothing; with nothing to delete nothing is logged."""
    await end.received(1)
    end.clock.now += 99 * DAY
    await end.log.publish()
    assert await end.retaining.look() is None
    assert set(read_openings(end.home / "state.db")) == {0, 1}
    assert end.bytes_of("query of PLATE0001") != []
    assert [entry.kind for entry in end.entries()] == ["received", "decided"]


async def test_clock_years_ahead_deletes_nothing(end: End) -> None:
    """Beyond the time for which the authority's timestamp counts, a clock is not believed."""
    await end.received(1)
    await end.log.publish()
    end.believable = Believable(since=NOON - DAY, until=NOON + 30 * DAY)
    end.clock.now += 3_000 * DAY
    with pytest.raises(RetentionRefused, match="either the clock is ahead, or a newer timestamp"):
        await end.retaining.look()
    assert set(read_openings(end.home / "state.db")) == {0, 1}


async def test_clock_before_the_roster_is_not_believed_either(end: End) -> None:
    """A clock that fell back behind the roster's signature is wrong, and says so."""
    end.believable = Believable(since=NOON, until=NOON + DAY)
    end.clock.now -= DAY
    with pytest.raises(RetentionRefused, match="the clock is behind"):
        await end.retaining.look()


async def test_entry_made_while_the_clock_was_behind_is_as_young_as_those_before_it(end: End) -> None:
    """The order of entries is true whatever the clock said: what stands behind a young one is young."""
    await end.received(1)
    await end.received(2, at=NOON - 3_000 * DAY)
    await end.log.publish()
    end.clock.now += DAY
    assert await end.retaining.look() is None


async def test_entry_from_the_future_keeps_no_other_from_going(end: End) -> None:
    """A time that is still to come says nothing of the entries behind it."""
    await end.received(1, at=NOON + 9_000 * DAY)
    await end.received(2)
    await end.log.publish()
    end.clock.now += 500 * DAY
    gone = await end.retaining.look()
    assert gone is not None and gone.openings.first == 2
    assert set(read_openings(end.home / "state.db")) == {0, 1}


async def test_held_case_stays_whole_and_goes_when_the_hold_is_lifted(end: End) -> None:
    """A legal hold keeps every opening and envelope of the case's exchanges, and nobody else's (L5)."""
    await end.received(1, case="HELD-1")
    await end.received(2)
    await end.log.publish()
    keeper = Keeper(end.home / "state.db")
    assert keeper.hold(" held-1 ", 0)
    end.clock.now += 500 * DAY
    gone = await end.retaining.look()
    assert gone is not None and (gone.openings.first, gone.openings.last) == (2, 3)
    assert set(read_openings(end.home / "state.db")) == {0, 1}
    assert end.bytes_of("query of PLATE0001") != []
    assert await end.retaining.look() is None
    assert keeper.lift("HELD-1")
    await end.retaining.look()
    assert end.bytes_of("PLATE0001") == []


async def test_one_of_two_holds_is_lifted(end: End) -> None:
    """What the other hold is about stays."""
    await end.received(1, case="HELD-1")
    await end.received(2, case="HELD-2")
    await end.log.publish()
    keeper = Keeper(end.home / "state.db")
    keeper.hold("HELD-1", 0)
    keeper.hold("HELD-2", 0)
    keeper.lift("HELD-1")
    assert [hold.case for hold in keeper.holds()] == ["HELD-2"]
    end.clock.now += 500 * DAY
    await end.retaining.look()
    assert set(read_openings(end.home / "state.db")) == {2, 3}


STEPS = ("begin", "delete_some", "scrub", "deleted", "end")


@pytest.mark.parametrize("step", STEPS)
async def test_run_that_was_interrupted_goes_on(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any of its steps, it ends after the restart, under its own name, with exact counts."""
    clock = Clock()
    async with running(tmp_path, clock) as end:
        for number in range(3):
            await end.received(number)
        await end.log.publish()
        clock.now += 500 * DAY
        monkeypatch.setattr("comity.audit.keeping.BATCH", 2)
        calls: dict[str, int] = {}
        real: Callable[..., object] = getattr(Keeper, step)

        def killed(keeper: Keeper, *arguments: object) -> object:
            calls[step] = calls.get(step, 0) + 1
            if calls[step] == (2 if step == "delete_some" else 1):
                raise LogUnwritable("killed")
            return real(keeper, *arguments)

        with monkeypatch.context() as patched:
            patched.setattr(Keeper, step, killed)
            with pytest.raises(LogUnwritable, match="killed"):
                await end.retaining.look()
    async with running(tmp_path, clock) as end:
        await end.retaining.look()
        await end.log.publish()
        assert end.bytes_of("PLATE000") == []
        told = [entry.public for entry in end.entries() if entry.kind == "deleted"]
    done = [public for public in told if public["stage"] == "done"]
    assert done[-1]["openings"] == {"count": 12, "first": 0, "last": 5}
    if step != "begin":
        assert {public["run"] for public in told} == {told[0]["run"]}


async def test_hold_that_comes_during_a_run_counts_at_once(end: End, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the run has not deleted yet when a case is held stays."""
    await end.received(1, case="HELD-1")
    await end.received(2)
    await end.log.publish()
    end.clock.now += 500 * DAY
    real = Keeper.begin

    def held_then(keeper: Keeper, *arguments: object) -> None:
        real(keeper, *arguments)  # type: ignore[arg-type]
        Keeper(end.home / "state.db").hold("HELD-1", 0)

    monkeypatch.setattr(Keeper, "begin", held_then)
    await end.retaining.look()
    assert set(read_openings(end.home / "state.db")) == {0, 1}


async def test_log_that_cannot_be_written_keeps_everything(end: End) -> None:
    """Nothing goes unless the log says before that it will."""
    await end.received(1)
    await end.log.publish()

    async def full(act: object) -> None:
        raise LogUnwritable("no space")

    wanted = Forgetting(home=end.home, agency="lapd", cutoffs=TERMS.cutoffs(NOON + 500 * DAY))
    with pytest.raises(LogUnwritable, match="no space"):
        await forget(wanted, full)
    assert set(read_openings(end.home / "state.db")) == {0, 1}
    assert Keeper(end.home / "state.db").pending() is None


async def test_command_beside_a_running_process_leaves_no_byte_either(end: End) -> None:
    """Deleted by a command, rows go from the tables, and from the segments of the process that serves."""
    await end.received(1)
    await end.log.publish()
    cutoffs = TERMS.cutoffs(NOON + 500 * DAY)
    async with serving_acts(end.home, end.log, clock=end.clock):
        wanted = Forgetting(home=end.home, agency="lapd", cutoffs=cutoffs)
        assert await forget(wanted, partial(enter_act, end.home)) is not None
        assert end.bytes_of("PLATE0001") == []


async def test_file_that_is_being_read_is_not_done_with_yet(
    end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody reads an older state of it, what was deleted is in it; the next run ends the work."""
    monkeypatch.setattr("comity.audit.keeping.PATIENCE_SECONDS", 0.05)
    await end.received(1)
    await end.log.publish()
    end.clock.now += 500 * DAY
    with closing(sqlite3.connect(end.home / "state.db", isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select * from openings").fetchall()
        with pytest.raises(LogUnwritable, match="is being read"):
            await end.retaining.look()
    await end.retaining.look()
    await end.log.publish()
    assert end.bytes_of("PLATE0001") == []
    assert [entry.public["stage"] for entry in end.entries() if entry.kind == "deleted"] == ["begun", "done"]


async def test_second_run_beside_the_first_is_refused(end: End) -> None:
    """Two runs, of a process and of a command, don't delete at the same time."""
    await end.received(1)
    await end.log.publish()
    wanted = Forgetting(home=end.home, agency="lapd", cutoffs=TERMS.cutoffs(NOON + 500 * DAY))

    async def another(act: object) -> None:
        with pytest.raises(RetentionRefused, match="another run is deleting"):
            await forget(wanted, another)

    assert await forget(wanted, another) is not None


async def test_timer_runs_by_itself_and_an_end_goes_on_writing(
    end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute after its start an end looks, without being asked, and takes entries meanwhile."""
    await end.received(1)
    await end.log.publish()
    end.clock.now += 500 * DAY
    monkeypatch.setattr("comity.audit.retaining.FIRST_LOOK", timedelta(0))
    timer = asyncio.create_task(end.retaining.run())
    try:
        for number in range(100, 130):
            await end.received(number)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            while "deleted" not in [entry.kind for entry in end.entries()] or end.bytes_of("PLATE0001"):
                await asyncio.sleep(0.05)
    finally:
        timer.cancel()
        await asyncio.gather(timer, return_exceptions=True)
    await end.log.publish()
    assert len(read_openings(end.home / "state.db")) == 60


@pytest.mark.parametrize("days", [1, 3])
async def test_segments_go_after_their_days_and_not_before(
    end: End, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is due: the published segment stays until `segments_days` are over, and goes then (L5)."""
    await end.received(1)
    await end.log.publish()
    segments = {path.name for path in end.home.rglob("*") if path.is_file() and path.suffix == ".wal"}
    monkeypatch.setattr("comity.audit.retaining.FIRST_LOOK", timedelta(0))
    assert segments
    monkeypatch.setattr("comity.audit.retaining.RETRY", timedelta(0))
    rounds = 0

    def clock() -> datetime:
        nonlocal rounds
        rounds += 1
        return end.clock()

    retaining = Retaining(
        home=end.home,
        agency="lapd",
        terms=replace(TERMS, segments_days=days, every_days=1),
        log=end.log,
        believable=lambda: end.believable,
        clock=clock,
    )
    timer = asyncio.create_task(retaining.run())

    async def comes_round() -> None:
        later = rounds + 10  # the timer reads the clock twice a round, or thrice
        async with asyncio.timeout(30):
            while rounds < later:
                assert not timer.done()
                await asyncio.sleep(0.01)

    try:
        for hours in (0, *(24 * day + 23 for day in range(days))):
            end.clock.now = NOON + timedelta(hours=hours)
            await comes_round()
            assert segments <= set(end.bytes_of("PLATE0001")), f"gone after {hours} hours"
        end.clock.now = NOON + days * DAY
        await comes_round()
        assert not segments & set(end.bytes_of("PLATE0001"))
    finally:
        timer.cancel()
        await asyncio.gather(timer, return_exceptions=True)
    assert end.bytes_of("PLATE0001") != [], "the opening is not due"
    await end.log.publish()
    assert [entry.kind for entry in end.entries()] == ["received", "decided"], "nothing was due, nothing said"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"openings_day": 3}, "did you mean `openings_days`"),
        ({"openings_days": 0}, "from 1 to 36525"),
        ({"openings_days": "7"}, "from 1 to 36525"),
        ({"openings_days": 10, "envelopes_days": 20}, "must not be more than `openings_days`"),
        ([], "must be a table"),
    ],
    ids=["misspelt", "zero", "text", "envelopes longer", "no table"],
)
def test_terms_that_cannot_be_meant_are_refused(table: object, words: str) -> None:
    """The text names the key and what would have been right."""
    with pytest.raises(RetentionRefused, match=words):
        parse_terms(table)


def test_terms_of_the_rules_are_the_defaults() -> None:
    """Seven years, and thirty days in which the agency gets its records (L5)."""
    terms = parse_terms(None)
    assert json.dumps([terms.openings_days, terms.envelopes_days, terms.grace_days]) == "[2557, 2557, 30]"
