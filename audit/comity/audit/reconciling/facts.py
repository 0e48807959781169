"""What reconciliation keeps of a log's entries, in a scratch file of its own for each log.

The scratch file is SQLite without a promise of durability beyond its last commit: it holds nothing that the
log doesn't, and a run that was interrupted goes on from there.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from comity.audit.canonical import JsonValue

_SCHEMA = """
create table if not exists facts (
    exchange blob not null, place integer not null, at integer not null, kind text not null,
    told text not null
);
create table if not exists links (place integer not null, at integer not null, is_up integer not null);
create table if not exists seen (
    place integer not null, at integer not null, origin text not null, size integer not null,
    root blob not null
);
create table if not exists faults (
    place integer not null, exchange blob, what text not null, text text not null
);
create table if not exists progress (
    id integer primary key check (id = 1), size integer not null, next integer not null,
    last_at integer not null, identity text not null
);
"""
_IN_ORDER = "select exchange, place, at, kind, told from facts order by exchange, place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One entry of one exchange: its place in the log, its time (ms since 1970), kind and public fields."""

    place: int
    at: int
    kind: str
    told: Mapping[str, JsonValue] = field(repr=False)

    def text(self, name: str) -> str:
        """Return a public field that is text; empty if it isn't there."""
        value = self.told.get(name)
        return value if isinstance(value, str) else ""

    def whole(self, name: str) -> int | None:
        """Return a public field that is a whole number; None if it isn't there."""
        value = self.told.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def texts(self, name: str) -> Mapping[str, str]:
        """Return a public field that is an object of texts; empty if it isn't there."""
        value = self.told.get(name)
        if not isinstance(value, dict):
            return {}
        return {key: one for key, one in value.items() if isinstance(one, str)}

    def names(self, name: str) -> tuple[str, ...]:
        """Return a public field that is an array of texts; empty if it isn't there."""
        value = self.told.get(name)
        return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A checkpoint of a peer that a log holds, its signature verified."""

    place: int
    at: int
    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a log, or with one of its entries: `edited`, `reordered`, `forked`, `truncated` …"""

    place: int
    exchange: bytes | None
    what: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a log was read: `next` of `size` entries, the last at `last_at` (ms since 1970)."""

    size: int
    next: int
    last_at: int
    identity: str
    """Origin, size and root of the checkpoint that is read: a scratch file of another one is of no use."""


Row = tuple[bytes, int, int, str, str]
"""A row of `facts`: exchange, place, at, kind, told as JSON."""


class Scratch:
    """The scratch file of one log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = off")
        self._connection.execute("pragma temp_store = file")
        self._connection.executescript(_SCHEMA)

    def progress(self) -> Progress | None:
        """Return how far the log was read; None if it wasn't begun."""
        query = "select size, next, last_at, identity from progress"
        row = self._connection.execute(query).fetchone()
        return None if row is None else Progress(size=row[0], next=row[1], last_at=row[2], identity=row[3])

    def forget(self) -> None:
        """Begin anew."""
        for table in ("facts", "links", "seen", "faults", "progress"):
            self._connection.execute(f"delete from {table}")  # noqa: S608  names of this module alone

    def add(
        self,
        *,
        facts: Iterable[Row],
        links: Iterable[tuple[int, int, bool]],
        seen: Iterable[Seen],
        faults: Iterable[Fault],
        progress: Progress,
    ) -> None:
        """Keep what one stretch of a log gave, and how far it reached, in one transaction."""
        connection = self._connection
        connection.execute("begin")
        connection.executemany("insert into facts values (?, ?, ?, ?, ?)", facts)
        connection.executemany("insert into links values (?, ?, ?)", links)
        connection.executemany(
            "insert into seen values (?, ?, ?, ?, ?)",
            ((one.place, one.at, one.origin, one.size, one.root) for one in seen),
        )
        connection.executemany(
            "insert into faults values (?, ?, ?, ?)",
            ((one.place, one.exchange, one.what, one.text) for one in faults),
        )
        connection.execute(
            "insert or replace into progress values (1, ?, ?, ?, ?)",
            (progress.size, progress.next, progress.last_at, progress.identity),
        )
        connection.execute("commit")

    def sort(self) -> None:
        """Make the exchanges readable in order; what takes longest of this is done once."""
        self._connection.execute("create index if not exists facts_in_order on facts (exchange, place)")

    def exchanges(self) -> Iterator[tuple[bytes, list[Fact]]]:
        """Yield exchange ids in order, each with its facts as they stand in the log."""
        current, facts = b"", list[Fact]()
        with closing(self._connection.execute(_IN_ORDER)) as rows:
            for exchange, place, at, kind, told in rows:
                if exchange != current:
                    if facts:
                        yield current, facts
                    current, facts = exchange, []
                facts.append(Fact(place=place, at=at, kind=kind, told=json.loads(told)))
        if facts:
            yield current, facts

    def links(self) -> list[tuple[int, bool]]:
        """Return when the end's own link came up and went down, in order."""
        rows = self._connection.execute("select at, is_up from links order by place")
        return [(at, bool(is_up)) for at, is_up in rows]

    def seen(self) -> Iterator[Seen]:
        """Yield the peers' checkpoints that the log holds, in order."""
        rows = self._connection.execute("select place, at, origin, size, root from seen order by place")
        for place, at, origin, size, root in rows:
            yield Seen(place=place, at=at, origin=origin, size=size, root=root)

    def faults(self) -> list[Fault]:
        """Return what was found wrong with the log."""
        rows = self._connection.execute("select place, exchange, what, text from faults order by place")
        return [Fault(place=p, exchange=e, what=w, text=t) for p, e, w, t in rows]

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def peek_progress(path: Path) -> Progress | None:
    """Return how far another process has come with a scratch file; None if it can't be told now."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            query = "select size, next, last_at, identity from progress"
            row = connection.execute(query).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else Progress(size=row[0], next=row[1], last_at=row[2], identity=row[3])
