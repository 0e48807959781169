"""What reconciliation keeps of a log's entries, in scratch files of its own for each log.

`<name>.facts` is filled while the log is read; `<name>.sorted` then holds its entries in the order of
exchanges, so that logs are walked side by side without a search. Both are SQLite without a promise of
durability beyond their last commit: they hold nothing that the log doesn't, and a run that was interrupted
goes on from there.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from comity.audit.canonical import JsonValue
from comity.audit.entry import CHECKPOINT_SEEN
from comity.audit.rotation import Rotation, read_rotation

_FACTS = "(exchange blob not null, place integer not null, at integer not null, leaf blob not null)"
_SCHEMA = f"""
create table if not exists facts {_FACTS};
create table if not exists links (place integer not null, at integer not null, is_up integer not null);
create table if not exists shown (
    place integer not null, at integer not null, origin text not null, size integer not null,
    root blob not null, signers text not null, kind text not null
);
create table if not exists laws (place integer primary key, policy text not null);
create table if not exists rotations (place integer primary key, public text not null);
create table if not exists faults (
    place integer not null, exchange blob, what text not null, text text not null
);
create table if not exists progress (
    id integer primary key check (id = 1), size integer not null, next integer not null,
    last_at integer not null, identity text not null
);
"""
_SORT_CACHE_KIB: Final = 32_768
"""Memory that sorting takes before it writes to the disk."""
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One entry of one exchange: its place in the log, its time (ms since 1970), kind and fields."""

    place: int
    at: int
    kind: str
    told: Mapping[str, JsonValue] = field(repr=False)
    leaf: bytes = field(default=b"", repr=False)
    """The entry's bytes; empty if values that stand beside it were added to `told`."""

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
    signers: tuple[str, ...] = ()
    """Verifier key lines of the peer's keys that signed it."""
    kind: str = CHECKPOINT_SEEN
    """The entry's; what contradicts, or was never proven, is signed by the peer's key all the same."""


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
    """Of the checkpoint that is read, all of it: a scratch file of another one is of no use."""


Row = tuple[bytes, int, int, bytes]
"""A row of `facts`: exchange, place, at, and the entry's bytes, which are JSON."""


class Scratch:
    """The scratch file of one log, while it is read and after."""

    def __init__(self, path: Path) -> None:
        self._sorted = sorted_beside(path)
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
        self._sorted.unlink(missing_ok=True)
        for table in ("facts", "links", "shown", "laws", "rotations", "faults", "progress"):
            self._connection.execute(f"delete from {table}")  # noqa: S608  names of this module alone

    def add(
        self,
        *,
        facts: Iterable[Row],
        links: Iterable[tuple[int, int, bool]],
        seen: Iterable[Seen],
        faults: Iterable[Fault],
        progress: Progress,
        rotations: Iterable[tuple[int, str]] = (),
        laws: Iterable[tuple[int, str]] = (),
    ) -> None:
        """Keep what one stretch of a log gave, and how far it reached, in one transaction."""
        connection = self._connection
        connection.execute("begin")
        connection.executemany("insert into facts values (?, ?, ?, ?)", facts)
        connection.executemany("insert into links values (?, ?, ?)", links)
        connection.executemany(
            "insert into shown values (?, ?, ?, ?, ?, ?, ?)",
            (
                (one.place, one.at, one.origin, one.size, one.root, " ".join(one.signers), one.kind)
                for one in seen
            ),
        )
        connection.executemany("insert or replace into laws values (?, ?)", laws)
        connection.executemany("insert or replace into rotations values (?, ?)", rotations)
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
        """Write the entries in the order of exchanges, beside; once, what was read being all."""
        if self._sorted.exists():
            return
        temporary = self._sorted.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        connection = self._connection
        connection.execute(f"pragma cache_size = -{_SORT_CACHE_KIB}")
        connection.execute("attach ? as beside", (str(temporary),))
        connection.execute("pragma beside.journal_mode = off")
        connection.execute("pragma beside.synchronous = off")
        connection.execute(f"create table beside.facts {_FACTS}")
        connection.execute("insert into beside.facts select * from main.facts order by exchange, place")
        connection.execute("detach beside")
        temporary.replace(self._sorted)
        connection.execute("delete from facts")
        connection.execute("vacuum")

    def links(self) -> list[tuple[int, bool]]:
        """Return when the end's own link came up and went down, in order."""
        rows = self._connection.execute("select at, is_up from links order by place")
        return [(at, bool(is_up)) for at, is_up in rows]

    def laws(self) -> list[tuple[int, str]]:
        """Return where a policy bundle was activated, and its digest, in order."""
        return list(self._connection.execute("select place, policy from laws order by place"))

    def seen(self, of: str) -> Iterator[Seen]:
        """Yield the checkpoints of a peer that the log holds, in order."""
        query = (
            "select place, at, origin, size, root, signers, kind from shown where origin = ? order by place"
        )
        for place, at, origin, size, root, signers, kind in self._connection.execute(query, (of,)):
            yield Seen(
                place=place,
                at=at,
                origin=origin,
                size=size,
                root=root,
                signers=tuple(signers.split()),
                kind=kind,
            )

    def rotations(self, origin: str) -> list[Rotation]:
        """Return the replacements of the log's key that it holds, in order; they were verified when kept."""
        rows = self._connection.execute("select place, public from rotations order by place")
        return [read_rotation(json.loads(public), index=place, origin=origin) for place, public in rows]

    def faults(self) -> list[Fault]:
        """Return what was found wrong with the log."""
        rows = self._connection.execute("select place, exchange, what, text from faults order by place")
        return [Fault(place=p, exchange=e, what=w, text=t) for p, e, w, t in rows]

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


