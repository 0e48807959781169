"""Where an end keeps what its log only commits to: openings and evidence, in `state.db`.

Both come out of the write-ahead file, where they stand in the same frame as their entry, so that no crash
parts them. The tables are written with SQLAlchemy core and take part in no transaction of other rooms.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from comity.audit.entry import Opening, SealedEntry, from_milliseconds
from comity.audit.errors import LogUnwritable

METADATA = MetaData()
OPENINGS = Table(
    "openings",
    METADATA,
    Column(
        "index", BigInteger, primary_key=True, autoincrement=False, comment="index of the entry in the log"
    ),
    Column("name", String(64), primary_key=True, comment="name of the private field"),
    Column("salt", LargeBinary(32), nullable=False, comment="32 random bytes"),
    Column("value", Text, nullable=False, comment="the value"),
    Column("at", BigInteger, nullable=False, index=True, comment="the entry's time, ms since 1970"),
    Column("exchange", LargeBinary(64), nullable=True, index=True, comment="the exchange's id"),
)
ENVELOPES = Table(
    "envelopes",
    METADATA,
    Column(
        "index", BigInteger, primary_key=True, autoincrement=False, comment="index of the entry in the log"
    ),
    Column(
        "name", String(64), primary_key=True, comment="what it is: order, query, receipt:<agency>, account"
    ),
    Column("exchange", LargeBinary(64), nullable=True, index=True, comment="the exchange's id"),
    Column("payload", LargeBinary, nullable=False, comment="the envelope, serialized"),
    Column("at", BigInteger, nullable=False, index=True, comment="the entry's time, ms since 1970"),
)
APPLIED = Table(
    "log_applied",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("next_index", BigInteger, nullable=False, comment="entries before it are in these tables"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEnvelope:
    """An envelope that an end kept as evidence beside an entry."""

    index: int
    name: str
    exchange: bytes | None
    payload: bytes = field(repr=False)
    at: datetime


class OpeningStore:
    """The tables above in an end's `state.db`; the file is made, mode 0600, when first there is something."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine: Engine | None = None

    def apply(self, entries: Iterable[tuple[int, SealedEntry]], next_index: int) -> None:
        """Store openings and attachments of entries, durably; what is there already is left as it is.

        Raises `LogUnwritable`.
        """
        kept = [(i, sealed) for i, sealed in entries if sealed.openings or sealed.attachments]
        if not kept and not self._path.exists():
            return
        with self._begin() as connection:
            applied = _applied(connection)
            new = [(i, sealed) for i, sealed in kept if i >= applied]
            openings = [_opening_row(i, sealed, o) for i, sealed in new for o in sealed.openings]
            envelopes = [_envelope_row(i, sealed, name) for i, sealed in new for name in sealed.attachments]
            if openings:
                connection.execute(insert(OPENINGS), openings)
            if envelopes:
                connection.execute(insert(ENVELOPES), envelopes)
            if next_index > applied:
                connection.execute(update(APPLIED).values(next_index=next_index))

    def envelopes(self, exchange: bytes) -> list[KeptEnvelope]:
        """Return the evidence of an exchange, in the order in which it was logged."""
        if not self._path.exists():
            return []
        wanted = select(
            ENVELOPES.c.index, ENVELOPES.c.name, ENVELOPES.c.exchange, ENVELOPES.c.payload, ENVELOPES.c.at
        )
        query = wanted.where(ENVELOPES.c.exchange == exchange).order_by(ENVELOPES.c.index, ENVELOPES.c.name)
        with self._begin() as connection:
            rows = connection.execute(query).all()
        return [
            KeptEnvelope(index=i, name=name, exchange=of, payload=payload, at=from_milliseconds(at))
            for i, name, of, payload, at in rows
        ]

    def close(self) -> None:
        """Let go of the file."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            if self._engine is None:
                self._engine = _private_engine(self._path)
            with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as problem:
            cause = getattr(problem, "orig", None) or problem
            raise LogUnwritable(f"openings: `{self._path.name}` can't be written ({cause})") from None


def read_openings(path: Path) -> Mapping[int, Mapping[str, Opening]]:
    """Return all openings in an end's `state.db` by index and name, without writing to it.

    Raises `LogUnwritable` if it can't be read; empty if there is no such file or no such table.
    """
    found: dict[int, dict[str, Opening]] = {}
    for index, name, salt, value in _read(path, "openings", '"index", name, salt, value'):
        found.setdefault(index, {})[name] = Opening(name=name, salt=salt, value=value)
    return found


def read_openings_of(path: Path, index: int) -> dict[str, Opening]:
    """Return the openings of one entry by name, without writing; else as `read_openings`."""
    rows = _read(path, "openings", "name, salt, value", index)
    return {name: Opening(name=name, salt=salt, value=value) for name, salt, value in rows}


def read_envelopes(path: Path, index: int) -> list[KeptEnvelope]:
    """Return what was kept beside one entry, by name, without writing; else as `read_openings`."""
    return [
        KeptEnvelope(index=index, name=name, exchange=exchange, payload=payload, at=from_milliseconds(at))
        for name, exchange, payload, at in _read(path, "envelopes", "name, exchange, payload, at", index)
    ]


def _read(path: Path, table: str, columns: str, index: int | None = None) -> list[tuple[Any, ...]]:
    """Return rows of one of the tables above, in their order; none if there is no such file or table."""
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            exists = "select 1 from sqlite_master where type = 'table' and name = ?"
            if not connection.execute(exists, (table,)).fetchone():
                return []
            query = f"select {columns} from {table}"  # noqa: S608  names of this module alone
            if index is None:
                return connection.execute(query).fetchall()
            return connection.execute(f'{query} where "index" = ? order by name', (index,)).fetchall()
    except sqlite3.Error as problem:
        raise LogUnwritable(f"openings: `{path.name}` can't be read ({problem})") from problem


def make_tables(path: Path) -> None:
    """Make the tables above in a `state.db` that lacks them."""
    _private_engine(path).dispose()


def _private_engine(path: Path) -> Engine:
    """Return an engine on a file that only its owner can read, its tables made."""
    with suppress(FileExistsError):  # to close a file that is in use here would drop SQLite's locks on it
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _durable(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma busy_timeout = 5000")
        connection.execute("pragma secure_delete = on")

    METADATA.create_all(engine)
    return engine


def _applied(connection: Connection) -> int:
    found = connection.execute(select(APPLIED.c.next_index)).scalar_one_or_none()
    if found is None:
        connection.execute(insert(APPLIED).values(id=1, next_index=0))
    return found or 0


def _opening_row(index: int, sealed: SealedEntry, opening: Opening) -> dict[str, object]:
    return {
        "index": index,
        "name": opening.name,
        "salt": opening.salt,
        "value": opening.value,
        "at": sealed.at_ms,
        "exchange": sealed.exchange,
    }


def _envelope_row(index: int, sealed: SealedEntry, name: str) -> dict[str, object]:
    return {
        "index": index,
        "name": name,
        "exchange": sealed.exchange,
        "payload": sealed.attachments[name],
        "at": sealed.at_ms,
    }
