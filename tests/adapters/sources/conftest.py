"""Stores made for one test: a CSV file or a SQLite table, with a mapping that fits unless told otherwise."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from comity.adapters.sources import CsvSource, SourceQuery, SqlSource
from comity.adapters.sources.mapping import parse_store

HEADER = "id,plate,state,when,lat,lon,conf"
COLUMNS = {
    "read_id": "id",
    "plate": "plate",
    "state": "state",
    "captured_at": "when",
    "latitude": "lat",
    "longitude": "lon",
    "confidence": "conf",
}

MakeCsv = Callable[..., CsvSource]
MakeSql = Callable[..., SqlSource]
MakeQuery = Callable[..., SourceQuery]


@pytest.fixture
def make_csv(tmp_path: Path) -> Iterator[MakeCsv]:
    """Return what opens a CSV store that holds the given text; extra arguments go into the mapping."""
    opened: list[CsvSource] = []

    def make(content: str | bytes, **mapping: object) -> CsvSource:
        path = tmp_path / "reads.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        table: dict[str, object] = {
            "id": "file",
            "class": "fixed",
            "kind": "csv",
            "path": "reads.csv",
            "columns": COLUMNS,
            "defaults": {"country": "US"},
        }
        opened.append(CsvSource(parse_store(table | mapping, home=tmp_path)))
        return opened[-1]

    yield make
    for source in opened:
        source.close()


@pytest.fixture
def make_sql(tmp_path: Path) -> Iterator[MakeSql]:
    """Return what opens a SQLite store with the given rows; extra arguments go into the mapping."""
    opened: list[SqlSource] = []

    def make(rows: Sequence[Sequence[object]], *, types: str = "", **mapping: object) -> SqlSource:
        path = tmp_path / "reads.db"
        path.unlink(missing_ok=True)
        columns = types or "id TEXT, plate TEXT, state TEXT, [when] TEXT, lat REAL, lon REAL, conf REAL"
        with sqlite3.connect(path) as connection:
            connection.execute(f"CREATE TABLE reads ({columns})")
            for row in rows:
                connection.execute(f"INSERT INTO reads VALUES ({', '.join('?' * len(row))})", row)
        connection.close()
        table: dict[str, object] = {
            "id": "base",
            "class": "fixed",
            "kind": "sql",
            "url": "sqlite:///reads.db",
            "table": "reads",
            "columns": COLUMNS,
            "defaults": {"country": "US"},
        }
        opened.append(SqlSource(parse_store(table | mapping, home=tmp_path)))
        return opened[-1]

    yield make
    for source in opened:
        source.close()


@pytest.fixture
def make_query() -> MakeQuery:
    """Return what makes a query for `8ABC123` of California in 2026; arguments replace parts of it."""

    def make(**parts: object) -> SourceQuery:
        whole: dict[str, object] = {
            "folded_plate": "8ABC123",
            "state": "CA",
            "country": "US",
            "start": datetime(2026, 1, 1, tzinfo=UTC),
            "end": datetime(2027, 1, 1, tzinfo=UTC),
            "limit": 100,
        }
        return SourceQuery(**(whole | parts))  # type: ignore[arg-type]

    return make
