"""Database stores: any table by its own names, read and never written."""

import os
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from comity.adapters.errors import SourceFailed, SourceUnavailable
from comity.adapters.sources.mapping import parse_store
from comity.adapters.sources.sql import SqlSource

GOOD = ("1", "8ABC123", "CA", "2026-03-01T15:15:00Z", 33.74, -118.27, 0.97)


def test_store_is_opened_read_only(make_sql, tmp_path) -> None:
    """The connection itself refuses to write, whatever would ask it to."""
    source = make_sql([GOOD])
    with source._engine.connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM reads")


def test_store_that_is_not_there_is_not_made(tmp_path) -> None:
    """A wrong path is an error, not a new empty database without hits."""
    table = {
        "id": "base",
        "class": "fixed",
        "kind": "sql",
        "url": "sqlite:///missing.db",
        "table": "reads",
        "columns": {"read_id": "id", "plate": "plate", "captured_at": "when"},
    }
    with pytest.raises(SourceUnavailable, match="no file"):
        SqlSource(parse_store(table, home=tmp_path))
    assert not (tmp_path / "missing.db").exists()


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"table": "read"}, "no table `read`; the nearest is `reads`"),
        ({"columns": {"read_id": "id", "plate": "palte", "captured_at": "when"}}, "the nearest is `plate`"),
        ({"folded_plate": "plat"}, "no column `plat`, mapped to `folded_plate`; the nearest is `plate`"),
        ({"url": "sqlite://"}, "names no file"),
        ({"url": "postgresql+nodriver://x/y"}, "no driver"),
    ],
)
def test_mapping_that_does_not_fit_is_refused_with_the_nearest(make_sql, mapping, expected) -> None:
    """Table and columns are held against the database when it is opened, not when someone asks."""
    with pytest.raises(SourceUnavailable) as caught:
        make_sql([GOOD], **mapping)
    assert expected in str(caught.value)


