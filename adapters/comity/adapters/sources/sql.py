"""A store in a database, through SQLAlchemy.

Nothing is ever written: only SELECT is sent, on a connection that is read-only where the database
offers it, with every identifier quoted and every value bound. The database narrows, `fold` decides:
what SQL selects may be more than what matches, never less, and each row is read and judged again in
Python. So SQL's idea of upper case, its collations and its date functions cannot add or lose a hit.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from pathlib import Path
from typing import Any, Self
from typing import cast as cast_to
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import ColumnElement, cast, column, func, or_, select
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import quoted_name
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.types import DateTime, Integer, LargeBinary, Numeric, Text, TypeEngine

from comity.adapters.errors import SourceFailed, SourceUnavailable
from comity.adapters.sources.mapping import SqlPlace, StoreMapping, nearest
from comity.adapters.sources.rows import ReadRow, RowReader
from comity.adapters.sources.source import (
    Progress,
    SourceDescription,
    SourceQuery,
    SourceResult,
    StoredRead,
    Survey,
)
from comity.adapters.sources.times import EARLIEST, LATEST, RowUnusable

_ROWS_AT_ONCE = 1_000
# Of SQLite's virtual machine, between two looks whether somebody still waits: well below a millisecond.
_STEPS_AT_ONCE = 20_000
# PostgreSQL gives up so much later than the exchange: its error never answers in the exchange's place.
_GRACE_SECONDS = 0.25
# No zone is further from UTC than 14 hours: two days on either side lose nothing.
_ZONES_DIFFER_BY = timedelta(days=2)
_CLOCKS_DIFFER_BY = timedelta(hours=3)


class SqlSource:
    """A table or view of reads. Safe to use from several threads at once."""

    def __init__(self, mapping: StoreMapping) -> None:
        """Connect and hold the mapping's columns against the table's.

        Raises:
            SourceUnavailable: The database cannot be reached, or the table is not as mapped.
        """
        if not isinstance(mapping.place, SqlPlace):
            raise SourceUnavailable(f"store `{mapping.store_id}`: not a database store")
        self._mapping = mapping
        self._place = mapping.place
        self._engine = _engine(mapping.place, mapping)
        try:
            self._open()
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise SourceUnavailable(f"store `{mapping.store_id}`: {_opening_fault(error)}") from None
        except SourceUnavailable:
            self._engine.dispose()
            raise

    def _open(self) -> None:
        """Look at the table and prepare what every search needs."""
        with self._engine.connect() as connection:
            schema, name = self._find_table(connection)
            types = {
                str(described["name"]): described["type"]
                for described in sqlalchemy.inspect(connection).get_columns(name, schema=schema)
            }
        available = list(types)
        used = _used_columns(self._mapping, available)
        listing = ", ".join(f"`{name}`" for name in available[:40])
        self._rows = RowReader(self._mapping, available, hint=f"; it has {listing}")
        folded = self._place.folded_plate
        if folded and folded not in available:
            raise SourceUnavailable(
                f"store `{self._mapping.store_id}`: no column `{folded}`, mapped to `folded_plate`"
                f"{nearest(folded, available)}"
            )
        self._table: TableClause = sqlalchemy.table(
            quoted_name(name, quote=True),
            *(column(quoted_name(each, quote=True)) for each in available),
            schema=quoted_name(schema, quote=True) if schema else None,
        )
        self._selected = [self._table.c[each] for each in used]
        self._positions = [available.index(each) for each in used]
        self._width = len(available)
        self._types: dict[str, TypeEngine[Any]] = types

    def _find_table(self, connection: Connection) -> tuple[str | None, str]:
        """Return schema and name of the mapped table or view."""
        inspector = sqlalchemy.inspect(connection)
        schema, _, name = self._place.table.rpartition(".")
        for candidate_schema, candidate in ((None, self._place.table), (schema or None, name)):
            if candidate in inspector.get_view_names(schema=candidate_schema) or inspector.has_table(
                candidate, schema=candidate_schema
            ):
                return candidate_schema, candidate
        names = inspector.get_table_names(schema=schema or None) + inspector.get_view_names(
            schema=schema or None
        )
        known = [f"{schema}.{each}" if schema else each for each in names]
        hint = nearest(self._place.table, known)
        hint = hint or f"; it has {', '.join(f'`{each}`' for each in known[:20]) or 'none'}"
        raise SourceUnavailable(f"store `{self._mapping.store_id}`: no table `{self._place.table}`{hint}")

    def search(self, query: SourceQuery) -> SourceResult:
        """Return the reads that answer the query, newest first.

        Raises:
            SourceFailed: The database failed; its message is not passed on, it may hold a value.
        """
        unusable = 0

        def matches() -> Iterator[StoredRead]:
            nonlocal unusable
            wanted = self._plate_is(query.folded_plate), *self._time_is_near(query)
            with closing(self._select(*wanted, query=query)) as rows:
                for row in rows:
                    if query.over.is_set():
                        raise SourceFailed(f"store `{self._mapping.store_id}`: nobody waits for it any more")
                    try:
                        read = self._rows.read(row)
                    except RowUnusable:
                        unusable += self._rows.folded_plate(row) == query.folded_plate
                        continue
                    if read.folded_plate == query.folded_plate and query.admits(read.read):
                        yield read.read

        try:
            newest = nlargest(query.limit + 1, matches(), key=lambda read: (read.captured_at, read.read_id))
        except SQLAlchemyError as error:
            raise SourceFailed(f"store `{self._mapping.store_id}`: {_searching_fault(error)}") from None
        return SourceResult(
            reads=tuple(newest[: query.limit]), truncated=len(newest) > query.limit, unusable=unusable
        )

    def _select(
        self, *conditions: ColumnElement[bool], query: SourceQuery | None = None
    ) -> Generator[Sequence[object]]:
        """Run one SELECT and give its rows, as wide as the table; what is not mapped is None.

        With a `query` it is interrupted once nobody waits for its answer.
        """
        statement = select(*self._selected).where(*conditions)
        with self._engine.connect() as connection, self._given_up_with(query, connection):
            options = {"stream_results": True, "yield_per": _ROWS_AT_ONCE}
            for selected in connection.execute(statement, execution_options=options):
                row: list[object] = [None] * self._width
                for position, value in zip(self._positions, selected, strict=True):
                    row[position] = value
                yield row

    @contextmanager
    def _given_up_with(self, query: SourceQuery | None, connection: Connection) -> Iterator[None]:
        """Have the database itself end a search that nobody waits for: else it would hold its thread."""
        match self._engine.dialect.name:
            case "sqlite" if query is not None:
                driver = cast_to(sqlite3.Connection, connection.connection.driver_connection)
                driver.set_progress_handler(query.over.is_set, _STEPS_AT_ONCE)
                try:
                    yield
                finally:
                    driver.set_progress_handler(None, 0)
            case "postgresql" if query is not None and query.seconds is not None:
                milliseconds = int(1_000 * (query.seconds + _GRACE_SECONDS))
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
                yield
            case _:
                yield

    def _plate_is(self, folded_plate: str) -> ColumnElement[bool]:
        """Return a condition that every row of this plate meets, and few others.

        With a folded column, equality: an index look-up. Without, the plate's characters in their
        order, in upper case, among whatever separators; and every row that is not plain ASCII,
        because only `fold` knows what such a row says.
        """
        if self._place.folded_plate:
            return self._table.c[self._place.folded_plate] == folded_plate
        name = self._mapping.columns["plate"][0]
        if name not in self._types:
            return sqlalchemy.true()
        plate = cast(self._table.c[name], Text)
        beyond_ascii = self._is_beyond_ascii(plate)
        if not folded_plate.isascii():
            return beyond_ascii
        in_order = func.upper(self._plain(plate)).like("%" + "%".join(folded_plate) + "%")
        return or_(in_order, beyond_ascii)

    def _plain(self, text: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a text compared by its bytes, where the database would do otherwise."""
        return text.collate("C") if self._engine.dialect.name == "postgresql" else text

    def _is_beyond_ascii(self, text: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return whether a text holds more than ASCII: its UTF-8 is longer than it is."""
        match self._engine.dialect.name:
            case "sqlite":
                return func.length(cast(text, LargeBinary)) != func.length(text)
            case "postgresql":
                return func.octet_length(func.convert_to(text, "UTF8")) != func.char_length(text)
            case _:
                return func.octet_length(text) != func.char_length(text)

    def _time_is_near(self, query: SourceQuery) -> list[ColumnElement[bool]]:
        """Return conditions that every row of the period meets, and few others; none if unsure."""
        names = self._mapping.columns["captured_at"]
        if len(names) != 1 or names[0] not in self._types:
            return []
        time, kind = self._table.c[names[0]], self._types[names[0]]
        match self._mapping.time.written:
            case "epoch" | "epoch_ms" as written:
                if not isinstance(kind, Integer | Numeric):
                    return []
                unit = 1 if written == "epoch" else 1_000
                first, after = query.start.timestamp() * unit, query.end.timestamp() * unit
                return [time >= int(first) - 1, time <= int(after) + 1]
            case "iso" if isinstance(kind, DateTime) and self._engine.dialect.name != "sqlite":
                return self._date_time_is_near(time, kind, query)
            case "iso":
                return self._text_is_near(time, query, "%Y-%m-%d")
            case written if written.startswith("%Y"):
                return self._text_is_near(time, query, "%Y")
            case _:
                return []

    def _date_time_is_near(
        self, time: ColumnElement[Any], kind: DateTime, query: SourceQuery
    ) -> list[ColumnElement[bool]]:
        """Compare the database's own date-times; local ones with room for a change of clocks."""
        start, end = max(query.start, EARLIEST), min(query.end, LATEST)
        if not kind.timezone:
            if self._mapping.time.zone is None:
                return []
            start, end = (
                moment.astimezone(self._mapping.time.zone).replace(tzinfo=None) for moment in (start, end)
            )
        return [time >= start - _CLOCKS_DIFFER_BY, time <= end + _CLOCKS_DIFFER_BY]

    def _text_is_near(
        self, time: ColumnElement[Any], query: SourceQuery, written: str
    ) -> list[ColumnElement[bool]]:
        """Compare the leading date or year of texts, with room for any zone."""
        if self._engine.dialect.name not in ("sqlite", "postgresql"):
            return []
        time = self._plain(cast(time, Text)) if self._engine.dialect.name == "postgresql" else time
        first = max(query.start, EARLIEST) - _ZONES_DIFFER_BY
        last = min(query.end, LATEST) + _ZONES_DIFFER_BY
        return [
            time >= first.astimezone(UTC).strftime(written),
            time < last.astimezone(UTC).strftime(written) + "~",
        ]

    def describe(self) -> SourceDescription:
        """Return what the store is, without reading it."""
        columns = {field: " ".join(names) for field, names in self._mapping.columns.items()}
        if self._place.folded_plate:
            columns["folded_plate"] = self._place.folded_plate
        return SourceDescription(
            store_id=self._mapping.store_id,
            store_class=self._mapping.store_class,
            kind="sql",
            place=self._place.table,
            columns=columns,
        )

    def survey(self, progress: Progress | None = None) -> Survey:
        """Read the whole table and return what it holds, counted.

        Raises:
            SourceFailed: The database failed.
        """
        rejected: Counter[str] = Counter()
        noted: Counter[str] = Counter()
        usable, wrongly_folded = 0, 0
        first: datetime | None = None
        last: datetime | None = None
        try:
            total = self._count()
            for done, row in enumerate(self._select(), start=1):
                if progress is not None and done % _ROWS_AT_ONCE == 0:
                    progress(done, total)
                try:
                    read = self._rows.read(row)
                except RowUnusable as reason:
                    rejected[str(reason)] += 1
                    continue
                usable += 1
                noted.update(read.notes)
                wrongly_folded += not self._is_folded_right(row, read)
                first = min(first or read.read.captured_at, read.read.captured_at)
                last = max(last or read.read.captured_at, read.read.captured_at)
        except SQLAlchemyError as error:
            raise SourceFailed(f"store `{self._mapping.store_id}`: {_searching_fault(error)}") from None
        return Survey(
            usable=usable,
            rejected=dict(rejected),
            noted=dict(noted),
            first=first,
            last=last,
            problems=self._problems(wrongly_folded),
        )

    def _count(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(self._table)).scalar_one())

    def _is_folded_right(self, row: Sequence[object], read: ReadRow) -> bool:
        """Return whether a row's folded column, if there is one, holds what `fold` gives."""
        if not self._place.folded_plate:
            return True
        return row[list(self._types).index(self._place.folded_plate)] == read.folded_plate

    def _problems(self, wrongly_folded: int) -> tuple[str, ...]:
        if not wrongly_folded:
            return ()
        return (
            f"column `{self._place.folded_plate}` differs from the folded plate in {wrongly_folded} rows: "
            "they will not be found",
        )

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _used_columns(mapping: StoreMapping, available: Sequence[str]) -> list[str]:
    """Return the table's columns that the mapping looks at, so that nothing else is fetched."""
    named = [name for names in mapping.columns.values() for name in names]
    named += [name for image in mapping.images for name in (image.image_id, image.digest) if name]
    if isinstance(mapping.place, SqlPlace) and mapping.place.folded_plate:
        named.append(mapping.place.folded_plate)
    return [
        each
        for each in available
        if any(name == each or name.startswith((f"{each}.", f"{each}[")) for name in named)
    ]


