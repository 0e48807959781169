"""The state database is shared by log and adapter, and by whoever reads it beside them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from comity.adapters.state import SEEN, open_state
from comity.audit.entry import Entry, seal_entry
from comity.audit.openings import OpeningStore

READ_AND_CLOSE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("select count(*) from sqlite_master").fetchone()
connection.close()
"""


def _as_adapter(path: Path) -> Callable[[], None]:
    engine = open_state(path)
    rows = iter(range(100))

    def write() -> None:
        with engine.begin() as connection:
            connection.execute(
                insert(SEEN), {"agency": "lahd", "exchange_id": bytes([next(rows)]) * 16, "until_ms": 1}
            )

    return write


def _as_log(path: Path) -> Callable[[], None]:
    store = OpeningStore(path)
    indexes = iter(range(100))

    def write() -> None:
        entry = Entry(kind="asked", at=datetime(2026, 3, 1, tzinfo=UTC), private={"case": "1"})
        index = next(indexes)
        store.apply([(index, seal_entry(entry))], index + 1)

    return write


@pytest.mark.parametrize("order", [(_as_adapter, _as_log), (_as_log, _as_adapter)])
def test_reading_beside_an_end_does_not_take_its_file_away(
    tmp_path: Path, order: tuple[Callable[[Path], Callable[[], None]], ...]
) -> None:
    """What an end writes after `audit show`, or a second start, was there and left is in the database.

    SQLite's locks are POSIX locks: a process that opens and closes the file outside of SQLite loses them
    all, the next reader takes itself for the last one, and deletes the write-ahead file that is in use.
    """
    path = tmp_path / "state.db"
    writers = []
    for of in order:
        writers.append(of(path))
        writers[-1]()
    subprocess.run([sys.executable, "-c", READ_AND_CLOSE, str(path)], check=True)
    for write in writers:
        write()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as fresh:
        assert fresh.execute("select count(*) from seen_exchanges").fetchone() == (2,)
        assert fresh.execute("select count(*) from openings").fetchone() == (2,)
    fresh.close()
    assert path.stat().st_mode & 0o777 == 0o600
