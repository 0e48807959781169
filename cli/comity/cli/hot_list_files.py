"""A batch of plates for a hot list, from CSV: a header, then a line a plate; comma or semicolon (H1).

    plate, state         of every plate; `country` is US where it isn't said
    reason               a code of the list of reasons, or --reason for all of them
    case                 number of the case; it stays in the house
    case_status          `current` or `closed`; --cases has the last word
    tracking             the agency's own tracking number
    entered, renewed, reviewed, expires    days such as 2026-01-31, or times with a zone

A column of free text (`text`, `note` …), and any other, is told to the house rules by what it is, never by
what stands in it. No value of the file is in an error: only line, column and what would be right.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime, time, tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from comity.cli.csv_files import ListInvalid, csv_rows, read_text
from comity.gateway.hot_lists import ListedPlate
from comity.policy.facts import REASONS
from comity.policy.plates import PlateInvalid, fold

COLUMNS: Final = (
    *("plate", "state", "country", "reason", "case", "case_status", "tracking"),
    *("entered", "renewed", "reviewed", "expires"),
)
"""What is read of a line."""
TRAVELLING: Final = ("plate", "state", "country", "reason", "tracking")
"""What of a line goes on the list; case and free text stay at the requester (H2, ours)."""
TEXTS: Final = ("text", "note", "notes", "free_text", "comment", "comments", "reason_text", "remarks")
"""What a column of free text is called."""
MOST_ROWS: Final = 100_000
"""More lines than this are no batch; how many a batch may have, the house rules say (H1)."""
_MOST_TEXT: Final = 64
_STATUS: Final = {"": None, "current": True, "open": True, "closed": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBatch:
    """The plates of a file, each with its line, and what its header has that no hot list needs."""

    plates: tuple[tuple[int, ListedPlate], ...]
    texts: tuple[int, ...]
    """Columns of free text, counted from 1."""
    strangers: tuple[int, ...]
    """Columns that are not known, counted from 1."""


def read_batch(path: Path, *, zone: tzinfo, reason: str | None, cases: frozenset[str] | None) -> ReadBatch:
    """Return the plates of a file.

    Args:
        path: The CSV file.
        zone: On whose clocks a day begins.
        reason: The code for lines that say none.
        cases: Numbers of the current investigations, in the place of `case_status`; None: the column counts.

    Raises:
        ListInvalid: it can't be read, or a line can't be meant; names line and column, and no value.
    """
    rows = csv_rows(path, read_text(path))
    header = [name.lower() for name in next(rows, (1, []))[1]]
    _check_header(path, header)
    texts = tuple(at for at, name in enumerate(header, start=1) if name in TEXTS)
    strangers = tuple(at for at, name in enumerate(header, start=1) if name not in (*TEXTS, *COLUMNS))
    found: list[tuple[int, ListedPlate]] = []
    seen: dict[tuple[str, str, str, str], int] = {}
    for line, cells in rows:
        where = f"file `{path}`: line {line}"
        if len(found) == MOST_ROWS:
            raise ListInvalid(f"{where}: more than {MOST_ROWS} plates are no batch")
        listed = _plate(where, header, cells, zone, reason, cases)
        key = (listed.folded, listed.state, listed.country, listed.reason)
        if key in seen:
            raise ListInvalid(f"{where}: the same plate, state and reason as in line {seen[key]}: keep one")
        seen[key] = line
        found.append((line, listed))
    if not found:
        raise ListInvalid(f"file `{path}`: it lists no plate: an empty batch shows nothing")
    return ReadBatch(plates=tuple(found), texts=texts, strangers=strangers)


def read_cases(path: Path) -> frozenset[str]:
    """Return the numbers of the current investigations, one a line; raise `ListInvalid` if there are none."""
    cases = frozenset(filter(None, (line.strip() for line in read_text(path).splitlines())))
    if not cases:
        raise ListInvalid(f"file `{path}`: it names no case: an empty list would close them all")
    return cases


def write_list(path: Path, read: ReadBatch) -> None:
    """Write what goes on the list, and nothing that stays in the house: no case, no text, no days (H2)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(TRAVELLING)
        for _, listed in read.plates:
            rows.writerow([getattr(listed, name) for name in TRAVELLING])


