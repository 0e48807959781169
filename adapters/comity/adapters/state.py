"""The adapter's own tables in its `state.db`: exchanges that were seen, what was asked within a day (for
budgets, under keyed hashes), settled receipts, who is barred.

The signed log keeps its openings and evidence in the same file, in tables of its own; neither touches the
other's. The file holds what the log only commits to, so nobody else may read it (mode 0600).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
)
from sqlalchemy.exc import SQLAlchemyError

from comity.adapters.errors import StateUnwritable

METADATA: Final = MetaData()

SEEN: Final = Table(
    "seen_exchanges",
    METADATA,
    Column("agency", String(32), primary_key=True, comment="the agency that asked"),
    Column("exchange_id", LargeBinary(16), primary_key=True),
    Column("until_ms", BigInteger, nullable=False, index=True, comment="end of its window, ms since 1970"),
)

SPENT: Final = Table(
    "spent_budgets",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False, index=True, comment="when it was asked, ms since 1970"),
    Column("agency", LargeBinary(16), nullable=False, comment="keyed hash of who asked"),
    Column("user", LargeBinary(16), nullable=False, comment="keyed hash of agency and user"),
    Column("text", LargeBinary(16), nullable=False, comment="keyed hash of agency, user and reason text"),
    Column("plates", LargeBinary, nullable=False, comment="16 bytes each: keyed hash of agency and plate"),
)

SPENDING_KEY: Final = Table(
    "spending_key",
    METADATA,
    Column("id", Integer, primary_key=True, comment="always 1"),
    Column("key", LargeBinary(32), nullable=False, comment="of the keyed hashes in `spent_budgets`"),
)

SETTLED: Final = Table(
    "settled_receipts",
    METADATA,
    Column("id", Integer, primary_key=True, comment="always 1"),
    Column("index", BigInteger, nullable=False, comment="before this entry of the log no receipt is open"),
)

SUBJECT_KEY: Final = Table(
    "subject_key",
    METADATA,
    Column("id", Integer, primary_key=True, comment="always 1"),
    Column("key", LargeBinary(32), nullable=False, comment="under it a person stands in the next tables"),
)

REFUSED: Final = Table(
    "refused_people",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("person", LargeBinary(32), nullable=False, index=True, comment="HMAC of agency and user"),
    Column("at_ms", BigInteger, nullable=False, index=True, comment="ms since 1970"),
    Column("exchange_id", LargeBinary(16), nullable=False),
)

SUSPENDED: Final = Table(
    "suspended_people",
    METADATA,
    Column("person", LargeBinary(32), primary_key=True, comment="HMAC of agency and user"),
    Column("since_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, comment="end of its length; null: it has none"),
    Column("returns", String(16), nullable=False, comment="how access comes back"),
    Column("refusals", Integer, nullable=False),
    Column("window_seconds", BigInteger, nullable=False),
    Column("recertified", Boolean, nullable=False),
)

USER_ACTS: Final = Table(
    "user_acts",
    METADATA,
    Column("person", LargeBinary(32), primary_key=True, comment="HMAC of agency and user"),
    Column("terminates", Boolean, nullable=False),
    Column("given_ms", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False, comment="of the act's payload"),
    Column("logged", Boolean, nullable=False),
)

NOTICES: Final = Table(
    "unnoted_notices",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("agency", String(32), nullable=False, comment="who is told"),
    Column("envelope", LargeBinary, nullable=False, comment="names its user, until the agency noted it"),
    Column("logged", Boolean, nullable=False),
)


def open_state(path: Path) -> Engine:
    """Return the SQLite database at `path`, made with mode 0600 if it isn't there, its tables in place.

    A commit is on the disk when it returns. Raises `StateUnwritable`.
    """
    try:
        with suppress(FileExistsError):  # to close a file that is in use here would drop SQLite's locks on it
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 5.0}, hide_parameters=True)
        event.listen(engine, "connect", _durable)
        METADATA.create_all(engine)
    except (OSError, SQLAlchemyError) as error:
        raise StateUnwritable(f"state database `{path}` can't be opened") from error
    return engine


def _durable(connection: object, _record: object) -> None:
    """Set a fresh SQLite connection to write-ahead mode with a sync at every commit."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
