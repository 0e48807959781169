"""What an end kept beside its log's entries, read in one pass in the log's own order, without writing.

That is the end's `state.db`; or the openings of a redacted copy, which has chosen ones and no envelopes.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self

from comity.audit.entry import Opening
from comity.audit.errors import LogUnwritable

Kept = Mapping[str, tuple[bytes, str]]
"""Salt and value by the name of their field, as they were found: **whatever type they are of**."""
_NONE: Kept = {}
_PUBLISHED = "openings.jsonl"
"""The openings of a redacted copy (`comity.audit.redaction`)."""


def find_kept(log: Path) -> Path | None:
    """Return where what was kept beside a `log/` folder lies, if it does."""
    beside = (log.absolute().parent / name for name in ("state.db", _PUBLISHED))
    return next((path for path in beside if path.is_file()), None)


class KeptBeside:
    """Openings and envelopes beside a log; nothing at all if there is no such file or table."""

    def __init__(self, path: Path | None, *, only: frozenset[str] | None = None) -> None:
        """`path` is one that `find_kept` gives; `only`: the names of private fields that are wanted."""
        self._path = path
        self._only = only
        self._connection: sqlite3.Connection | None = None
        self._entries: Iterator[tuple[int, Kept]] = iter(())
        self._next: tuple[int, Kept] | None = None
        self._tables: set[str] = set()

    def __enter__(self) -> Self:
        if self._path is None or not self._path.is_file():
            return self
        if self._path.name == _PUBLISHED:
            self._tables = {"openings"}
            self._entries = _published(self._path)
            self._next = next(self._entries, None)
            return self
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True)
            self._connection.execute("pragma busy_timeout = 5000")
            names = self._connection.execute("select name from sqlite_master where type = 'table'")
            self._tables = {name for (name,) in names}
            if self.has_openings:
                self._entries = _grouped(self._connection, self._only)
                self._next = next(self._entries, None)
        except sqlite3.Error as problem:
            raise self._unreadable(problem) from problem
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()

    @property
    def has_openings(self) -> bool:
        """Whether there are openings of this log at all."""
        return "openings" in self._tables

    def openings(self, index: int) -> Mapping[str, Opening]:
        """Return the openings of an entry by name, unverified; ask in the order of the log."""
        kept = self.pairs(index)
        return {name: Opening(name=name, salt=salt, value=value) for name, (salt, value) in kept.items()}

    def pairs(self, index: int) -> Kept:
        """Return salt and value of an entry's fields by name: the same, in less time."""
        try:
            while self._next is not None and self._next[0] < index:
                self._next = next(self._entries, None)
        except sqlite3.Error as problem:
            raise self._unreadable(problem) from problem
        return self._next[1] if self._next is not None and self._next[0] == index else _NONE

    def envelope(self, index: int, name: str) -> bytes | None:
        """Return what was kept beside an entry under a name, if it is still there; in any order."""
        if self._connection is None or "envelopes" not in self._tables:
            return None
        wanted = 'select payload from envelopes where "index" = ? and name = ?'
        try:
            found = self._connection.execute(wanted, (index, name)).fetchone()
        except sqlite3.Error as problem:
            raise self._unreadable(problem) from problem
        return None if found is None else bytes(found[0])

    def _unreadable(self, problem: sqlite3.Error) -> LogUnwritable:
        name = self._path.name if self._path else "state.db"
        return LogUnwritable(f"openings: `{name}` can't be read ({problem})")


def _grouped(connection: sqlite3.Connection, only: frozenset[str] | None) -> Iterator[tuple[int, Kept]]:
    names = sorted(only or ())
    chosen = f"where name in ({','.join('?' * len(names))}) " if only is not None else ""
    wanted = f'select "index", name, salt, value from openings {chosen}order by "index", name'  # noqa: S608
    for index, rows in groupby(connection.execute(wanted, names), key=itemgetter(0)):
        yield index, {name: (salt, value) for _, name, salt, value in rows}


def _published(path: Path) -> Iterator[tuple[int, Kept]]:
    from comity.audit.redaction import read_opened  # it makes its copies by this module

    for index, openings in read_opened(path):
        yield index, {name: (opening.salt, opening.value) for name, opening in openings.items()}
