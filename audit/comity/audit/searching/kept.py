"""What an end kept beside its log's entries, read in one pass in the log's own order, without writing."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from comity.audit.entry import Opening
from comity.audit.errors import LogUnwritable

_NONE: Mapping[str, Opening] = {}


class KeptBeside:
    """Openings and envelopes in an end's `state.db`; nothing at all if there is no such file or table."""

    def __init__(self, state: Path | None) -> None:
        self._path = state
        self._connection: sqlite3.Connection | None = None
        self._rows: Iterator[tuple[int, str, bytes, str]] = iter(())
        self._next: tuple[int, str, bytes, str] | None = None
        self._tables: set[str] = set()

    def __enter__(self) -> Self:
        if self._path is None or not self._path.is_file():
            return self
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True)
            self._connection.execute("pragma busy_timeout = 5000")
            names = self._connection.execute("select name from sqlite_master where type = 'table'")
            self._tables = {name for (name,) in names}
            if "openings" in self._tables:
                wanted = 'select "index", name, salt, value from openings order by "index", name'
                self._rows = self._connection.execute(wanted)
                self._next = next(self._rows, None)
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
        """Whether there is a table of openings at all."""
        return "openings" in self._tables

    def openings(self, index: int) -> Mapping[str, Opening]:
        """Return the openings of an entry by name; ask in the order of the log, each entry at most once."""
        try:
            while self._next is not None and self._next[0] < index:
                self._next = next(self._rows, None)
            if self._next is None or self._next[0] != index:
                return _NONE
            found: dict[str, Opening] = {}
            while self._next is not None and self._next[0] == index:
                _, name, salt, value = self._next
                found[name] = Opening(name=name, salt=salt, value=value)
                self._next = next(self._rows, None)
            return found
        except sqlite3.Error as problem:
            raise self._unreadable(problem) from problem

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