class Exchanges:
    """What a log says of each exchange, in the order of their ids. Only read, by as many as like."""

    def __init__(self, path: Path) -> None:
        """`path` is a scratch file that was sorted."""
        self._connection = sqlite3.connect(_reading(sorted_beside(path)), uri=True)
        (self.count,) = self._connection.execute("select coalesce(max(rowid), 0) from facts").fetchone()

    def borders(self, rows: int) -> list[bytes]:
        """Return the exchange of each so many-th entry, the first one left out."""
        found = dict.fromkeys(self._exchange_at(row) for row in range(1 + rows, self.count + 1, rows))
        return list(found)

    def between(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, list[Fact]]]:
        """Yield exchange ids from `start` up to `stop` in order, each with its facts as the log has them."""
        first = self._first_of(start)
        last = self.count + 1 if stop is None else self._first_of(stop)
        query = "select exchange, place, at, leaf from facts where rowid >= ? and rowid < ? order by rowid"
        current, facts = b"", list[Fact]()
        with closing(self._connection.execute(query, (first, last))) as rows:
            for exchange, place, at, leaf in rows:
                if exchange != current:
                    if facts:
                        yield current, facts
                    current, facts = exchange, []
                told, _ = _DECODER.raw_decode(leaf.decode())
                own = b"" if "beside" in told else leaf  # completed, so not the leaf any more
                facts.append(Fact(place=place, at=at, kind=told["kind"], told=told, leaf=own))
        if facts:
            yield current, facts

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _first_of(self, exchange: bytes) -> int:
        """Return the first row that is not before an exchange: rows are in order, so by halving."""
        low, high = 1, self.count + 1
        while low < high:
            middle = (low + high) // 2
            if self._exchange_at(middle) < exchange:
                low = middle + 1
            else:
                high = middle
        return low

    def _exchange_at(self, row: int) -> bytes:
        (exchange,) = self._connection.execute(
            "select exchange from facts where rowid = ?", (row,)
        ).fetchone()
        return bytes(exchange)


def sorted_beside(path: Path) -> Path:
    """Return where the sorted entries of a scratch file are."""
    return path.with_suffix(".sorted")


def peek_progress(path: Path) -> Progress | None:
    """Return how far another process has come with a scratch file; None if it can't be told now."""
    try:
        with closing(sqlite3.connect(_reading(path), uri=True)) as connection:
            query = "select size, next, last_at, identity from progress"
            row = connection.execute(query).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else Progress(size=row[0], next=row[1], last_at=row[2], identity=row[3])


def _reading(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"