def _check_header(path: Path, header: Sequence[str]) -> None:
    """Check that plate and state have a column, and none stands twice; names no header that isn't known."""
    for name in ("plate", "state"):
        if name not in header:
            near = get_close_matches(name, [*header], n=1)
            hint = f": column {header.index(near[0]) + 1} may be meant" if near else ""
            raise ListInvalid(
                f"file `{path}`: line 1: no column `{name}`{hint}; expected a header of {', '.join(COLUMNS)}"
            )
    doubled = next((name for name in COLUMNS if header.count(name) > 1), None)
    if doubled is not None:
        raise ListInvalid(f"file `{path}`: line 1: column `{doubled}` stands twice")


def _plate(
    where: str,
    header: Sequence[str],
    cells: Sequence[str],
    zone: tzinfo,
    reason: str | None,
    cases: frozenset[str] | None,
) -> ListedPlate:
    row = dict(zip(header, cells, strict=True))
    for name, value in row.items():
        if name in COLUMNS and value.startswith(tuple("=+-@")):
            raise ListInvalid(f"{where}, `{name}`: begins as a formula of a spreadsheet does")
        if name in COLUMNS and (len(value) > _MOST_TEXT or not value.isprintable()):
            raise ListInvalid(f"{where}, `{name}`: is not one printable line of {_MOST_TEXT} at most")
    try:
        folded = fold(row["plate"])
    except PlateInvalid as error:
        raise ListInvalid(f"{where}, `plate`: {error}") from error
    state, country = row["state"].upper(), (row.get("country") or "US").upper()
    for name, value in (("state", state), ("country", country)):
        if not value.isascii() or not value.isalnum() or len(value) > 3:
            raise ListInvalid(f"{where}, `{name}`: is not two or three letters or digits, such as CA")
    case = row.get("case", "")
    return ListedPlate(
        plate=row["plate"],
        folded=folded,
        state=state,
        country=country,
        reason=_reason(where, row, reason),
        case=case,
        case_current=_status(where, row) if cases is None else case in cases,
        tracking=row.get("tracking", ""),
        entered=_instant(where, row, "entered", zone),
        renewed=_instant(where, row, "renewed", zone),
        reviewed=_instant(where, row, "reviewed", zone),
        expires=_instant(where, row, "expires", zone),
        has_text=any(_filled(header, cells, in_texts=True)),
        has_more=any(_filled(header, cells, in_texts=False)),
    )


def _filled(header: Sequence[str], cells: Sequence[str], *, in_texts: bool) -> Iterator[bool]:
    """Yield for each column of free text, or of something else, whether this line has anything in it."""
    for name, value in zip(header, cells, strict=True):
        if name not in COLUMNS and (name in TEXTS) is in_texts:
            yield bool(value)


def _reason(where: str, row: Mapping[str, str], default: str | None) -> str:
    code = row.get("reason", "").upper().replace("-", "_") or (default or "")
    if code not in REASONS:
        right = f"one of {', '.join(sorted(REASONS))}"
        raise ListInvalid(f"{where}, `reason`: is not {right}" + ("" if code else " (or --reason)"))
    return code


def _status(where: str, row: Mapping[str, str]) -> bool | None:
    word = row.get("case_status", "").lower()
    if word not in _STATUS:
        raise ListInvalid(f"{where}, `case_status`: is not `current` or `closed`")
    return _STATUS[word]


def _instant(where: str, row: Mapping[str, str], name: str, zone: tzinfo) -> datetime | None:
    value = row.get(name, "")
    if not value:
        return None
    try:
        if len(value) <= len("2026-01-31"):
            found: datetime | None = datetime.combine(Date.fromisoformat(value), time(), tzinfo=zone)
        else:
            found = datetime.fromisoformat(value)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not 1970 <= found.year < 2200:
        raise ListInvalid(
            f"{where}, `{name}`: is not a day such as 2026-01-31, nor a time with its zone such as "
            "2026-01-31T08:00:00Z"
        )
    return found