def test_file_that_is_no_database_is_named(make_sql, tmp_path) -> None:
    """What is no database says so when the adapter starts."""
    (tmp_path / "noise.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(SourceUnavailable, match="file is not a database"):
        make_sql([GOOD], url="sqlite:///noise.db")


def test_names_that_need_quotes(make_sql, make_query) -> None:
    """Columns with blanks, quotes, keywords and dots are names like any other."""
    source = make_sql(
        [("1", "8ABC123", "2026-03-01T15:15:00Z")],
        types='"select" TEXT, "plate ""no""; DROP TABLE reads" TEXT, "seen.at" TEXT',
        columns={"read_id": "select", "plate": 'plate "no"; DROP TABLE reads', "captured_at": "seen.at"},
    )
    assert len(source.search(make_query()).reads) == 1


def test_view_is_as_good_as_a_table(make_sql, make_query, tmp_path) -> None:
    """An agency can show a view, and so keep what it does not want to map out of reach."""
    make_sql([GOOD])
    with sqlite3.connect(tmp_path / "reads.db") as connection:
        connection.execute('CREATE VIEW shown AS SELECT id, plate, "when" FROM reads')
    connection.close()
    table = {
        "id": "view",
        "class": "fixed",
        "kind": "sql",
        "url": "sqlite:///reads.db",
        "table": "main.shown",
        "columns": {"read_id": "id", "plate": "plate", "captured_at": "when"},
    }
    with SqlSource(parse_store(table, home=tmp_path)) as source:
        assert len(source.search(make_query()).reads) == 1


@pytest.mark.parametrize("number", ["8ABC123'; DROP TABLE reads; --", "%", "_______", "8%123"])
def test_plate_cannot_reach_the_statement(make_sql, make_query, number) -> None:
    """A plate is a bound value, and what LIKE takes for a pattern is no letter of a plate."""
    source = make_sql([GOOD])
    with pytest.raises(ValueError, match="not folded"):
        make_query(folded_plate=number)
    assert len(source.search(make_query()).reads) == 1


@pytest.mark.parametrize(
    ("types", "value", "mapping"),
    [
        ("TEXT", "2026-03-01T15:15:00Z", {}),
        ("TEXT", "2026-03-01 07:15:00-08:00", {}),
        ("TIMESTAMP", "2026-03-01 07:15:00", {"time_zone": "America/Los_Angeles"}),
        ("DATETIME", "2026-03-01 15:15:00.000000", {"time_zone": "UTC"}),
        ("INTEGER", 1772378100, {"time_format": "epoch"}),
        ("BIGINT", 1772378100000, {"time_format": "epoch_ms"}),
        ("REAL", 1772378100.0, {"time_format": "epoch"}),
        ("TEXT", "1772378100", {"time_format": "epoch"}),
        ("", 1772378100, {"time_format": "epoch"}),
        ("", "1772378100000", {"time_format": "epoch_ms"}),
        ("TEXT", "03/01/2026 03:15 PM", {"time_format": "%m/%d/%Y %I:%M %p", "time_zone": "UTC"}),
        ("TEXT", "2026/3/1 15:15", {"time_format": "%Y/%m/%d %H:%M", "time_zone": "UTC"}),
    ],
)
def test_one_instant_in_columns_of_many_types(make_sql, make_query, types, value, mapping) -> None:
    """Whatever the column holds, the read is inside its minute and outside the next (Q6)."""
    source = make_sql(
        [("1", "8ABC123", value)],
        types=f"id TEXT, plate TEXT, t {types}",
        columns={"read_id": "id", "plate": "plate", "captured_at": "t"},
        **mapping,
    )
    at = datetime(2026, 3, 1, 15, 15, tzinfo=UTC)
    inside = source.search(make_query(start=at, end=at.replace(minute=16)))
    before = source.search(make_query(start=at.replace(minute=14), end=at))
    after = source.search(make_query(start=at.replace(second=1), end=at.replace(minute=16)))
    assert [len(found.reads) for found in (inside, before, after)] == [1, 0, 0]


def test_unusable_row_of_the_plate_is_counted(make_sql, make_query) -> None:
    """A row of this plate whose time means nothing is not shown, and not passed over in silence."""
    columns = {"read_id": "id", "plate": "plate", "captured_at": "t"}
    rows = [("1", "8ABC123", "12/31/2026"), ("2", "8ABC123", "03/01/2026 15:15"), ("3", "7XYZ999", "soon")]
    source = make_sql(
        rows,
        types="id TEXT, plate TEXT, t TEXT",
        columns=columns,
        time_format="%m/%d/%Y %H:%M",
        time_zone="UTC",
    )
    result = source.search(make_query())
    assert len(result.reads) == 1 and result.unusable == 1
    assert source.survey().rejected_count == 2


def test_folded_column_that_lies_adds_no_hit_and_is_reported(make_sql, make_query) -> None:
    """The store's own folded column narrows, `fold` decides; the survey counts where they differ."""
    rows = [
        ("1", "8ABC123", "8ABC123", "2026-03-01T15:15:00Z"),
        ("2", "7XYZ999", "8ABC123", "2026-03-01T15:15:00Z"),
    ]
    source = make_sql(
        rows,
        types="id TEXT, plate TEXT, folded TEXT, t TEXT",
        columns={"read_id": "id", "plate": "plate", "captured_at": "t"},
        folded_plate="folded",
    )
    assert [read.read_id for read in source.search(make_query()).reads] == ["1"]
    assert "differs from the folded plate in 1 rows" in source.survey().problems[0]


def test_only_mapped_columns_are_fetched(make_sql) -> None:
    """What the mapping does not name is not even selected."""
    source = make_sql(
        [(*GOOD, "driver's face")],
        types="id TEXT, plate TEXT, state TEXT, [when] TEXT, lat REAL, lon REAL, conf REAL, biometrics TEXT",
    )
    assert "biometrics" not in {column.name for column in source._selected}


def test_database_that_fails_says_so_without_the_plate(make_sql, make_query, tmp_path) -> None:
    """A broken database is a failure, never 'no hits', and its message holds no value."""
    source = make_sql([GOOD])
    with sqlite3.connect(tmp_path / "reads.db") as connection:
        connection.execute("DROP TABLE reads")
    connection.close()
    with pytest.raises(SourceFailed) as caught:
        source.search(make_query())
    assert "8ABC123" not in str(caught.value) and caught.value.__cause__ is None


def test_replaced_file_is_the_one_that_answers(make_sql, make_query, tmp_path) -> None:
    """A database that was replaced by another file is not answered from the old one."""
    source = make_sql([GOOD])
    assert len(source.search(make_query()).reads) == 1
    with sqlite3.connect(tmp_path / "new.db") as connection:
        connection.execute("CREATE TABLE reads (id TEXT, plate, state, [when], lat, lon, conf)")
    connection.close()
    os.replace(tmp_path / "new.db", tmp_path / "reads.db")
    assert source.search(make_query()).reads == ()


def test_new_rows_are_seen_at_once(make_sql, make_query, tmp_path) -> None:
    """A read that the agency's own system writes now answers the next question."""
    source = make_sql([GOOD])
    with sqlite3.connect(tmp_path / "reads.db") as connection:
        connection.execute("INSERT INTO reads VALUES (?, ?, ?, ?, ?, ?, ?)", ("2", *GOOD[1:]))
    connection.close()
    assert len(source.search(make_query()).reads) == 2


def test_searched_by_many_threads_at_once(make_sql, make_query) -> None:
    """An adapter searches in threads: each gets its own answer."""
    source = make_sql([(str(number), f"8ABC{number:03}", *GOOD[2:]) for number in range(200)])
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(5):
            found = source.search(make_query(folded_plate=f"8ABC{number:03}")).reads
            if [read.read_id for read in found] != [str(number)]:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_broken_text_in_the_database_costs_its_row(make_sql, make_query, tmp_path) -> None:
    """Bytes that are no UTF-8, as old software left them, do not stop the search."""
    source = make_sql([GOOD])
    with sqlite3.connect(tmp_path / "reads.db") as connection:
        statement = "INSERT INTO reads SELECT '9', CAST(? AS TEXT), state, [when], lat, lon, conf FROM reads"
        connection.execute(statement, (b"8ABC123\xe9",))
    connection.close()
    assert len(source.search(make_query()).reads) == 1
    assert source.survey().rejected_count == 1


def test_password_comes_from_a_file_and_is_not_shown(make_sql, tmp_path: Path) -> None:
    """A password file that cannot be read is named by its key; its content is nowhere."""
    with pytest.raises(SourceUnavailable, match="`password_file` cannot be read"):
        make_sql([GOOD], password_file="absent.txt")


HANGS = """
CREATE VIEW reads(id, plate, state, [when], lat, lon, conf) AS
WITH RECURSIVE forever(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM forever)
SELECT good.* FROM forever JOIN good WHERE n < 0
"""


@pytest.mark.parametrize(
    "view", [HANGS, HANGS.replace("WHERE n < 0", "")], ids=["no row ever", "endless rows"]
)
def test_search_that_nobody_waits_for_is_interrupted_and_leaves_its_connection_as_it_was(
    make_sql, make_query, tmp_path, view: str
) -> None:
    """A store that never returns gives its thread back; the next search of the same connection is whole."""
    source = make_sql([GOOD])
    with sqlite3.connect(tmp_path / "reads.db") as connection:
        connection.execute("ALTER TABLE reads RENAME TO good")
        connection.execute(view)
    connection.close()
    query = make_query()
    threading.Timer(0.2, query.over.set).start()
    with pytest.raises(SourceFailed) as caught:
        source.search(query)
    assert "8ABC123" not in str(caught.value)
    with sqlite3.connect(tmp_path / "reads.db") as connection:
        connection.execute("DROP VIEW reads")
        connection.execute("ALTER TABLE good RENAME TO reads")
    connection.close()
    assert len(source.search(make_query()).reads) == 1
    assert source._engine.pool.checkedout() == 0  # type: ignore[attr-defined]
