"""What an end's `state.db` keeps, holds back and forgets: the SQL of retention (L5).

A run that deletes stands in the table `retention_run` until it is done, so that one that was interrupted goes
on. Envelopes go before openings and the newest entries before older ones: the opening of the case, by which a
hold is found, goes last of its exchange.

SQLite leaves copies of deleted rows in the free space of its pages, even with `secure_delete`: a page that is
split keeps a stale copy of what moved. So a run ends with `VACUUM`, and with a checkpoint that cuts SQLite's
own write-ahead file to nothing.
"""
# ruff: noqa: S608  statements are put together from the names of this module's own tables alone

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from comity.audit.errors import LogUnwritable
from comity.audit.openings import make_tables
from comity.audit.retention import Cutoffs

CASE: Final = "case"
"""The private field that names a case."""
PATIENCE_SECONDS = 10.0
"""How long others may hold the file before a step gives up."""
BATCH: Final = 500
"""Entries whose rows are deleted in one transaction."""
KINDS: Final = ("envelopes", "openings")
"""Tables in the order in which a run clears them."""
_IN_MEMORY: Final = 128 << 20
"""Bytes up to which `VACUUM` builds its copy in memory; a larger one goes into the end's own folder."""
_TABLES: Final = """
create table if not exists holds (folded text primary key, held_case text not null, at integer not null);
create table if not exists held_exchanges (
    exchange blob not null, folded text not null, primary key (exchange, folded)) without rowid;
create table if not exists held_entries (
    "index" integer not null, folded text not null, primary key ("index", folded)) without rowid;
create table if not exists retention_due ("index" integer primary key);
create table if not exists retention_run (
    id integer primary key check (id = 1), run text not null, why text not null, peer text not null,
    now_ms integer not null, openings_before integer not null, envelopes_before integer not null,
    openings_below integer not null, envelopes_below integer not null,
    openings integer not null default 0, openings_first integer, openings_last integer,
    envelopes integer not null default 0, envelopes_first integer, envelopes_last integer);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Rows of one table: how many, and the first and last entry of which they are; None for none."""

    count: int = 0
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is due, or was deleted, by table; and how many entries are past their time and held."""

    openings: Extent
    envelopes: Extent
    held: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is due."""
        return not self.openings.count and not self.envelopes.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that deletes: its name, why, of whose users' records (empty: all), and what is due."""

    run: str
    why: str
    peer: str
    cutoffs: Cutoffs


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A case that is held."""

    case: str = field(repr=False)
    at_ms: int


class Keeper:
    """Retention's side of one `state.db`. Raises `LogUnwritable` when the file can't be read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_tables = False

    @property
    def exists(self) -> bool:
        """Whether there is such a file: an end that kept nothing yet has none."""
        return self._path.exists()

    # -- holds ----------------------------------------------------------------------------------

    def hold(self, case: str, at_ms: int) -> bool:
        """Hold all records of a case, now and later; return whether it wasn't held before."""
        with self._begin() as connection:
            changed = connection.execute(
                "insert or ignore into holds values (?, ?, ?)", (fold(case), case.strip(), at_ms)
            ).rowcount
            _note_held(connection)
            return bool(changed)

    def lift(self, case: str) -> bool:
        """Hold a case no more; return whether it was held."""
        with self._begin() as connection:
            changed = connection.execute("delete from holds where folded = ?", (fold(case),)).rowcount
            connection.execute("delete from held_exchanges where folded = ?", (fold(case),))
            connection.execute("delete from held_entries where folded = ?", (fold(case),))
            return bool(changed)

    def is_held(self, case: str) -> bool:
        """Return whether a case is held."""
        with self._begin() as connection:
            found = connection.execute("select 1 from holds where folded = ?", (fold(case),)).fetchone()
            return found is not None

    def holds(self) -> list[Hold]:
        """Return the cases that are held, by name."""
        with self._begin() as connection:
            rows = connection.execute("select held_case, at from holds order by folded").fetchall()
            return [Hold(case=case, at_ms=at) for case, at in rows]

    # -- what is due ----------------------------------------------------------------------------

    def survey(self, cutoffs: Cutoffs, only: Iterable[int] | None = None) -> Survey:
        """Return what is due now; `only`: of these entries, whatever their time."""
        with self._begin() as connection:
            _note_held(connection)
            if only is not None:
                connection.execute('create temp table retention_due ("index" integer primary key)')
                _fill_due(connection, "temp.retention_due", only)
            extents, held = dict[str, Extent](), set[int]()
            for table in KINDS:
                if only is not None:
                    due, values = _BY_LIST, tuple[int, ...]()
                else:
                    due, values = _BY_TIME, (cutoffs.of(table), _below(connection, table, cutoffs))
                row = connection.execute(
                    f'select count(*), min("index"), max("index") from {table} where {due} and {_NOT_HELD}',
                    values,
                ).fetchone()
                extents[table] = Extent(count=row[0], first=row[1], last=row[2])
                found = connection.execute(
                    f'select distinct "index" from {table} where {due} and not ({_NOT_HELD})',
                    values,
                )
                held.update(index for (index,) in found)
            if only is not None:
                connection.execute("drop table temp.retention_due")
            return Survey(openings=extents["openings"], envelopes=extents["envelopes"], held=len(held))

    # -- a run ----------------------------------------------------------------------------------

    def begin(self, run: Run, only: Iterable[int] | None = None) -> None:
        """Write down that a run begins; `only`: it deletes these entries' rows, whatever their time."""
        with self._begin() as connection:
            _note_held(connection)
            connection.execute("delete from main.retention_due")
            _fill_due(connection, "main.retention_due", only or ())
            cutoffs = run.cutoffs
            below = [_below(connection, table, cutoffs) for table in ("openings", "envelopes")]
            connection.execute(
                "insert into retention_run (id, run, why, peer, now_ms, openings_before, envelopes_before, "
                "openings_below, envelopes_below) values (1, ?, ?, ?, ?, ?, ?, ?, ?)",
                (run.run, run.why, run.peer, cutoffs.now, cutoffs.openings, cutoffs.envelopes, *below),
            )

    def pending(self) -> Run | None:
        """Return the run that began and is not done; None if there is none."""
        with self._begin() as connection:
            row = connection.execute(
                "select run, why, peer, now_ms, openings_before, envelopes_before from retention_run"
            ).fetchone()
        if row is None:
            return None
        run, why, peer, now, openings, envelopes = row
        cutoffs = Cutoffs(now=now, openings=openings, envelopes=envelopes)
        return Run(run=run, why=why, peer=peer, cutoffs=cutoffs)

    def delete_some(self, run: Run) -> bool:
        """Delete the next rows of the run; return whether there may be more. What is held stays."""
        with self._begin() as connection:
            for table in KINDS:
                if run.why == CONTRACT:
                    due, values = _BY_LIST, tuple[int, ...]()
                else:
                    (below,) = connection.execute(f"select {table}_below from retention_run").fetchone()
                    due, values = _BY_TIME, (run.cutoffs.of(table), below)
                indexes = [
                    index
                    for (index,) in connection.execute(
                        f'select distinct "index" from {table} where {due} and {_NOT_HELD} '
                        'order by "index" desc limit ?',
                        (*values, BATCH),
                    )
                ]
                if not indexes:
                    continue
                marks = ",".join("?" * len(indexes))
                count = connection.execute(
                    f'delete from {table} where "index" in ({marks})',
                    indexes,
                ).rowcount
                connection.execute(
                    f"update retention_run set {table} = {table} + ?, "
                    f"{table}_first = min(ifnull({table}_first, ?), ?), "
                    f"{table}_last = max(ifnull({table}_last, ?), ?)",
                    (count, indexes[-1], indexes[-1], indexes[0], indexes[0]),
                )
                return True
        return False

    def deleted(self) -> Survey:
        """Return what the pending run has deleted so far."""
        with self._begin() as connection:
            row = connection.execute(
                "select openings, openings_first, openings_last, envelopes, envelopes_first, envelopes_last "
                "from retention_run"
            ).fetchone()
        return Survey(
            openings=Extent(count=row[0], first=row[1], last=row[2]),
            envelopes=Extent(count=row[3], first=row[4], last=row[5]),
        )

    def scrub(self) -> None:
        """Leave no byte of what was deleted in the file, nor in SQLite's own write-ahead file.

        While it runs nobody else writes to the file. Raises `LogUnwritable` if somebody reads for too long.
        """
        with self._connected() as connection:
            if self._path.stat().st_size <= _IN_MEMORY:
                connection.execute("pragma temp_store = memory")
            else:
                folder = str(self._path.absolute().parent).replace("'", "''")
                connection.execute(f"pragma temp_store_directory = '{folder}'")
            connection.execute("vacuum")
            busy, _, _ = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
            if busy:
                raise LogUnwritable(
                    f"openings: `{self._path.name}` is being read, so what was deleted isn't gone yet"
                )

    def end(self) -> None:
        """Write down that the run is done."""
        with self._begin() as connection:
            connection.execute("delete from retention_run")
            connection.execute("delete from main.retention_due")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(
                sqlite3.connect(self._path, timeout=PATIENCE_SECONDS, isolation_level=None)
            ) as connection:
                connection.execute("pragma journal_mode = wal")
                connection.execute("pragma synchronous = full")
                connection.execute("pragma secure_delete = on")
                connection.create_function("folded", 1, fold, deterministic=True)
                yield connection
        except (sqlite3.Error, OSError) as problem:
            raise LogUnwritable(f"openings: `{self._path.name}` can't be cleared ({problem})") from None

    @contextmanager
    def _begin(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            if not self._has_tables:
                make_tables(self._path)
                connection.executescript(_TABLES)
                self._has_tables = True
            connection.execute("begin immediate")
            try:
                yield connection
            except BaseException:
                connection.execute("rollback")
                raise
            connection.execute("commit")


CONTRACT: Final = "contract"
"""Why a run deletes exactly the entries that were exported at a contract's end."""
TIME: Final = "time"
"""Why a run deletes what is past its time."""

_BEYOND: Final = (1 << 63) - 1
_BY_TIME: Final = 'at <= ? and "index" < ?'
_BY_LIST: Final = '"index" in (select "index" from retention_due)'
_NOT_HELD: Final = (
    '"index" not in (select "index" from held_entries) '
    "and (exchange is null or exchange not in (select exchange from held_exchanges))"
)


def fold(case: object) -> str:
    """Return a case's number as cases are compared: without case and outer blanks."""
    return str(case).strip().casefold()


def _below(connection: sqlite3.Connection, table: str, cutoffs: Cutoffs) -> int:
    """Return the index below which a table's rows may be due.

    Entries are in the order in which they were made, whatever the clock said: what stands behind an entry
    that is not due isn't due either, even if the clock was behind when it was made. A time to come is none.
    """
    below = _BEYOND
    for each in KINDS:
        row = connection.execute(
            f'select "index" from {each} where +at > ? and +at <= ? and "index" < ? order by "index" limit 1',
            (cutoffs.of(table), cutoffs.now, below),
        ).fetchone()
        below = below if row is None else row[0]
    return below


def _fill_due(connection: sqlite3.Connection, table: str, indexes: Iterable[int]) -> None:
    connection.executemany(
        f"insert or ignore into {table} values (?)",
        ((index,) for index in indexes),
    )


def _note_held(connection: sqlite3.Connection) -> None:
    """Note which exchanges and entries the holds in force are about; what was noted before stays noted.

    It stays because the opening of its case may be gone by now.
    """
    if connection.execute("select 1 from holds limit 1").fetchone() is None:
        return
    found = connection.execute(
        'select "index", exchange, folded(value) from openings '
        "where name = ? and folded(value) in (select folded from holds)",
        (CASE,),
    ).fetchall()
    connection.executemany(
        "insert or ignore into held_exchanges values (?, ?)", ((e, f) for _, e, f in found if e is not None)
    )
    connection.executemany("insert or ignore into held_entries values (?, ?)", ((i, f) for i, _, f in found))