def _engine(place: SqlPlace, mapping: StoreMapping) -> Engine:
    """Return an engine whose connections only read, where the database offers it."""
    url = make_url(place.url)
    if place.password_file is not None:
        try:
            url = url.set(password=place.password_file.read_text("utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise SourceUnavailable(
                f"store `{mapping.store_id}`: `password_file` cannot be read: {type(error).__name__}"
            ) from None
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, mapping)
    try:
        engine = sqlalchemy.create_engine(url, hide_parameters=True, pool_pre_ping=True)
    except (SQLAlchemyError, ImportError) as error:
        raise SourceUnavailable(
            f"store `{mapping.store_id}`: no driver for `{url.drivername}` ({type(error).__name__}: {error})"
        ) from None
    if url.get_backend_name() == "postgresql":
        return engine.execution_options(postgresql_readonly=True)
    return engine


def _sqlite_engine(url: URL, mapping: StoreMapping) -> Engine:
    """Return an engine that opens a SQLite file with `mode=ro`, so that it is never made or changed."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise SourceUnavailable(
            f"store `{mapping.store_id}`: `url` names no file, such as `sqlite:///stores/reads.db`"
        )
    path = mapping.home / url.database
    if not path.is_file():
        raise SourceUnavailable(f"store `{mapping.store_id}`: no file `{path}`")

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, check_same_thread=False
        )
        connection.text_factory = _sqlite_text
        connection.execute("PRAGMA query_only = ON")
        return connection

    engine = sqlalchemy.create_engine(
        "sqlite://", creator=connect, poolclass=sqlalchemy.QueuePool, hide_parameters=True
    )

    # A connection to a file that was replaced since would go on answering from the old one.
    @sqlalchemy.event.listens_for(engine, "connect")
    def _remember(_: object, record: ConnectionPoolEntry) -> None:
        record.info["file"] = _identity(path)

    @sqlalchemy.event.listens_for(engine, "checkout")
    def _compare(_: object, record: ConnectionPoolEntry, __: object) -> None:
        if record.info["file"] is None or record.info["file"] != _identity(path):
            raise DisconnectionError("the file was replaced")

    return engine


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another that took its name; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sqlite_text(value: bytes) -> str:
    """Return a text that SQLite holds, also one that is not UTF-8: its broken bytes stay visible."""
    return value.decode("utf-8", "surrogateescape")


def _opening_fault(error: SQLAlchemyError) -> str:
    """Return what is wrong when no value has been sent yet: the driver's own first line."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = str(original).splitlines()
    return f"cannot be opened: {type(original).__name__}: {lines[0] if lines else ''}"


def _searching_fault(error: SQLAlchemyError) -> str:
    """Return what is wrong without the driver's text, which may hold a value."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return f"database failed while it was read: {type(original).__name__}"
