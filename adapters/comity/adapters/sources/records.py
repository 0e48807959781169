"""Records of a CSV file (RFC 4180), where nothing that stands in the file can stop the reading.

Real files hold rows that are too short or too long, quotes that are never closed, NUL bytes, bytes
of another encoding and lines without an end. Each is one rejected line with a reason; the line after
it is read as if nothing had been. An open quote never swallows the rows behind it.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TextIO

MAX_LINE_CHARACTERS = 1_000_000
"""A longer line is rejected whole; it is never held in memory."""
MAX_LINES_IN_RECORD = 100
"""How many lines one record's quoted fields can span."""

LINE_TOO_LONG = "line is longer than 1,000,000 characters"
QUOTES_WRONG = "a quote is not closed or not doubled, or a field is giant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record, or one line that is none.

    Attributes:
        line: Its first line in the file, from 1.
        fields: Its fields; for a rejected line what is left of it as one field.
        rejected: Why it is no record; empty: it is one.
    """

    line: int
    fields: list[str] = field(repr=False)
    rejected: str = ""


class RecordReader:
    """Reads the records of an open text file (opened with `newline=""`), one after another."""

    def __init__(self, file: TextIO, delimiter: str) -> None:
        self._file = file
        self._delimiter = delimiter
        self._ahead: deque[tuple[int, str]] = deque()
        self._lines_read = 0

    def records(self, width: int | None = None) -> Iterator[Record]:
        """Yield every record and every rejected line; blank lines are skipped.

        Where the width is given, a record that spans several lines must have that many fields, or
        its first line is rejected and the others are read again, each for itself.
        """
        while (taken := self._take()) is not None:
            number, line = taken
            if len(line) > MAX_LINE_CHARACTERS:
                yield Record(line=number, fields=[line[:1_000]], rejected=LINE_TOO_LONG)
            elif not line.strip():
                continue
            elif '"' not in line:
                yield Record(line=number, fields=line.rstrip("\r\n").split(self._delimiter))
            else:
                yield self._quoted(number, line, width)

    def _quoted(self, number: int, line: str, width: int | None) -> Record:
        """Return the record that starts in a line with quotes."""
        taken = [(number, line)]

        def lines() -> Iterator[str]:
            yield line
            while len(taken) < MAX_LINES_IN_RECORD and (more := self._take()) is not None:
                taken.append(more)
                yield more[1]

        try:
            fields = next(csv.reader(lines(), delimiter=self._delimiter, strict=True))
            is_record = len(taken) == 1 or width is None or len(fields) == width
        except csv.Error:
            is_record = False
        if is_record:
            return Record(line=number, fields=fields)
        self._ahead.extendleft(reversed(taken[1:]))
        return Record(line=number, fields=[line[:1_000]], rejected=QUOTES_WRONG)

    def _take(self) -> tuple[int, str] | None:
        """Return the next line with its number; None at the end."""
        if self._ahead:
            return self._ahead.popleft()
        line = self._file.readline(MAX_LINE_CHARACTERS + 1)
        if not line:
            return None
        self._lines_read += 1
        if len(line) > MAX_LINE_CHARACTERS and line[-1] not in "\r\n":
            self._skip_line()
        return self._lines_read, line

    def _skip_line(self) -> None:
        """Read to the end of a line that is too long, and keep nothing of it."""
        while (rest := self._file.readline(MAX_LINE_CHARACTERS)) and rest[-1] not in "\r\n":
            pass


def first_record(file: TextIO, delimiter: str) -> tuple[RecordReader, Record | None]:
    """Return a reader and the file's first record, its header; None if the file is empty."""
    reader = RecordReader(file, delimiter)
    return reader, next(islice(reader.records(), 1), None)
