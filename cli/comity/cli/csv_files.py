"""Lists that people keep in tables: a header, then a line a record; comma or semicolon."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 64 << 20
"""A longer file is no list that a person keeps."""


class ListInvalid(Exception):
    """A list can't be used; the text names file, line or record, and column."""


def read_text(path: Path) -> str:
    """Return what a list's file holds; raise `ListInvalid` if it can't be read."""
    try:
        with path.open("rb") as file:
            found = file.read(MAX_BYTES + 1)
        if len(found) > MAX_BYTES:
            raise ListInvalid(f"file `{path}`: is longer than {MAX_BYTES >> 20} MiB")
        return found.decode("utf-8-sig")
    except OSError as error:
        raise ListInvalid(f"file `{path}`: cannot be read: {(error.strerror or 'fault').lower()}") from error
    except UnicodeDecodeError as error:
        raise ListInvalid(f"file `{path}`: is not UTF-8") from error


def csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of the header, then of each record, without blanks around; empty lines not.

    Raises:
        ListInvalid: it is no CSV, or a record hasn't as many cells as the header; says nothing of the cells.
    """
    first = text.split("\n", 1)[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    width = 0
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if width and not any(cells):
                continue
            if width and len(cells) != width:
                where = f"file `{path}`: line {rows.line_num}"
                raise ListInvalid(f"{where}: has {len(cells)} columns, the header has {width}")
            width = width or len(cells)
            yield rows.line_num, cells
    except csv.Error as error:
        raise ListInvalid(f"file `{path}`: line {rows.line_num}: is not CSV: {error}") from error
